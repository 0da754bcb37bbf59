"""The part of a source that is read: warm-up, what is written, and where it ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.input_options import InputOptions

# So that 0.04 is 1/25, and not the nearest binary fraction, which is later.
_MICROSECONDS = 1_000_000
# A frame that reaches further than this over a limit is a still, and cut there. Others stay whole, so that a constant
# rate stays constant.
_STILL = Fraction(1, 10)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A range of source times in seconds. A time within half a unit of a limit counts as the limit.

    Attributes:
        warm_up: from here on frames are given.
        start: from here on they are written.
        stop: from here on they are not given any more; None to the end.
        zero: what becomes zero in what is written.
    """

    warm_up: Fraction
    start: Fraction
    stop: Fraction | None
    zero: Fraction

    @classmethod
    def of(cls, options: InputOptions, *, origin: Fraction) -> Window | None:
        """Returns the window that the options ask for, or None for the whole source.

        Args:
            options: seconds from the beginning of the source.
            origin: source time in seconds of its beginning.
        """
        if options.is_whole:
            return None
        start = exact(options.start_s or 0)
        return cls(
            warm_up=origin + max(Fraction(0), start - exact(options.warm_up_s)),
            start=origin + start,
            stop=None if options.stop_s is None else origin + exact(options.stop_s),
            zero=origin + start,
        )

    def beginning_with(self, spans: Iterable[tuple[Fraction, Fraction]], unit: Fraction) -> Window | None:
        """Returns the window that starts with the frame which is shown at its start, or the first after that.

        Args:
            spans: begin and end of the frames in order, from one at or before the start on; each is shown until the
                next begins.
            unit: of the times.

        Returns:
            None where no frame is in the window.
        """
        before: tuple[Fraction, Fraction] | None = None
        for begin, end in spans:
            if not self.writes(begin, unit):
                before = begin, end
            elif before is not None and (begin > self.start + unit / 2 or self.ends(begin, unit)):
                return self._from(before[0], unit)
            else:
                return None if self.ends(begin, unit) else self._from(begin, unit)
        return None if before is None or before[1] <= self.start + unit / 2 else self._from(before[0], unit)

    def cut(self, pts: int, duration: int, unit: Fraction) -> tuple[int, int]:
        """Returns when a frame is shown and for how long, in the given unit, without what of a still lies outside."""
        begin, end = pts, pts + duration
        if self.writes(pts * unit, unit):
            begin = max(begin, round(self.zero / unit))
        if self.stop is not None and end * unit - self.stop > _STILL:
            end = round(self.stop / unit)
        # Some containers say less than until the next frame: what they say stays.
        return begin, end - begin if end > begin else duration

    def gives(self, time: Fraction, unit: Fraction) -> bool:
        """Whether a frame at a time is late enough to be given."""
        return time >= self.warm_up - unit / 2

    def writes(self, time: Fraction, unit: Fraction) -> bool:
        """Whether a frame at a time is late enough to be written."""
        return time >= self.start - unit / 2

    def ends(self, time: Fraction, unit: Fraction) -> bool:
        """Whether a frame at a time is too late."""
        return self.stop is not None and time >= self.stop - unit / 2

    def _from(self, time: Fraction, unit: Fraction) -> Window:
        is_whole = self.start - _STILL <= time <= self.start + unit / 2
        return replace(
            self,
            warm_up=min(self.warm_up, time),
            start=time,
            zero=time if is_whole else round(self.start / unit) * unit,
        )

    def nothing_in_it(self, subject: str, *, origin: Fraction) -> VideoError:
        """Returns the error for a window without a frame."""
        until = "its end" if self.stop is None else f"{float(self.stop - origin):g} s"
        return VideoError(
            subject,
            got=f"no frame from {float(self.start - origin):g} s to {until}",
            expected="a range within the input",
            todo="Give an earlier start, or a longer range.",
        )


def exact(seconds: float) -> Fraction:
    """Returns the simplest fraction within a microsecond."""
    return Fraction(seconds).limit_denominator(_MICROSECONDS)
