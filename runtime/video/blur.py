"""The source itself, out of focus, as a background."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import FrameError
from rvm_trt.resample import upsample_taps
from rvm_trt.runtime.bands import Bands
from rvm_trt.runtime.video import blur_kernels
from rvm_trt.runtime.video.backdrop import Backdrop
from rvm_trt.runtime.video.source import Frame

_ROWS = 1080  # at which a radius is given
_REACH = 3  # standard deviations on each side that the Gaussian's taps cover


class BlurBackdrop(Backdrop):
    """Each frame blurred with a Gaussian, to within 4 levels. The person blurs with it and glows around the edge.

    Args:
        radius: standard deviation in pixels where the frame's shorter side has 1080; as in CSS and Pillow.
        width, height: size of the frames in pixels.
        threads: how many share the work.
    """

    def __init__(self, *, radius: float, width: int, height: int, threads: int = 1) -> None:
        self._shape = (height, width, 3)
        sigma = radius * min(width, height) / _ROWS
        # Two samples a standard deviation: fewer would show between them, more take longer.
        factor = self._factor = max(1, round(sigma / 2))
        low_width, low_height = -(-width // factor), -(-height // factor)
        rows, columns = (
            upsample_taps(low_height, factor * low_height),
            upsample_taps(low_width, factor * low_width),
        )
        self._up = (
            *(part[:height] for part in (rows.first, rows.second, rows.weight)),
            *(part[:width] for part in (columns.first, columns.second, columns.weight)),
        )
        self._taps = _gaussian(sigma, factor)
        self._small, self._half_way = (np.empty((low_height, 3 * low_width), np.float32) for _ in range(2))
        self._sums = np.empty((threads, 3 * width), np.uint32)
        self._padded = np.empty((threads, 3 * (low_width + self._taps.size)), np.float32)
        self._lines = np.empty((threads, 2, 3 * width), np.float32)
        self._bands = Bands(threads)

    def image(self, frame: Frame) -> npt.NDArray[np.uint8]:
        """See `Backdrop.image`; raises `FrameError` where the frame has another size."""
        if frame.image.shape != self._shape or frame.image.dtype != np.uint8:
            raise FrameError(
                "frame to blur",
                got=f"{frame.image.shape} {frame.image.dtype}",
                expected=f"{self._shape} uint8",
                todo="Make the background for the size of the frames.",
            )
        height, width, _ = self._shape
        source = frame.image.reshape(height, 3 * width).view()
        source.flags.writeable = False  # one type for the compiler, whatever the frame is
        blurred = np.empty((height, 3 * width), np.uint8)
        rows, small, half_way = self._small.shape[0], self._small, self._half_way
        run = self._bands.run
        run(blur_kernels.shrink, rows, source, self._factor, self._sums, small)
        run(blur_kernels.smooth_rows, rows, small, self._taps, self._padded, half_way)
        run(blur_kernels.smooth_columns, rows, half_way, self._taps, small)
        run(blur_kernels.enlarge, height, small, *self._up, self._lines, blurred)
        return blurred.reshape(self._shape)

    def close(self) -> None:
        """See `Backdrop.close`."""
        self._bands.close()


def _gaussian(sigma: float, factor: int) -> npt.NDArray[np.float32]:
    """Returns the weights at low resolution that, with shrinking and enlarging, blur by ``sigma`` pixels."""
    # Areas add (f² − 1) / 12 to the variance, interpolation (f² − 1) / 6.
    variance = max(sigma**2 - (factor**2 - 1) / 4, 1e-6) / factor**2
    reach = max(1, round(_REACH * variance**0.5))
    taps: npt.NDArray[np.float32] = np.exp(
        -(np.arange(-reach, reach + 1, dtype=np.float32) ** 2) / (2 * variance)
    )
    taps /= taps.sum()
    return taps
