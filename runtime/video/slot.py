"""Memory for one frame on its way to an encoder."""

from __future__ import annotations

from typing import Any

import av
import numpy.typing as npt

from rvm_trt.runtime.video.colour_out import plane


class FrameSlot:
    """A frame in FFmpeg's memory whose picture may be larger than what is written into it.

    Attributes:
        frame: the frame; this slot owns it.
        view: where the picture goes, a uint8 or uint16 view of the frame: ``(H, W, C)``, or ``(H, W)`` for grey.

    Args:
        frame: a packed frame of 8 or 16 bits, of at least ``width`` by ``height``.
        width, height: size of the picture.
    """

    def __init__(self, frame: av.VideoFrame, *, width: int, height: int) -> None:
        self.frame = frame
        self._whole = plane(frame, 0)
        self._width = width
        self._height = height
        self.view: npt.NDArray[Any] = self._whole[:height, :width]

    def repeat_edges(self) -> None:
        """Fills what lies beyond the picture with its last column and row."""
        self._whole[: self._height, self._width :] = self._whole[
            : self._height, self._width - 1 : self._width
        ]
        self._whole[self._height :] = self._whole[self._height - 1]
