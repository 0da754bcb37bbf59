"""The part of a source that is read: warm-up, what is written, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.input_options import InputOptions

# So that 0.04 is 1/25, and not the nearest binary fraction, which is later.
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Window:
    """A range of source times in seconds. A time within half a unit of a limit counts as the limit.

    Attributes:
        warm_up: from here on frames are given.
        start: from here on they are written.
        stop: from here on they are not given any more; None to the end.
    """

    warm_up: Fraction
    start: Fraction
    stop: Fraction | None

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
        )

    def gives(self, time: Fraction, unit: Fraction) -> bool:
        """Whether a frame at a time is late enough to be given."""
        return time >= self.warm_up - unit / 2

    def writes(self, time: Fraction, unit: Fraction) -> bool:
        """Whether a frame at a time is late enough to be written."""
        return time >= self.start - unit / 2

    def ends(self, time: Fraction, unit: Fraction) -> bool:
        """Whether a frame at a time is too late."""
        return self.stop is not None and time >= self.stop - unit / 2

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
