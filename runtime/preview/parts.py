"""What the preview is made of: what it asks of a session and of its maker, and what it gives to a page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.profile import Profile
from rvm_trt.runtime.video.backdrop import Backdrop
from rvm_trt.runtime.video.source import Frame

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Tell = Callable[[str], None]
State = Sequence[npt.NDArray[np.float32]]


Background = Colour | Image | Backdrop


class Matte(Protocol):
    """The outputs that the preview shows, borrowed until the session's next frame."""

    @property
    def pha(self) -> Image:
        """Alpha, (H, W) uint8."""

    @property
    def composite(self) -> Image:
        """The foreground over the background, (H, W, 3) uint8 RGB."""


class Session(Protocol):
    """What the preview needs of a session; `MattingSession` with ``pha`` and ``composite`` is one."""

    @property
    def profile(self) -> Profile:
        """Frame size and ratio."""

    def process(self, frame: object) -> Matte:
        """Returns the matte of one frame."""

    def set_background(self, background: Colour | Image) -> None:
        """Changes the background from the next frame on."""

    def reset(self) -> None:
        """Forgets the past."""

    def state(self) -> State:
        """Returns the states after the last frame."""

    def restore(self, state: State) -> None:
        """Sets the states."""

    def close(self) -> None:
        """Releases everything."""


class MakeSession(Protocol):
    """Makes a session for another ratio, and the engine first where it is missing."""

    def __call__(self, ratio: float, *, tell: Tell, cancelled: threading.Event) -> Session:
        """Returns an open session, which the caller owns.

        Args:
            ratio: downsample ratio.
            tell: called with one line of text before each slow step.
            cancelled: set by another thread when nobody wants the session any more; it then raises soon.

        Raises:
            RvmTrtError: the session cannot be made, or is not wanted any more.
        """


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What one frame looks like. The arrays are nobody else's, and are not written to.

    Attributes:
        serial: grows with every picture.
        frame: the source's frame.
        alpha: (H, W) uint8.
        composite: (H, W, 3) uint8 RGB.
    """

    serial: int
    frame: Frame
    alpha: Image
    composite: Image


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where the preview stands.

    Attributes:
        frame: index of the frame that is shown; None before the first.
        frames: how many there are, an estimate until the end was reached once; None where unknown.
        seconds: when the frame is shown, from the beginning of the clip.
        playing: whether it runs, or would if somebody watched.
        fps: frames per second over the last second.
        frame_ms: how long the session takes for a frame, the median of the latest.
        ratio: downsample ratio in use.
        network: size of the network's input in pixels.
        background: name of the background in use.
        opening: what is being done for another ratio or place; None where nothing is.
        problem: what went wrong last, for the user; None where nothing did.
        remarks: what the user should know of the input and the background, as it is read.
    """

    frame: int | None
    frames: int | None
    seconds: float
    playing: bool
    fps: float
    frame_ms: float
    ratio: float
    network: tuple[int, int]
    background: str
    opening: str | None
    problem: str | None
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The status as plain JSON values."""
        return asdict(self)
