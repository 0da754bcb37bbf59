"""Colour conversion from RGB to an encoder's pixel format: 4:2:0 by kernels of our own, the rest through swscale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from rvm_trt.runtime.video.colour import ACCURATE
from rvm_trt.runtime.video.planar import PLANAR, PlanarWriter

# AVColorSpace numbers, which are not swscale's.
_BT709 = 1
_MATRICES: Mapping[int, Colorspace] = {_BT709: Colorspace.ITU709, 9: Colorspace.BT2020}
_TEN_BIT_ALPHA = "yuva444p10le"


class FromRgb:
    """Turns RGB, RGBA or grey frames into frames of an encoder's pixel format, tagged with their colours.

    Planar YUV is limited range. Alpha is always full range. Its 256 levels become those of 1024 from which all readers
    get them back, be it by cutting off two bits or by rounding in steps of 1/255 or, as swscale does, of 1/256.

    Args:
        pixel_format: FFmpeg's name, such as ``yuv420p``.
        colorspace, color_primaries, color_trc: FFmpeg's numbers; the matrix BT.709 or BT.2020 for YUV.
        threads: threads for one conversion in swscale; 0 for one per core. The kernels take the caller's thread.
    """

    def __init__(
        self,
        pixel_format: str,
        *,
        colorspace: int = _BT709,
        color_primaries: int = 1,
        color_trc: int = 1,
        threads: int = 0,
    ) -> None:
        self._writer: PlanarWriter | None = None
        self._reformatter = VideoReformatter()
        self._format = pixel_format
        self._colorspace = colorspace
        self._tags = (color_primaries, color_trc)
        self._threads = threads

    def convert(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Returns a tagged frame, which stands until the next call; raises `av.FFmpegError` where swscale cannot.

        All frames have one size and one pixel format.
        """
        converted = self._converted(frame)
        converted.color_primaries, converted.color_trc = self._tags
        return converted

    def _converted(self, frame: av.VideoFrame) -> av.VideoFrame:
        if frame.format.name == self._format:
            return _copied(frame)
        if not self._format.startswith("yuv"):
            return self._repacked(frame)
        is_even = not (frame.width | frame.height) & 1
        if self._format == PLANAR and frame.format.name == "rgb24" and self._colorspace == _BT709 and is_even:
            if self._writer is None:
                self._writer = PlanarWriter(width=frame.width, height=frame.height)
            return self._writer.write(frame)
        converted = self._reformatter.reformat(
            frame,
            format=self._format,
            dst_colorspace=_MATRICES[self._colorspace],
            dst_color_range=ColorRange.MPEG,
            interpolation=ACCURATE,
            threads=self._threads,
        )
        if self._format == _TEN_BIT_ALPHA:
            _write_ten_bits(plane(frame, 0)[..., 3], plane(converted, 3))
        return converted

    def _repacked(self, frame: av.VideoFrame) -> av.VideoFrame:
        return self._reformatter.reformat(frame, format=self._format, threads=self._threads)


def plane(frame: av.VideoFrame, index: int) -> npt.NDArray[Any]:
    """Returns a writable view of a plane: ``(H, W)``, or ``(H, W, C)`` of packed pixels.

    It is uint8, or uint16 for more than 8 bits in the byte order that the format has.
    """
    of = frame.planes[index]
    buffer: Any = of  # Planes offer the buffer protocol, which their type hints leave out.
    component = frame.format.components[index]
    dtype = np.dtype(np.uint8 if component.bits <= 8 else np.uint16)
    channels = 1 if len(frame.planes) > 1 else len(frame.format.components)
    pixel = channels * dtype.itemsize
    view: npt.NDArray[Any] = np.ndarray(
        (of.height, of.width, channels), dtype, buffer=buffer, strides=(of.line_size, pixel, dtype.itemsize)
    )
    return view[..., 0] if channels == 1 else view


def _copied(frame: av.VideoFrame) -> av.VideoFrame:
    # The encoder may keep what it is given, and the frame is filled again.
    copy = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for index in range(len(frame.planes)):
        plane(copy, index)[...] = plane(frame, index)
    return copy


def _write_ten_bits(alpha: npt.NDArray[Any], out: npt.NDArray[np.uint16]) -> None:
    if alpha.dtype == np.uint8:
        levels = np.arange(256, dtype=np.uint16)
        deep = 4 * levels + (levels >= 64)
        deep[255] = 1023
        out[...] = deep[alpha]
    else:
        out[...] = (alpha.astype(np.uint32) * 1023 + 32767) // 65535
