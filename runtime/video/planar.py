"""8-bit 4:2:0 frames to and from RGB, by the kernels in `colour_kernels`."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

from rvm_trt.runtime.pixels import HD_VIDEO, Colour, ColourMatrix, ColourRange, PixelFormat
from rvm_trt.runtime.video import colour_kernels

Image = npt.NDArray[np.uint8]
PLANAR = "yuv420p"
# Matrices by FFmpeg's number; 5 and 6 are the two names of BT.601.
_MATRICES = {1: ColourMatrix.BT709, 5: ColourMatrix.BT601, 6: ColourMatrix.BT601, 9: ColourMatrix.BT2020}
_BT709 = 1  # AVCOL_SPC_BT709
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_SIXTEENTH, _EIGHTH = 1 / 16, 1 / 8


def colour_of(frame: av.VideoFrame) -> Colour | None:
    """Returns what the codes of a frame mean, or None where the kernels cannot read it."""
    matrix = _MATRICES.get(frame.colorspace)
    if matrix is None or frame.format.name not in (PLANAR, "yuvj420p"):
        return None
    full = frame.format.name == "yuvj420p" or frame.color_range == _FULL_RANGE
    return Colour(matrix=matrix, range=ColourRange.FULL if full else ColourRange.LIMITED)


class PlanarReader:
    """Turns planar frames of one size and colour into RGB arrays. For one thread at a time.

    Args:
        width, height: size of the frames.
        colour: what their codes mean.
    """

    def __init__(self, *, width: int, height: int, colour: Colour) -> None:
        self._width = width
        self._height = height
        scale, bias, centre, red_cr, green_cb, green_cr, blue_cb = colour.decoding(PixelFormat.NV12)
        bias += 0.5  # what follows is cut off
        biases = [bias - centre * share for share in (red_cr, green_cb + green_cr, blue_cb)]
        shares = [_SIXTEENTH * share for share in (red_cr, green_cb, green_cr, blue_cb)]
        self._colour = np.array([scale, *biases, *shares], np.float32)
        columns = (width + 1) // 2
        self._scratch = np.empty((colour_kernels.DECODING_ROWS, columns + 2), np.float32)
        self._pairs = np.zeros((colour_kernels.DECODING_LEVELS, columns), np.uint16)
        self._levels = self._pairs.view(np.uint8)

    def read(self, frame: av.VideoFrame) -> Image:
        """Returns a frame as a new ``(H, W, 3)`` uint8 array."""
        image = np.empty((self._height, self._width, 3), np.uint8)
        rows = image.reshape(self._height, -1)
        luma, cb, cr = _planes(frame)
        colour_kernels.decode_rows(
            luma,
            cb,
            cr,
            self._height,
            self._width,
            self._colour,
            self._scratch,
            self._levels,
            self._pairs,
            rows,
        )
        return image


class PlanarWriter:
    """Turns RGB frames of one even size into planar frames, BT.709 limited range. For one thread at a time.

    Args:
        width, height: size of the frames.
    """

    def __init__(self, *, width: int, height: int) -> None:
        self._width = width
        self._height = height
        rows, _ = HD_VIDEO.encoding(PixelFormat.NV12)
        # Eight rows are summed up, of two columns each; what follows is cut off.
        rows[:, 3] += 0.5
        rows[1:, :3] *= _SIXTEENTH
        rows[1:, 3] *= _EIGHTH
        self._colour = rows.astype(np.float32)
        self._scratch = np.empty((colour_kernels.ENCODING_ROWS, width // 2), np.float32)
        self._pairs = np.zeros((colour_kernels.ENCODING_LEVELS, width // 2), np.uint16)
        self._levels = self._pairs.view(np.uint8)
        self._frame = av.VideoFrame(width, height, PLANAR)
        self._frame.colorspace, self._frame.color_range = _BT709, ColorRange.MPEG
        self._frame.color_trc, self._frame.color_primaries = ColorTrc.BT709, ColorPrimaries.BT709

    def write(self, source: av.VideoFrame) -> av.VideoFrame:
        """Returns a frame of ``rgb24`` as a tagged frame, which is written again at the next call."""
        self._frame.make_writable()  # an encoder may have kept it
        (pixels,) = _planes(source)
        colour_kernels.encode_rows(
            pixels,
            self._height,
            self._width,
            self._colour,
            self._scratch,
            self._levels,
            self._pairs,
            *_planes(self._frame),
        )
        return self._frame


def compile_kernels() -> None:
    """Compiles the kernels, or reads them from their cache; otherwise the first frame waits for it."""
    reader = PlanarReader(width=2, height=2, colour=HD_VIDEO)
    reader.read(PlanarWriter(width=2, height=2).write(av.VideoFrame(2, 2, "rgb24")))


def _planes(frame: av.VideoFrame) -> list[Image]:
    """Returns a frame's planes with the padding of their rows: C-contiguous, so that one compilation serves all."""
    planes: Any = frame.planes  # Planes offer the buffer protocol, which their type hints leave out.
    return [np.ndarray((plane.height, plane.line_size), np.uint8, buffer=plane) for plane in planes]
