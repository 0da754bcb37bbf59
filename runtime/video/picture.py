"""A decoded frame and its time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
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

    @property
    def end(self) -> Fraction:
        """Until when it is shown, in seconds."""
        return (self.pts + self.duration) * self.time_base


def lasting(
    pictures: Iterable[Picture], *, trusted: bool, end: Callable[[], Fraction | None]
) -> Iterator[Picture]:
    """Gives frames the time until the next as their durations, and so comes one frame late.

    Args:
        pictures: in order, of one time base.
        trusted: whether durations of their own stay where they end before the next frame.
        end: called after the last frame; returns until when it is shown, None where its own duration says it.
    """
    waiting: Picture | None = None
    for picture in pictures:
        if waiting is not None:
            gap = picture.pts - waiting.pts
            is_right = trusted and 0 < waiting.duration <= gap
            yield waiting if is_right else replace(waiting, duration=gap)
        waiting = picture
    if waiting is not None:
        last = end()
        length = 0 if last is None else round(last / waiting.time_base) - waiting.pts
        yield replace(waiting, duration=length) if length > 0 else waiting
