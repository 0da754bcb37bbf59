"""Pixel formats that take another way than 8-bit 4:2:0: turned, deinterlaced and grey, beside a plain computation."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.runtime.video.colour import ToRgb
from rvm_trt.runtime.video.deinterlace import Deinterlacer
from rvm_trt.runtime.video.orientation import Orientation
from rvm_trt.runtime.video.picture import Picture
from rvm_trt.runtime.video.source import open_source

PAL = Fraction(25)
WIDTH, HEIGHT = 64, 48
_CODES = (100, 90, 180)  # of eight bits
_SHARES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}


def _expected(space: int, *, full: bool, bits: int) -> npt.NDArray[np.float64]:
    """The colour of `_CODES` in so many bits, by the definition of the matrix."""
    scale = 1 << bits - 8
    most = (1 << bits) - 1
    red, blue = _SHARES[space]
    y, u, v = (code * scale for code in _CODES)
    u, v = ((code - 128 * scale) / (most if full else 224 * scale) for code in (u, v))
    y = y / most if full else (y - 16 * scale) / (219 * scale)
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return 255 * np.array([r, g, b]).clip(0, 1)


def _flat(name: str, *, space: int = 1, full: bool = False) -> av.VideoFrame:
    """A frame of `_CODES`."""
    frame = av.VideoFrame(WIDTH, HEIGHT, name)
    bits = frame.format.components[0].bits
    # P010 keeps its ten bits in the upper ones of sixteen.
    scale = (1 << bits - 8) << (6 if name.startswith("p0") else 0)
    y, u, v = (code * scale for code in _CODES)
    orders = {
        "uyvy422": [(u, y, v, y)],
        "nv12": [(y,), (u, v)],
        "nv16": [(y,), (u, v)],
        "p010le": [(y,), (u, v)],
    }
    buffers: list[Any] = list(frame.planes)
    for plane, order in zip(buffers, orders.get(name, [(y,), (u,), (v,)]), strict=False):
        codes = np.frombuffer(plane, np.uint8 if bits == 8 else "<u2")
        codes[:] = np.resize(order, codes.shape)
    frame.colorspace, frame.color_range = space, 2 if full else 1
    frame.pts, frame.time_base = 0, 1 / PAL
    return frame


def _noise(name: str, width: int, height: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, name)
    bits = frame.format.components[0].bits
    buffers: list[Any] = list(frame.planes)
    for index, plane in enumerate(buffers):
        codes = np.frombuffer(plane, np.uint8 if bits == 8 else "<u2")
        codes[:] = np.random.default_rng(index).integers(60, 190, codes.shape) << bits - 8
    frame.colorspace, frame.color_range = 1, 1
    frame.pts, frame.time_base = 0, 1 / PAL
    return frame


_TURNS = [Orientation(transpose=turn, flip_x=x, flip_y=y) for turn, x, y in product((False, True), repeat=3)]


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (35, 22), (35, 21)])
@pytest.mark.parametrize(
    "name",
    ["yuv420p", "yuv420p10le", "yuv422p", "yuv422p10le", "yuv411p", "yuv440p", "yuv444p", "nv12", "gray"],
)
@pytest.mark.parametrize("turn", _TURNS, ids=str)
def test_a_turned_frame_has_the_pixels_of_the_frame(
    name: str, turn: Orientation, size: tuple[int, int]
) -> None:
    frame = _noise(name, *size)
    stored = ToRgb(orientation=Orientation()).convert(frame)
    rows = stored.transpose(1, 0, 2) if turn.transpose else stored
    upright = rows[:: -1 if turn.flip_y else 1, :: -1 if turn.flip_x else 1]
    image = ToRgb(orientation=turn).convert(frame)
    assert image.flags.c_contiguous
    # Turned before they are converted, deep samples of chroma are interpolated in another order.
    assert np.abs(image.astype(int) - upright).max() <= (2 if "10" in name or name == "nv12" else 0)


@pytest.mark.parametrize("name", ["yuv422p", "yuv422p10le", "yuv420p10le", "nv12"])
@pytest.mark.parametrize(("space", "full"), [(1, False), (5, True), (9, False)])
def test_a_turned_frame_keeps_its_colours(name: str, space: int, full: bool) -> None:
    image = ToRgb(orientation=Orientation(transpose=True)).convert(_flat(name, space=space, full=full))
    expected = _expected(space, full=full, bits=10 if "10" in name else 8)
    assert image.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(image - expected).max() <= 1


@pytest.mark.parametrize("name", ["nv12", "nv16", "p010le", "uyvy422", "yuv422p", "yuv411p", "yuv420p10le"])
@pytest.mark.parametrize(("space", "full"), [(1, False), (5, False), (5, True), (9, False)])
def test_deinterlaced_frames_keep_their_colours(name: str, space: int, full: bool) -> None:
    deinterlacer = Deinterlacer()
    done = []
    for pts in range(3):
        frame = _flat(name, space=space, full=full)
        done += deinterlacer.push(Picture(frame=frame, pts=pts, time_base=1 / PAL, duration=1))
    done += deinterlacer.push(None)
    assert [picture.pts for picture in done] == [0, 1, 2]
    image = ToRgb(orientation=Orientation()).convert(done[1].frame)
    expected = _expected(space, full=full, bits=10 if "10" in name else 8)
    assert np.abs(image - expected).max() <= 1


@pytest.mark.parametrize(("name", "bits"), [("gray", 8), ("gray10le", 10), ("gray16le", 16)])
@pytest.mark.parametrize("full", [False, True])
def test_grey_has_the_range_that_it_says(tmp_path: Path, name: str, bits: int, full: bool) -> None:
    ramp = np.linspace(0, (1 << bits) - 1, WIDTH).round()
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=PAL, width=WIDTH, height=HEIGHT)
        stream.pix_fmt = name
        stream.codec_context.color_range = 2 if full else 1
        frame = av.VideoFrame(WIDTH, HEIGHT, name)
        buffer: Any = frame.planes[0]
        dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
        np.ndarray((HEIGHT, WIDTH), dtype, buffer, strides=(buffer.line_size, dtype.itemsize))[:] = ramp
        frame.color_range, frame.pts = 2 if full else 1, 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    levels = ramp / ((1 << bits) - 1) if full else (ramp / (1 << bits - 8) - 16) / 219
    image = next(iter(open_source(tmp_path / "a.mkv"))).image
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image - 255 * levels.clip(0, 1)[:, None]).max() <= 0.501
