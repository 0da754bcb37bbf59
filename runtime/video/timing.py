"""Timestamps from source to output: one exact time base, and constant rates without rounding."""

from __future__ import annotations

import math
from fractions import Fraction

# FFmpeg's MP4 muxer and libx264 take finer units than this, but nothing gains by them.
_FINEST = 1_000_000


class Clock:
    """Gives every decoded frame a time, strictly increasing.

    A timestamp that is missing or not later than the one before (raw streams, joined files) is replaced by the
    end of the frame before.

    Args:
        rate: frames per second, for frames of unknown duration.
        start: the time of a first frame without a timestamp, in units of its time base.
    """

    def __init__(self, *, rate: Fraction, start: int = 0) -> None:
        self._rate = rate
        self._start = start
        self._last: int | None = None
        # Exact, so that intervals which are no whole units do not add up to a drift.
        self._end = Fraction(start)

    def time(self, pts: int | None, duration: int, time_base: Fraction) -> int:
        """Returns a frame's time in units of ``time_base``."""
        if pts is None or (self._last is not None and pts <= self._last):
            exact = self._end
            pts = round(exact) if self._last is None else max(round(exact), self._last + 1)
        else:
            exact = Fraction(pts)
        self._last = pts
        self._end = exact + (duration or 1 / (self._rate * time_base))
        return pts


class Timeline:
    """Places source timestamps on the output's time base, strictly increasing.

    The time base holds both the source's unit and the frame interval exactly. A timestamp that is a multiple of the
    interval, rounded to the source's unit, is put on the multiple: Matroska rounds 30000/1001 to milliseconds, and
    would otherwise turn a constant rate into a varying one. All others stay as they are.

    Args:
        rate: frames per second.
        time_base: the source's unit in seconds.
        start: source time in seconds that becomes zero.

    Attributes:
        time_base: the unit of the output's timestamps, in seconds.
        last: the latest timestamp placed, or None; set it to go on after one.
    """

    def __init__(self, *, rate: Fraction, time_base: Fraction, start: Fraction = Fraction(0)) -> None:
        both = math.lcm(time_base.denominator, rate.numerator)
        self._snaps = both <= _FINEST
        self._rate = rate
        self._start = start
        self.last: int | None = None
        self.time_base = Fraction(1, both if self._snaps else min(time_base.denominator, _FINEST))

    @property
    def interval(self) -> int:
        """From one frame to the next at the rate, in units of ``self.time_base``."""
        return max(1, round(1 / self._rate / self.time_base))

    def place(self, pts: int, time_base: Fraction) -> int:
        """Returns a frame's timestamp in units of ``self.time_base``, later than the one before."""
        placed = round(self._time(pts, time_base) / self.time_base)
        if self.last is not None and placed <= self.last:
            placed = max(round((pts * time_base - self._start) / self.time_base), self.last + 1)
        self.last = placed
        return placed

    def length(self, pts: int, duration: int, time_base: Fraction) -> int:
        """Returns a frame's duration in units of ``self.time_base``; one interval where ``duration`` is 0."""
        begin, interval = self._time(pts, time_base), 1 / self._rate
        length = self._time(pts + duration, time_base) - begin
        is_regular = (
            self._snaps and begin % interval == 0 and abs(duration * time_base - interval) < time_base
        )
        return max(1, round((interval if is_regular or not duration else length) / self.time_base))

    def _time(self, pts: int, time_base: Fraction) -> Fraction:
        time = pts * time_base - self._start
        return on_grid(time, self._rate, time_base) if self._snaps else time


def on_grid(time: Fraction, rate: Fraction, unit: Fraction) -> Fraction:
    """Returns the multiple of a frame's interval that a time is when rounded to a unit, or the time itself."""
    multiple = Fraction(round(time * rate)) / rate
    # A quarter of an interval at most, so that frames of a varying rate keep their distances.
    return multiple if abs(multiple - time) <= min(unit / 2, 1 / (4 * rate)) else time
