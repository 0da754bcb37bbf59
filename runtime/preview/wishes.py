"""What the controls of a preview ask for, and what the player does about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from rvm_trt.runtime.preview.parts import Background


class Step(Enum):
    """What the loop does next."""

    SWITCH = auto()  # takes the session that is ready
    SEEK = auto()
    AGAIN = auto()  # shows the same frame, since its background or its session is another
    READ = auto()
    SHOW = auto()
    STOP = auto()


@dataclass(kw_only=True)
class Wishes:
    """What the controls ask for; under the player's lock."""

    background: Background
    background_name: str
    playing: bool = True
    seek: int | None = None
    rough: bool = False  # without the warm-up
    again: bool = False
    stop: bool = False
    watchers: int = 0
    problem: str | None = None
