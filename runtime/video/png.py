"""Frames as PNG images: 8 bits with Pillow, 16 bits with FFmpeg, since Pillow has no 16-bit colour."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rvm_trt.runtime.video.colour_out import plane
from rvm_trt.runtime.video.output import OutputKind, OutputPlan

# zlib's fastest level: a 4K image in a third of the time of the default, for a few per cent more bytes.
_LEVEL = 1
_KEYWORD = "Alpha"
_HEADER_BYTES = 8 + 25  # the signature and the IHDR chunk, before which no other may stand


class PngForm:
    """Writes grey, RGB or RGBA, of 8 or 16 bits.

    RGBA images have a text chunk ``Alpha``: ``straight``, as the PNG specification asks, or ``premultiplied``.

    Args:
        plan: the output, for its kind.
    """

    suffix = ".png"

    def __init__(self, plan: OutputPlan) -> None:
        self._plan = plan

    def save(self, image: npt.NDArray[Any], file: Path) -> None:
        """Writes an image; raises `OSError`."""
        text = None
        if self._plan.kind is OutputKind.RGBA:
            text = "premultiplied" if self._plan.premultiplied else "straight"
        if image.dtype == np.uint16:
            file.write_bytes(_deep_png(image, text))
            return
        info = PngInfo()
        if text:
            info.add_text(_KEYWORD, text)
        Image.fromarray(image).save(file, compress_level=_LEVEL, pnginfo=info)


def _deep_png(image: npt.NDArray[np.uint16], text: str | None) -> bytes:
    pixel_format = "gray16be" if image.ndim == 2 else "rgba64be"
    frame = av.VideoFrame(image.shape[1], image.shape[0], pixel_format)
    plane(frame, 0)[...] = image.byteswap()
    context = av.CodecContext.create("png", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = frame.width, frame.height, pixel_format
    context.options = {"compression_level": str(_LEVEL), "pred": "sub"}
    context.thread_count = 1
    data = b"".join(bytes(packet) for picture in (frame, None) for packet in context.encode(picture))
    return data if text is None else data[:_HEADER_BYTES] + _text_chunk(text) + data[_HEADER_BYTES:]


def _text_chunk(text: str) -> bytes:
    body = b"tEXt" + _KEYWORD.encode("latin-1") + b"\0" + text.encode("latin-1")
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
