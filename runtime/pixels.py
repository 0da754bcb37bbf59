"""Pixel formats and colours: how a picture lies in memory, and what its codes mean in red, green and blue."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from rvm_trt.options import choice


class PixelFormat(str, Enum):
    """How pixels lie in memory.

    ``NV12`` and ``P010`` are a luma plane and a plane of interleaved Cb, Cr at half the width and height, rounded up;
    P010 has its ten bits at the top of each 16.
    """

    RGB8 = "rgb8"
    BGR8 = "bgr8"
    RGBA8 = "rgba8"
    NV12 = "nv12"
    P010 = "p010"

    @property
    def is_subsampled(self) -> bool:
        """Whether chroma has a plane of its own."""
        return self in (PixelFormat.NV12, PixelFormat.P010)

    @property
    def bytes_per_pixel(self) -> int:
        """Bytes of a pixel in the first plane."""
        return {"rgb8": 3, "bgr8": 3, "rgba8": 4, "nv12": 1, "p010": 2}[self.value]

    def row_bytes(self, width: int) -> int:
        """Returns the bytes of a row of the first plane, without padding."""
        return width * self.bytes_per_pixel

    def chroma_row_bytes(self, width: int) -> int:
        """Returns the bytes of a row of the chroma plane, without padding; 0 for packed formats."""
        return (width + 1) // 2 * 2 * self.bytes_per_pixel if self.is_subsampled else 0

    def chroma_rows(self, height: int) -> int:
        """Returns the rows of the chroma plane; 0 for packed formats."""
        return (height + 1) // 2 if self.is_subsampled else 0


class ColourMatrix(str, Enum):
    """The standard that mixes red, green and blue into luma."""

    BT601 = "bt601"
    BT709 = "bt709"
    BT2020 = "bt2020"


class ColourRange(str, Enum):
    """Whether codes keep room below black and above white, as video does, or not, as JPEG does."""

    LIMITED = "limited"
    FULL = "full"


_RED_BLUE = {
    ColourMatrix.BT601: (0.299, 0.114),
    ColourMatrix.BT709: (0.2126, 0.0722),
    ColourMatrix.BT2020: (0.2627, 0.0593),
}


@dataclass(frozen=True, kw_only=True)
class Colour:
    """What the codes of an NV12 or P010 picture mean; red, green and blue formats have no use for it.

    Raises:
        OptionError: no such matrix or range.
    """

    matrix: ColourMatrix = ColourMatrix.BT709
    range: ColourRange = ColourRange.LIMITED

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", choice(ColourMatrix, self.matrix, subject="matrix"))
        object.__setattr__(self, "range", choice(ColourRange, self.range, subject="range"))

    def decoding(self, pixel_format: PixelFormat) -> tuple[float, ...]:
        """Returns the fields of ``Decoding`` in kernels/colour.cuh, in order: codes to levels in 0..255."""
        red, blue = _RED_BLUE[self.matrix]
        green = 1 - red - blue
        black, luma, chroma, centre, _ = self._codes(pixel_format)
        cr, cb = 2 * (1 - red) * 255 / chroma, 2 * (1 - blue) * 255 / chroma
        return 255 / luma, -black * 255 / luma, centre, cr, -cb * blue / green, -cr * red / green, cb

    def encoding(self, pixel_format: PixelFormat) -> tuple[npt.NDArray[np.float64], float]:
        """Returns the fields of ``Encoding`` in kernels/colour.cuh: levels to codes, and the highest code.

        The first, (3, 4), holds a row each for Y, Cb and Cr: the shares of red, green, blue, and 1.
        """
        red, blue = _RED_BLUE[self.matrix]
        black, luma, chroma, centre, top = self._codes(pixel_format)
        y = np.array([red, 1 - red - blue, blue])
        cb = (np.array([0, 0, 1]) - y) / (2 * (1 - blue))
        cr = (np.array([1, 0, 0]) - y) / (2 * (1 - red))
        rows = np.stack([y * luma / 255, cb * chroma / 255, cr * chroma / 255])
        return np.column_stack([rows, [black, centre, centre]]), top

    def _codes(self, pixel_format: PixelFormat) -> tuple[float, float, float, float, float]:
        """Returns black, the spans of luma and chroma, the centre of chroma, and the highest code."""
        unit = 4 if pixel_format is PixelFormat.P010 else 1  # of 8-bit codes
        top = 256.0 * unit - 1
        if self.range is ColourRange.LIMITED:
            return 16.0 * unit, 219.0 * unit, 224.0 * unit, 128.0 * unit, top
        return 0.0, top, top, 128.0 * unit, top


HD_VIDEO = Colour()
"""BT.709, limited range."""
