"""Colour conversion from decoded video to RGB: 8-bit 4:2:0 by kernels of our own, the rest through swscale.

Both round to the nearest level and agree within one. swscale's default path for 4:2:0 is faster than either but
truncates: up to 3 levels of 255 off and 1.1 darker on average, at each read.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.video.reformatter import VideoReformatter

from rvm_trt.runtime.pixels import Colour
from rvm_trt.runtime.video.orientation import Orientation
from rvm_trt.runtime.video.planar import PlanarReader, colour_of

# swscale's flags by number, since PyAV names them only from version 18: bilinear with accurate rounding, and chroma
# interpolated at every pixel.
ACCURATE, _FULL_CHROMA = 0x2 | 0x40000, 0x2000
# AVColorSpace numbers, which are not swscale's.
_BT709, _UNSPECIFIED, _BT601 = 1, 2, 5
_LIMITED = 1  # AVCOL_RANGE_MPEG
_GREY = ("gray", *(f"gray{bits}{order}" for bits in (9, 10, 12, 14, 16) for order in ("le", "be")))
_SIDE = 16  # of a picture, to ask for the size of its chroma


class ToRgb:
    """Turns decoded frames into upright RGB arrays.

    The frame's own matrix (BT.601, BT.709, BT.2020, …) and range (limited, full) are used. A frame that names
    no matrix is taken as BT.709 from 720 stored rows upwards and as BT.601 below, as players do. Ten-bit
    video is rounded to eight bits. Primaries and transfer curve stay as they are: HDR is not tone mapped.
    Alpha is ignored.

    Args:
        orientation: how to turn the frames.
        threads: threads for one conversion in swscale; 0 for one per core. The kernels take the caller's thread.
    """

    def __init__(self, *, orientation: Orientation, threads: int = 0) -> None:
        self._readers: dict[tuple[int, int, Colour], PlanarReader] = {}
        self._reformatter = VideoReformatter()
        self._orientation = orientation
        self._threads = threads
        self._graphs: dict[str, Graph] = {}

    def convert(self, frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
        """Returns the frame as a C-contiguous ``(H, W, 3)`` uint8 array that owns its memory.

        Raises:
            av.FFmpegError: swscale cannot read the pixel format or colour space.
        """
        if frame.colorspace == _UNSPECIFIED and not frame.format.is_rgb:
            frame.colorspace = _BT709 if frame.height >= 720 else _BT601
        if self._orientation.is_upright:
            return self._rgb(frame)
        if self._orientation.transpose and _turns_as_it_is(frame) and not _is_grey(frame):
            return self._rgb(self._turned(frame))
        return np.ascontiguousarray(self._orientation.turned(self._rgb(frame)))

    def _rgb(self, frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
        colour = colour_of(frame)
        if colour is not None:
            return self._reader(frame, colour).read(frame)
        if _is_grey(frame):
            return _from_grey(frame)
        rgb = self._reformatter.reformat(
            frame,
            format="rgb24",
            interpolation=ACCURATE | _FULL_CHROMA,
            threads=self._threads,
        )
        # No copy unless rows are padded: the array keeps the frame alive, and nobody else writes to it.
        return np.ascontiguousarray(pixels(rgb))

    def _reader(self, frame: av.VideoFrame, colour: Colour) -> PlanarReader:
        key = (frame.width, frame.height, colour)
        if key not in self._readers:
            self._readers[key] = PlanarReader(width=frame.width, height=frame.height, colour=colour)
        return self._readers[key]

    def _turned(self, frame: av.VideoFrame) -> av.VideoFrame:
        # Turning planes before the conversion moves half the bytes, and libavfilter does it with SIMD.
        layout = f"{frame.width}x{frame.height} {frame.format.name}"
        if layout not in self._graphs:
            self._graphs[layout] = _turning_graph(frame, self._orientation.transposition)
        self._graphs[layout].vpush(frame)
        turned = self._graphs[layout].vpull()
        turned.colorspace, turned.color_range = frame.colorspace, frame.color_range
        return turned


def pixels(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """Returns a writable view of a packed frame: ``(H, W, C)``, or ``(H, W)`` for grey; maybe strided."""
    plane = frame.planes[0]
    buffer: Any = plane  # Planes offer the buffer protocol, which their type hints leave out.
    channels = len(frame.format.components)
    view: npt.NDArray[np.uint8] = np.ndarray(
        (plane.height, plane.width, channels),
        np.uint8,
        buffer=buffer,
        strides=(plane.line_size, channels, 1),
    )
    return view[..., 0] if channels == 1 else view


def _is_grey(frame: av.VideoFrame) -> bool:
    # swscale takes all grey for full range, and is a level off where it is deep.
    return frame.format.name in _GREY


def _from_grey(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    plane, bits = frame.planes[0], frame.format.components[0].bits
    buffer: Any = plane
    dtype = np.dtype(np.uint8 if bits == 8 else ">u2" if frame.format.is_big_endian else "<u2")
    codes: npt.NDArray[Any] = np.ndarray(
        (plane.height, plane.width), dtype, buffer=buffer, strides=(plane.line_size, dtype.itemsize)
    )
    most, scale = (1 << bits) - 1, 1 << bits - 8
    black, white = (16 * scale, 235 * scale) if frame.color_range == _LIMITED else (0, most)
    levels = (np.arange(most + 1) - black) * 255 / (white - black)
    table = (levels + 0.5).clip(0, 255).astype(np.uint8)
    return np.repeat(table[codes & most][..., None], 3, axis=-1)


def _turns_as_it_is(frame: av.VideoFrame) -> bool:
    """Whether libavfilter turns a frame without converting it, which it would without its colours.

    And whether samples of chroma lie as evenly as before: at odd sides, the last ones belong to fewer pixels.
    """
    form = frame.format
    columns, rows = form.chroma_width(_SIDE), form.chroma_height(_SIDE)
    is_even = columns == _SIDE or not (frame.width | frame.height) & 1
    return columns == rows and is_even and not (form.has_palette or form.is_bit_stream)


def _turning_graph(frame: av.VideoFrame, transposition: str) -> Graph:
    graph = Graph()
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        ),
        graph.add("transpose", transposition),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph
