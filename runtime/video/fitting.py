"""Pictures brought to the size of a frame: covering it, or whole within it."""

from __future__ import annotations

from enum import Enum
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from rvm_trt.runtime.video.colour import pixels

# swscale's flags by number, as in `rvm_trt.runtime.video.colour`: bicubic with accurate rounding.
_BICUBIC = 0x4 | 0x40000


class Fit(str, Enum):
    """How a picture of other proportions takes its place in a frame."""

    COVER = "cover"  # fills the frame; what is beyond it is cut, as much at one end as at the other
    CONTAIN = "contain"  # whole, with a colour around it


class Fitting:
    """Scales pictures to a frame with a bicubic filter, keeping their proportions.

    Args:
        width, height: size of the frame in pixels.
        fit: how the picture takes its place.
        around: (R, G, B) of what a contained picture leaves free.
        pixel_aspect: width of a pixel of the frame over its height.
        threads: how many scale a picture; 0 for one per core.
    """

    def __init__(
        self,
        *,
        width: int,
        height: int,
        fit: Fit = Fit.COVER,
        around: tuple[int, int, int] = (0, 0, 0),
        pixel_aspect: Fraction = Fraction(1),
        threads: int = 0,
    ) -> None:
        self._width, self._height = width, height
        self._fit = fit
        self._around = around
        self._pixel_aspect = pixel_aspect
        self._threads = threads
        # Planes of their own: swscale scales these two to four times as fast as packed pixels.
        self._split, self._scale, self._join = VideoReformatter(), VideoReformatter(), VideoReformatter()

    def place(
        self, picture: npt.NDArray[np.uint8], *, pixel_aspect: Fraction = Fraction(1)
    ) -> npt.NDArray[np.uint8]:
        """Returns a picture (h, w, 3) uint8 as a frame (H, W, 3) uint8: itself, where it has that size already.

        Args:
            picture: RGB.
            pixel_aspect: width of one of its pixels over its height.
        """
        height, width, _ = picture.shape
        stretch = float(pixel_aspect / self._pixel_aspect)
        across, down = self._width / (width * stretch), self._height / height
        scale = max(across, down) if self._fit is Fit.COVER else min(across, down)
        # What of the picture is seen, and how large that is in the frame.
        seen_width = _within(width, self._width / (scale * stretch))
        seen_height = _within(height, self._height / scale)
        shown_width = _within(self._width, width * stretch * scale)
        shown_height = _within(self._height, height * scale)
        seen = _middle(picture, width=seen_width, height=seen_height)
        if seen.shape[:2] != (shown_height, shown_width):
            seen = self._scaled(seen, width=shown_width, height=shown_height)
        if (shown_width, shown_height) == (self._width, self._height):
            return np.ascontiguousarray(seen)
        frame = np.empty((self._height, self._width, 3), np.uint8)
        frame[:] = self._around
        _middle(frame, width=shown_width, height=shown_height)[:] = seen
        return frame

    def _scaled(self, picture: npt.NDArray[np.uint8], *, width: int, height: int) -> npt.NDArray[np.uint8]:
        packed = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        planes = self._split.reformat(packed, format="gbrp", threads=self._threads)
        scaled = self._scale.reformat(
            planes, width, height, format="gbrp", interpolation=_BICUBIC, threads=self._threads
        )
        return pixels(self._join.reformat(scaled, format="rgb24", threads=self._threads))


def _within(most: int, size: float) -> int:
    return min(most, max(1, round(size)))


def _middle(picture: npt.NDArray[np.uint8], *, width: int, height: int) -> npt.NDArray[np.uint8]:
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]
