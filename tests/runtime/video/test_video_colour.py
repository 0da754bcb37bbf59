"""Colour between 4:2:0 and RGB: beside a plain computation, and beside swscale."""

from __future__ import annotations

from itertools import product
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from rvm_trt.runtime.video.colour import ToRgb, pixels
from rvm_trt.runtime.video.colour_out import FromRgb
from rvm_trt.runtime.video.orientation import Orientation

Image = npt.NDArray[np.uint8]
_SHARES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
_ACCURATE = 0x2 | 0x40000 | 0x2000


def planes(frame: av.VideoFrame) -> list[Image]:
    """The planes without the padding of their rows."""
    views: list[Any] = list(frame.planes)
    return [
        np.ndarray((p.height, p.width), np.uint8, buffer=p, strides=(p.line_size, 1)).copy() for p in views
    ]


def planar(
    width: int, height: int, *, space: int = 1, full: bool = False, seed: int = 0, name: str = "yuv420p"
) -> av.VideoFrame:
    """A frame of noise over the whole range of codes."""
    frame = av.VideoFrame(width, height, name)
    frame.colorspace, frame.color_range = space, 2 if full else 1
    views: list[Any] = list(frame.planes)
    for index, plane in enumerate(views):
        size = (plane.height, plane.width)
        view = np.ndarray(size, np.uint8, buffer=plane, strides=(plane.line_size, 1))
        view[:] = np.random.default_rng(seed + index).integers(0, 256, size, dtype=np.uint8)
    return frame


def packed(image: Image) -> av.VideoFrame:
    frame = av.VideoFrame(image.shape[1], image.shape[0], "rgb24")
    pixels(frame)[:] = image
    return frame


def noise(width: int, height: int) -> Image:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def widened(plane: Image, *, width: int, height: int) -> npt.NDArray[np.float64]:
    """Chroma at every pixel: nine, three, three and one sixteenth of the four nearest samples."""
    samples = np.pad(plane.astype(np.float64), 1, mode="edge")
    rows, columns = plane.shape
    result = np.empty((2 * rows, 2 * columns))
    for below, right in product((0, 1), repeat=2):
        y, x = (2 if below else 0), (2 if right else 0)
        near, far_y = samples[1:-1, 1:-1], samples[y : y + rows, 1:-1]
        far_x, far = samples[1:-1, x : x + columns], samples[y : y + rows, x : x + columns]
        result[below::2, right::2] = (9 * near + 3 * far_y + 3 * far_x + far) / 16
    return result[:height, :width]


def as_rgb(frame: av.VideoFrame) -> npt.NDArray[np.float64]:
    """The levels of a planar frame, not rounded."""
    red, blue = _SHARES[frame.colorspace]
    green = 1 - red - blue
    luma, cb, cr = planes(frame)
    u, v = (widened(plane, width=frame.width, height=frame.height) - 128 for plane in (cb, cr))
    y = luma.astype(np.float64)
    if frame.color_range != 2:
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / green
    return np.stack([r, g, b], axis=-1).clip(0, 255)


@pytest.mark.parametrize("size", [(64, 48), (162, 98), (35, 21), (2, 2)])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("space", [1, 5, 6, 9])
def test_decoded_frames_are_rounded_exactly(space: int, full: bool, size: tuple[int, int]) -> None:
    frame = planar(*size, space=space, full=full)
    image = ToRgb(orientation=Orientation()).convert(frame)
    assert image.shape == (size[1], size[0], 3)
    assert np.abs(image - as_rgb(frame)).max() <= 0.501


def test_decoded_frames_agree_with_swscale() -> None:
    source = ToRgb(orientation=Orientation()).convert(packed(noise(96, 64)))
    frame = FromRgb("yuv420p").convert(packed(source))  # within the gamut, where swscale does not overflow
    rgb = VideoReformatter().reformat(frame, format="rgb24", interpolation=_ACCURATE)
    image = ToRgb(orientation=Orientation()).convert(frame)
    assert np.abs(image.astype(int) - pixels(rgb)).max() <= 1


def test_each_decoded_frame_has_its_own_memory() -> None:
    to_rgb = ToRgb(orientation=Orientation())
    first = to_rgb.convert(planar(64, 48, seed=1))
    kept = first.copy()
    to_rgb.convert(planar(64, 48, seed=2))
    assert np.array_equal(first, kept)


def test_full_range_by_name_is_full_range() -> None:
    frame = planar(64, 48, name="yuvj420p", full=True)
    named, tagged = planar(64, 48, name="yuvj420p"), planar(64, 48, full=True)
    expected = as_rgb(frame)
    for each in (named, tagged):
        assert np.abs(ToRgb(orientation=Orientation()).convert(each) - expected).max() <= 0.501


@pytest.mark.parametrize("size", [(64, 48), (162, 98), (2, 2)])
def test_encoded_frames_are_rounded_exactly(size: tuple[int, int]) -> None:
    image = noise(*size)
    red, blue = _SHARES[1]
    levels = image.astype(np.float64)
    y = levels @ (red, 1 - red - blue, blue)
    cb, cr = (levels[..., 2] - y) / (2 * (1 - blue)), (levels[..., 0] - y) / (2 * (1 - red))
    frame = FromRgb("yuv420p").convert(packed(image))
    luma, *chroma = planes(frame)
    assert np.abs(luma - (16 + y * 219 / 255)).max() <= 0.501
    for plane, values in zip(chroma, (cb, cr), strict=True):
        pairs = np.pad((values[:, ::2] + values[:, 1::2]) / 2, ((1, 1), (0, 0)), mode="edge")
        rows = (pairs[:-3:2] + 3 * pairs[1:-2:2] + 3 * pairs[2:-1:2] + pairs[3::2]) / 8
        assert np.abs(plane - (128 + rows * 224 / 255)).max() <= 0.501
    assert (frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries) == (1, 1, 1, 1)


def test_encoded_frames_agree_with_swscale() -> None:
    source = packed(noise(96, 64))
    reference = VideoReformatter().reformat(
        source,
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=0x2 | 0x40000,
    )
    frame = FromRgb("yuv420p").convert(source)
    for plane, expected in zip(planes(frame), planes(reference), strict=True):
        assert np.abs(plane.astype(int) - expected).max() <= 1


def test_a_frame_that_an_encoder_kept_is_not_written_again() -> None:
    from_rgb = FromRgb("yuv420p")
    kept = from_rgb.convert(packed(np.zeros((48, 64, 3), np.uint8)))
    # A filter graph holds a reference to what is pushed, as an encoder with frames in flight does.
    graph = av.filter.Graph()
    buffer = graph.add_buffer(width=64, height=48, format=kept.format, time_base=1)
    graph.link_nodes(buffer, graph.add("buffersink")).configure()
    kept.pts = 0
    graph.vpush(kept)
    from_rgb.convert(packed(np.full((48, 64, 3), 255, np.uint8)))
    assert np.all(planes(graph.vpull())[0] == 16)
