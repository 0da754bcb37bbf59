"""How an input is read: which part of it, and what to do with what is unusual."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from rvm_trt.errors import OptionError


class Hdr(Enum):
    """What to do with video whose transfer curve is PQ or HLG."""

    REFUSE = "refuse"
    AS_STORED = "as-stored"


class Gaps(Enum):
    """What to do with numbers that are missing in an image sequence.

    Refuse them, show the image before the gap again, or let the images follow each other.
    """

    REFUSE = "refuse"
    HOLD = "hold"
    CLOSE = "close"


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How to read an input.

    Attributes:
        start_s: seconds from the beginning of the input to where writing begins, with the frame that is shown
            then; None from the beginning.
        stop_s: seconds from the beginning of the input to the first frame that is no longer written; None to
            the end.
        warm_up_s: seconds before ``start_s`` whose frames only set the network's states.
        deinterlace: whether frames that are marked as interlaced are deinterlaced; otherwise they are used as
            they are, and a notice says so.
        hdr: whether HDR is refused, or its codes used as stored and the output tagged as the input.
        gaps: what to do with an image sequence that has missing numbers.

    Raises:
        OptionError: a time is negative or not finite, or the range is empty.
    """

    start_s: float | None = None
    stop_s: float | None = None
    warm_up_s: float = 1.0
    deinterlace: bool = False
    hdr: Hdr = Hdr.REFUSE
    gaps: Gaps = Gaps.REFUSE

    def __post_init__(self) -> None:
        for name in ("start_s", "stop_s", "warm_up_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise OptionError(
                    name, got=f"{value}", expected="seconds, 0 or more", todo="Give a time within the input."
                )
        if self.stop_s is not None and self.stop_s <= (self.start_s or 0):
            raise OptionError(
                "stop_s",
                got=f"{self.stop_s:g} s for a start at {self.start_s or 0:g} s",
                expected="a later time than the start",
                todo="Give a range that is not empty.",
            )

    @property
    def is_whole(self) -> bool:
        """Whether the input is read from its beginning to its end."""
        return not self.start_s and self.stop_s is None
