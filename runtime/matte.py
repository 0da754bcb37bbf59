"""A matte: the outputs of one frame, borrowed from the session that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rvm_trt.runtime.frames import Image
    from rvm_trt.runtime.session import MattingSession


class Matte:
    """The outputs of one frame, borrowed from the session.

    ``pha`` (H, W), ``fgr`` (H, W, 3), ``rgba`` (H, W, 4, straight alpha) and ``composite`` (H, W, 3), uint8 in
    0..255, read-only. Only requested outputs are there. They are valid until the session needs their slot again:
    with `MattingSession.run`, until the next iteration; otherwise until the second `submit` or `process` after
    the frame's own. Reading an output from here later raises; an array kept from before then holds later frames.
    """

    def __init__(self, session: MattingSession, slot: int, frame: int) -> None:
        self._session = session
        self._slot = slot
        self.frame = frame

    @property
    def pha(self) -> Image:
        """Alpha, (H, W)."""
        return self._session._borrow(self, "pha")

    @property
    def fgr(self) -> Image:
        """Foreground colour, (H, W, 3) RGB; meaningful where alpha is above 0."""
        return self._session._borrow(self, "fgr")

    @property
    def rgba(self) -> Image:
        """Foreground colour and alpha, (H, W, 4), not premultiplied."""
        return self._session._borrow(self, "rgba")

    @property
    def composite(self) -> Image:
        """The foreground over the session's background, (H, W, 3) RGB."""
        return self._session._borrow(self, "composite")

    def copy(self) -> dict[str, Image]:
        """Returns the requested outputs by name as arrays that belong to the caller."""
        return {name: getattr(self, name).copy() for name in self._session.outputs}
