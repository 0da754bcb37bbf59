"""A decoded frame and its time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded frame and its time.

    Attributes:
        frame: as it is stored: not turned, in the video's own pixel format.
        pts: when it is shown, in units of ``time_base`` seconds.
        time_base: the unit of time.
        duration: how long it is shown, in units of ``time_base``; 0 where unknown.
    """

    frame: av.VideoFrame
    pts: int
    time_base: Fraction
    duration: int

    @property
    def time(self) -> Fraction:
        """When it is shown, in seconds."""
        return self.pts * self.time_base
