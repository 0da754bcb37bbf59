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

    The time base holds both the source's unit and the frame interval exactly. A timestamp within one source
    unit of a multiple of the interval is put on it: Matroska rounds 30000/1001 to milliseconds, and would
    otherwise turn a constant rate into a varying one.

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

    def place(self, pts: int, time_base: Fraction) -> int:
        """Returns a frame's timestamp in units of ``self.time_base``, later than the one before."""
        time = pts * time_base - self._start
        placed = round(self._snapped(time, tolerance=time_base) / self.time_base)
        if self.last is not None and placed <= self.last:
            placed = max(round(time / self.time_base), self.last + 1)
        self.last = placed
        return placed

    def length(self, duration: int, time_base: Fraction) -> int:
        """Returns a frame's duration in units of ``self.time_base``; one interval where ``duration`` is 0."""
        interval = 1 / self._rate
        seconds = duration * time_base or interval
        if self._snaps and abs(seconds - interval) <= time_base:
            seconds = interval
        return max(1, round(seconds / self.time_base))

    def _snapped(self, time: Fraction, *, tolerance: Fraction) -> Fraction:
        if not self._snaps:
            return time
        on_grid = Fraction(round(time * self._rate)) / self._rate
        # A quarter of an interval at most, so that frames of a varying rate keep their distances.
        return on_grid if abs(on_grid - time) <= min(tolerance, 1 / (4 * self._rate)) else time
