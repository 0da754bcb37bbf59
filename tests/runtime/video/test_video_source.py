"""Video in: order, count, timing, rotation, colour, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from rvm_trt.errors import OptionError, VideoError
from rvm_trt.runtime.video.orientation import Orientation
from rvm_trt.runtime.video.source import open_source

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_frames_come_in_order_with_the_exact_rate(tmp_path: Path, video: SimpleNamespace, name: str) -> None:
    path = video.write_clip(tmp_path / name, frames=40, sound_s=1)
    source = open_source(path)
    frames = list(source)
    assert [video.number(f.image) for f in frames] == list(range(40))
    assert source.rate == NTSC
    assert (source.width, source.height, source.has_audio) == (160, 96, True)
    assert source.frame_count == pytest.approx(40, abs=1)
    for frame in frames:
        assert abs(frame.pts * frame.time_base - frame.index / NTSC) <= Fraction(1, 1000)
        assert frame.image.flags.c_contiguous
    assert source.skipped_frames == 0


def test_a_source_can_be_read_twice(tmp_path: Path, video: SimpleNamespace) -> None:
    source = open_source(video.write_clip(tmp_path / "a.mp4"))
    first, second = list(source), list(source)
    assert len(first) == len(second) == 12
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


def test_varying_frame_rate_keeps_its_times(tmp_path: Path, video: SimpleNamespace) -> None:
    times = [0, 33, 50, 120, 121, 400, 433, 900]
    path = video.write_clip(tmp_path / "a.mkv", frames=8, pts=times, time_base=Fraction(1, 1000))
    assert [f.pts * f.time_base * 1000 for f in open_source(path)] == times


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotated_video_comes_upright(tmp_path: Path, video: SimpleNamespace, rotation: int) -> None:
    source = open_source(video.write_clip(tmp_path / "a.mp4", rotation=rotation, frames=3))
    expected = np.rot90(video.numbered(2, width=160, height=96), rotation // 90)
    assert (source.height, source.width) == expected.shape[:2]
    image = list(source)[2].image
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - expected).mean() < 6


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_every_orientation_follows_the_matrix(turns: int, mirrored: bool) -> None:
    # The matrix as its definition has it: (p, q) is shown at (a·p + c·q, b·p + d·q).
    cosine, sine = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
    a, b, c, d = cosine, sine, -sine, cosine
    if mirrored:
        a, c = -a, -c
    matrix = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 14], np.int32) * np.int32(1 << 16)
    orientation = Orientation.from_matrix(matrix.tobytes())
    stored = np.arange(10).reshape(2, 5)
    q, p = np.indices(stored.shape)
    x, y = a * p + c * q, b * p + d * q
    shown = np.empty((np.ptp(y) + 1, np.ptp(x) + 1), int)
    shown[y - y.min(), x - x.min()] = stored
    turned = stored.T if orientation.transpose else stored
    turned = turned[:, ::-1] if orientation.flip_x else turned
    turned = turned[::-1] if orientation.flip_y else turned
    assert np.array_equal(turned, shown)
    assert orientation.size(width=5, height=2) == shown.shape[::-1]


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "name"),
    [
        ("yuv420p10le", "libx264", "a.mkv"),
        ("yuv422p", "libx264", "a.mkv"),
        ("yuv444p", "libx264", "a.mkv"),
        ("yuvj420p", "libx264", "a.mkv"),
        ("gray", "libx264", "a.mkv"),
        ("bgra", "ffv1", "a.mkv"),
    ],
)
def test_pixel_formats_become_rgb(
    tmp_path: Path, video: SimpleNamespace, pix_fmt: str, codec: str, name: str
) -> None:
    frames = list(open_source(video.write_clip(tmp_path / name, pix_fmt=pix_fmt, codec=codec, frames=4)))
    assert [video.number(f.image) for f in frames] == [0, 1, 2, 3]
    assert frames[0].image.shape == (96, 160, 3)


def test_odd_sizes_are_not_padded(tmp_path: Path, video: SimpleNamespace) -> None:
    path = video.write_clip(tmp_path / "a.mkv", width=161, height=97, pix_fmt="yuv444p", frames=2)
    frames = list(open_source(path))
    assert frames[1].image.shape == (97, 161, 3)
    assert frames[1].image.flags.c_contiguous
    assert video.number(frames[1].image) == 1


def _grey_clip(
    path: Path, *, luma: int, cb: int, cr: int, space: int, full: bool, size: tuple[int, int]
) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=size[0], height=size[1])
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = space
        stream.codec_context.color_range = 2 if full else 1
        frame = av.VideoFrame(*size, "yuv420p")
        for plane, value in zip(frame.planes, (luma, cb, cr), strict=True):
            np.frombuffer(plane, np.uint8)[:] = value
        frame.colorspace, frame.color_range, frame.pts = space, 2 if full else 1, 0
        container.mux([*stream.encode(frame), *stream.encode(None)])


@pytest.mark.parametrize(
    ("space", "full", "size", "matrix"),
    [
        (1, False, (64, 48), 709),
        (1, True, (64, 48), 709),
        (6, False, (64, 48), 601),
        (5, True, (64, 48), 601),
        (9, False, (64, 48), 2020),
        (9, True, (64, 48), 2020),
        (2, False, (64, 718), 601),
        (2, False, (64, 720), 709),
    ],
)
def test_colours_follow_matrix_and_range(
    tmp_path: Path, space: int, full: bool, size: tuple[int, int], matrix: int
) -> None:
    _grey_clip(tmp_path / "a.mkv", luma=120, cb=100, cr=170, space=space, full=full, size=size)
    kr, kb = {709: (0.2126, 0.0722), 601: (0.299, 0.114), 2020: (0.2627, 0.0593)}[matrix]
    y, cb, cr = (120 / 255, -28 / 255, 42 / 255) if full else (104 / 219, -28 / 224, 42 / 224)
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    image = next(iter(open_source(tmp_path / "a.mkv"))).image
    expected = 255 * np.array([red, green, blue])
    assert np.abs(image - expected).max() < 1


def test_images_come_in_natural_order_without_alpha(tmp_path: Path, video: SimpleNamespace) -> None:
    for index in (10, 9, 8):
        rgba = np.dstack([video.numbered(index, width=160, height=96), np.zeros((96, 160), np.uint8)])
        Image.fromarray(rgba).save(tmp_path / f"shot{index}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_source(tmp_path, rate="24000/1001")
    frames = list(source)
    assert [video.number(f.image) for f in frames] == [8, 9, 10]
    assert np.array_equal(frames[0].image, video.numbered(8, width=160, height=96))
    assert (source.rate, source.frame_count, source.has_audio) == (Fraction(24000, 1001), 3, False)


def test_images_are_turned_by_their_exif(tmp_path: Path, video: SimpleNamespace) -> None:
    image = Image.fromarray(video.numbered(5, width=160, height=96))
    exif = Image.Exif()
    exif[274] = 6
    image.save(tmp_path / "a.png", exif=exif)
    source = open_source(tmp_path / "a.png")
    assert (source.width, source.height) == (96, 160)
    assert np.array_equal(next(iter(source)).image, np.rot90(video.numbered(5, width=160, height=96), -1))


def test_sixteen_bit_grey_images_are_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535, 32896]], np.uint16).repeat(20, 0)).save(tmp_path / "a.png")
    assert next(iter(open_source(tmp_path / "a.png"))).image[0, :, 0].tolist() == [0, 255, 128]


def test_images_of_two_sizes_name_the_odd_one(tmp_path: Path) -> None:
    for name, size in (("1.png", (64, 48)), ("2.png", (64, 48)), ("3.png", (64, 50))):
        Image.new("RGB", size).save(tmp_path / name)
    with pytest.raises(VideoError, match=r"3\.png.*64x50.*64x48"):
        open_source(tmp_path)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    Image.effect_noise((64, 48), 50).save(tmp_path / "1.png")
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "2.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match=r"2\.png"):
        list(open_source(tmp_path))
    (tmp_path / "2.png").write_bytes(b"nonsense")
    with pytest.raises(VideoError, match=r"2\.png"):
        open_source(tmp_path)


def test_a_file_cut_short_gives_what_it_has(tmp_path: Path, video: SimpleNamespace) -> None:
    data = video.write_clip(tmp_path / "whole.mkv", frames=60, options={"g": "10"}).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    source = open_source(tmp_path / "cut.mkv")
    numbers = [video.number(f.image) for f in source]
    assert 20 < len(numbers) < 60
    assert numbers == sorted(set(numbers))


def test_damage_in_the_middle_is_skipped_and_counted(tmp_path: Path, video: SimpleNamespace) -> None:
    options = {"g": "1", "bf": "0"}
    path = video.write_clip(tmp_path / "a.mp4", frames=30, options=options)
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for start, size in (spans[10], spans[11]):
        data[start + 4 : start + size] = b"\xff" * (size - 4)
    path.write_bytes(data)
    source = open_source(path)
    numbers = [video.number(f.image) for f in source]
    assert numbers == [*range(10), *range(12, 30)]
    assert source.skipped_frames == 2


def _refusals(folder: Path, video: SimpleNamespace) -> dict[str, str]:
    whole = video.write_clip(folder / "whole.mp4", frames=30).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is no video\n" * 100)
    (folder / "text.txt").write_text("this is no video\n" * 100)
    (folder / "folder").mkdir()
    with av.open(str(folder / "sound.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with av.open(str(folder / "none.mkv"), "w") as container:
        container.add_stream("libx264", rate=25, width=64, height=48)
        container.start_encoding()
    return {
        "cut.mp4": "does not open",
        "noise.mp4": "does not open",
        "empty.mp4": "0 bytes",
        "text.mp4": "got",
        "text.txt": "got",
        "folder": "without images",
        "sound.m4a": "only audio",
        "none.mkv": "got",
        "missing.mp4": "nothing there",
    }


def test_what_is_no_video_is_refused_with_one_message(tmp_path: Path, video: SimpleNamespace) -> None:
    for name, reason in _refusals(tmp_path, video).items():
        with pytest.raises(VideoError, match=reason) as caught:
            open_source(tmp_path / name)
        assert name in str(caught.value)
        assert "expected" in str(caught.value)


def test_a_change_of_size_names_the_frame(tmp_path: Path) -> None:
    # An MJPEG stream is just JPEG files one after the other.
    data = b""
    for index in range(6):
        Image.new("RGB", (64, 48) if index < 4 else (80, 48)).save(tmp_path / "x.jpg")
        data += (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "a.mjpeg").write_bytes(data)
    with pytest.raises(VideoError, match="80x48 at frame 4"):
        list(open_source(tmp_path / "a.mjpeg"))


@pytest.mark.parametrize("rate", ["0", "-1", "x", "1/0", "nan", 2000])
def test_bad_rates_are_refused(tmp_path: Path, rate: str | int) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    with pytest.raises(OptionError, match="rate"):
        open_source(tmp_path, rate=rate)


def test_a_video_has_its_own_rate(tmp_path: Path, video: SimpleNamespace) -> None:
    with pytest.raises(OptionError, match="image folders only"):
        open_source(video.write_clip(tmp_path / "a.mp4", frames=2), rate=25)
