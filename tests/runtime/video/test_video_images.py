"""Images in: numbered sequences and their gaps, patterns, 16 bits, OpenEXR, and animated images."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.input_options import Gaps, InputOptions
from rvm_trt.runtime.video.source import open_source

SIZE = {"width": 128, "height": 48}


def _save(folder: Path, video: SimpleNamespace, name: str, numbers: list[int]) -> None:
    for number in numbers:
        Image.fromarray(video.numbered(number, **SIZE)).save(folder / name.format(number))


def _numbers(source: object, video: SimpleNamespace) -> list[int]:
    return [video.number(frame.image) for frame in source]  # type: ignore[attr-defined]


def test_missing_numbers_are_refused_by_name(tmp_path: Path, video: SimpleNamespace) -> None:
    _save(tmp_path, video, "shot.{:04d}.png", [1, 2, 4, 9, 10])
    for path in (tmp_path, tmp_path / "shot.%04d.png"):
        with pytest.raises(VideoError, match=r"images 1 to 10 without 3, 5-8, .*--gaps hold"):
            open_source(path)


def test_missing_numbers_are_held_and_counted(tmp_path: Path, video: SimpleNamespace) -> None:
    _save(tmp_path, video, "{}.png", [1, 2, 4, 7])
    source = open_source(tmp_path, options=InputOptions(gaps=Gaps.HOLD))
    frames = list(source)
    assert [video.number(f.image) for f in frames] == [1, 2, 2, 4, 4, 4, 7]
    assert [f.pts for f in frames] == list(range(7))
    assert source.frame_count == 7
    assert source.notices == ["3 missing images were filled with the image before: 3, 5-6."]
    assert [video.number(f.image) for f in source.frames_from(2)] == [2, 4, 4, 4, 7]


def test_gaps_can_be_closed(tmp_path: Path, video: SimpleNamespace) -> None:
    _save(tmp_path, video, "{}.png", [1, 2, 40])
    assert _numbers(open_source(tmp_path, options=InputOptions(gaps=Gaps.CLOSE)), video) == [1, 2, 40]


def test_endless_gaps_are_not_filled(tmp_path: Path, video: SimpleNamespace) -> None:
    _save(tmp_path, video, "{}.png", [1])
    (tmp_path / "1.png").rename(tmp_path / "1700000000.png")
    _save(tmp_path, video, "{}.png", [1])
    with pytest.raises(VideoError, match="at most 10000 to fill"):
        open_source(tmp_path, options=InputOptions(gaps=Gaps.HOLD))


def test_names_that_are_no_sequence_have_no_gaps(tmp_path: Path, video: SimpleNamespace) -> None:
    for name in ("a1.png", "b7.png", "c.png"):
        _save(tmp_path, video, name, [3])
    assert len(list(open_source(tmp_path))) == 3


@pytest.mark.parametrize("pattern", ["shot.%04d.png", "shot.####.png", "shot.%d.png", "shot.#.png"])
def test_a_pattern_takes_its_own_images_alone(tmp_path: Path, video: SimpleNamespace, pattern: str) -> None:
    wide = "%04d" in pattern or "####" in pattern
    _save(tmp_path, video, "shot.{:04d}.png" if wide else "shot.{}.png", [8, 9, 10, 11])
    _save(tmp_path, video, "mask.{:04d}.png", [1])
    (tmp_path / "shot.0012.png.bak").touch()
    source = open_source(tmp_path / pattern, rate=24)
    assert _numbers(source, video) == [8, 9, 10, 11]
    assert (source.rate, source.clip.path) == (24, tmp_path / pattern)


def test_a_number_may_outgrow_its_width(tmp_path: Path, video: SimpleNamespace) -> None:
    _save(tmp_path, video, "{}.png", [99, 100, 101])
    assert _numbers(open_source(tmp_path / "%02d.png"), video) == [99, 100, 101]


def test_a_pattern_without_images_is_refused(tmp_path: Path) -> None:
    for name in ("shot.%04d.png", "none/shot.####.exr"):
        with pytest.raises(VideoError, match="no file that fits the pattern"):
            open_source(tmp_path / name)
    with pytest.raises(VideoError, match="nothing there"):
        open_source(tmp_path / "shot.png")


def test_a_name_like_a_pattern_is_a_file_where_there_is_one(tmp_path: Path, video: SimpleNamespace) -> None:
    _save(tmp_path, video, "take #1.png", [5])
    assert _numbers(open_source(tmp_path / "take #1.png"), video) == [5]


def _write(path: Path, image: np.ndarray, *, codec: str, pix_fmt: str) -> None:
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = image.shape[1], image.shape[0]
    context.pix_fmt, context.time_base = pix_fmt, Fraction(1, 25)  # type: ignore[attr-defined]
    frame = av.VideoFrame.from_ndarray(image, format=pix_fmt)
    frame.pts = 0
    path.write_bytes(b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)]))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bit_colours_become_eight(tmp_path: Path, name: str) -> None:
    ramp = np.linspace(0, 65535, 64 * 3, dtype=np.uint16).reshape(1, 64, 3).repeat(8, axis=0)
    byte_order = "be" if name.endswith("png") else "le"
    _write(tmp_path / name, ramp, codec=name[2:], pix_fmt=f"rgb48{byte_order}")
    image = next(iter(open_source(tmp_path / name))).image
    assert np.abs(image - ramp / 257).max() <= 1


def test_openexr_gets_the_curve_of_srgb(tmp_path: Path) -> None:
    linear = np.zeros((48, 64, 3), np.float32)
    linear[:] = np.array([0.0, 0.0031308, 0.2158605, 0.5, 1.0, 4.0, -1.0, np.nan], np.float32).repeat(8)[
        :, None
    ]
    for number in (1, 2):
        _write(tmp_path / f"shot.{number:04d}.exr", linear, codec="exr", pix_fmt="gbrpf32le")
    source = open_source(tmp_path / "shot.####.exr")
    assert (source.width, source.height, source.frame_count) == (64, 48, 2)
    levels = [frame.image[5, ::8, 1].tolist() for frame in source]
    assert levels == [[0, 10, 128, 188, 255, 255, 0, 0]] * 2


def test_openexr_in_colour_keeps_its_channels(tmp_path: Path) -> None:
    linear = np.zeros((48, 64, 3), np.float32)
    linear[:] = (1.0, 0.2158605, 0.0)
    _write(tmp_path / "a.exr", linear, codec="exr", pix_fmt="gbrpf32le")
    assert next(iter(open_source(tmp_path))).image[0, 0].tolist() == [255, 128, 0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("names", ["RGB", "RGBA", "Y", "YA", "RGBZ"])
def test_openexr_of_halves_and_floats_in_grey_and_colour(
    tmp_path: Path, dtype: type[np.floating[Any]], names: str
) -> None:
    linear = np.random.default_rng(5).random((len(names), 24, 40)).astype(dtype)
    channels = {
        name: plane.astype(np.float32) if name == "Z" else plane
        for name, plane in zip(names, linear, strict=True)
    }
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(tmp_path / "a.exr"))
    colours = linear[[0, 0, 0] if names[0] == "Y" else [0, 1, 2]].transpose(1, 2, 0).astype(np.float64)
    curved = np.where(colours <= 0.0031308, 12.92 * colours, 1.055 * colours ** (1 / 2.4) - 0.055)
    image = next(iter(open_source(tmp_path / "a.exr"))).image
    assert np.abs(image - 255 * curved).max() <= (0.501 if dtype is np.float16 else 0.6)


def test_a_broken_openexr_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.exr").write_bytes(b"v/1\1 and no more")
    with pytest.raises(VideoError, match=r"a\.exr.*does not open"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_animated_images_give_all_pictures_at_their_times(
    tmp_path: Path, video: SimpleNamespace, name: str
) -> None:
    pictures = [Image.fromarray(video.numbered(i, **SIZE)) for i in range(5)]
    durations = [40, 80, 40, 120, 40]
    extra = {"lossless": True} if name.endswith("webp") else {}
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=durations, **extra)
    source = open_source(tmp_path / name)
    frames = list(source)
    assert [video.number(f.image) for f in frames] == list(range(5))
    assert [f.pts * f.time_base * 1000 for f in frames] == [0, 40, 120, 160, 280]
    assert [f.duration for f in frames] == durations
    assert source.rate == Fraction(5000, 320)
    assert [video.number(f.image) for f in source.frames_from(3)] == [3, 4]


def test_a_picture_for_programs_without_animations_is_no_part_of_one(
    tmp_path: Path, video: SimpleNamespace
) -> None:
    pictures = [Image.fromarray(video.numbered(i, **SIZE)) for i in range(3)]
    pictures[0].save(
        tmp_path / "a.png", save_all=True, append_images=pictures[1:], duration=50, default_image=True
    )
    assert _numbers(open_source(tmp_path / "a.png"), video) == [1, 2]


def test_floating_point_images_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(VideoError, match="floating-point"):
        list(open_source(tmp_path))
