"""Backgrounds that change: the right picture at every time, from any frame on, and nothing left behind."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as PillowImage

from rvm_trt.errors import FrameError, VideoError
from rvm_trt.runtime.video import blur_kernels
from rvm_trt.runtime.video.backdrop import VideoBackdrop
from rvm_trt.runtime.video.blur import BlurBackdrop
from rvm_trt.runtime.video.fitting import Fit, Fitting
from rvm_trt.runtime.video.source import Frame, open_source

Image = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 160, 96
BLACK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def at(pts: int, time_base: Fraction = Fraction(1, 1000)) -> Frame:
    """A frame that is shown at a time, in milliseconds unless said otherwise."""
    return Frame(index=0, image=BLACK, pts=pts, time_base=time_base)


def opened(path: Path, **options: Any) -> VideoBackdrop:
    return VideoBackdrop(path, Fitting(width=WIDTH, height=HEIGHT), threads=1, **options)


@pytest.fixture
def ten_a_second(tmp_path: Path, video: SimpleNamespace) -> Path:
    """Twelve frames, 1.2 seconds."""
    return video.write_clip(tmp_path / "behind.mp4", frames=12, rate=Fraction(10))  # type: ignore[no-any-return]


class Counted(Fitting):
    """Counts the pictures it places."""

    placed = 0

    def place(self, picture: Image, *, pixel_aspect: Fraction = Fraction(1)) -> Image:
        self.placed += 1
        return super().place(picture, pixel_aspect=pixel_aspect)


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(7), Fraction(10), Fraction(60000, 1001)])
def test_the_picture_is_that_of_the_time_within_the_loop(
    ten_a_second: Path, video: SimpleNamespace, rate: Fraction
) -> None:
    times = [index / rate for index in range(int(4 * rate))]  # three rounds and a part
    with opened(ten_a_second) as behind:
        got = [video.number(behind.image(at(index, 1 / rate))) for index in range(len(times))]
    assert got == [int((time + Fraction(1, 1000)) * 10) % 12 for time in times]


@pytest.mark.parametrize(
    ("time_ms", "expected"), [(0, 0), (99, 0), (100, 1), (1199, 11), (1200, 0), (2399, 11)]
)
def test_a_picture_begins_and_ends_to_the_millisecond(
    ten_a_second: Path, video: SimpleNamespace, time_ms: int, expected: int
) -> None:
    with opened(ten_a_second) as behind:
        assert video.number(behind.image(at(time_ms))) == expected


def test_pictures_of_a_varying_rate_are_shown_for_as_long_as_they_should(
    tmp_path: Path, video: SimpleNamespace
) -> None:
    starts = [0, 100, 150, 400, 410, 900]
    path = video.write_clip(
        tmp_path / "behind.mp4", frames=6, time_base=Fraction(1, 1000), pts=starts, options={"bf": "0"}
    )
    last = list(open_source(path))[-1]
    length = 900 + int(last.duration * last.time_base * 1000)
    with opened(path) as behind:
        for time in range(0, 3 * length, 10):
            expected = max(index for index, start in enumerate(starts) if start <= time % length)
            assert video.number(behind.image(at(time))) == expected, time


def test_rounded_timestamps_drop_and_repeat_nothing(tmp_path: Path, video: SimpleNamespace) -> None:
    rate = Fraction(30000, 1001)
    for suffix, exact in ((".mkv", True), (".mp4", False)):  # Matroska rounds to milliseconds
        path = video.write_clip(tmp_path / f"behind{suffix}", frames=90, rate=rate)
        with opened(path) as behind:
            frames = [at(i, 1 / rate) if exact else at(round(1000 * i / rate)) for i in range(90)]
            assert [video.number(behind.image(frame)) for frame in frames] == list(range(90))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_loop_may_be_shorter_than_a_frame(tmp_path: Path, video: SimpleNamespace, frames: int) -> None:
    path = video.write_clip(tmp_path / "behind.mp4", frames=frames, rate=Fraction(60))
    with opened(path) as behind:
        got = [video.number(behind.image(at(index, Fraction(1, 11)))) for index in range(12)]
    slack = Fraction(1, 1000)
    assert got == [int((Fraction(index, 11) + slack) * 60) % frames for index in range(12)]


def test_one_picture_is_decoded_once(tmp_path: Path, video: SimpleNamespace) -> None:
    path = video.write_clip(tmp_path / "behind.mp4", frames=1)
    with VideoBackdrop(path, fitting := Counted(width=WIDTH, height=HEIGHT)) as behind:
        images = {id(behind.image(at(40 * index))) for index in range(50)}
    assert len(images) == 1
    assert fitting.placed == 1


def test_the_same_picture_is_the_same_array(ten_a_second: Path) -> None:
    with opened(ten_a_second) as behind:
        first, second, third = (behind.image(at(time)) for time in (0, 50, 100))
        assert first is second is not third
        assert behind.image(at(150)) is third


def test_any_order_of_times_gives_the_same_bytes(ten_a_second: Path) -> None:
    times = list(range(0, 5000, 37))
    with opened(ten_a_second) as behind:
        in_order = {time: behind.image(at(time)).tobytes() for time in times}
    random.Random(0).shuffle(times)
    with opened(ten_a_second) as behind:
        for time in times[:40]:
            assert behind.image(at(time)).tobytes() == in_order[time], time


def test_a_job_that_goes_on_later_gets_the_same_bytes(ten_a_second: Path) -> None:
    with opened(ten_a_second) as whole:
        expected = [whole.image(at(40 * index)).tobytes() for index in range(200)]
    for first in (17, 100, 199):
        with opened(ten_a_second) as resumed:
            assert resumed.image(at(40 * first)).tobytes() == expected[first]


def test_the_video_begins_at_the_start_that_is_given(ten_a_second: Path, video: SimpleNamespace) -> None:
    with opened(ten_a_second, start=Fraction(3)) as behind:
        got = [video.number(behind.image(at(time))) for time in (0, 2500, 3000, 3150, 4100, 4200)]
    assert got == [0, 0, 0, 1, 11, 0]


def test_little_is_decoded_ahead_and_nothing_scaled_that_is_not_shown(
    tmp_path: Path, video: SimpleNamespace
) -> None:
    path = video.write_clip(tmp_path / "behind.mp4", frames=60, rate=Fraction(60))
    for time in (0, 700):
        with VideoBackdrop(path, fitting := Counted(width=WIDTH, height=HEIGHT)) as behind:
            behind.image(at(time))
        assert 1 <= fitting.placed <= 5  # shown, two waiting, one more in the making and one on its way


def test_closing_in_the_middle_ends_everything(ten_a_second: Path, video: SimpleNamespace) -> None:
    behind = opened(ten_a_second)
    behind.close()  # before anything was asked for
    assert video.number(behind.image(at(300))) == 3
    behind.close()
    behind.close()
    assert video.number(behind.image(at(300))) == 3
    behind.close()


def test_a_rotated_video_covers_a_portrait_frame(tmp_path: Path, video: SimpleNamespace) -> None:
    path = video.write_clip(tmp_path / "behind.mp4", frames=2, rotation=90)
    upright = next(iter(open_source(path))).image
    assert upright.shape == (WIDTH, HEIGHT, 3)
    with VideoBackdrop(path, Fitting(width=48, height=80)) as behind:
        image = behind.image(at(0))
    assert image.shape == (80, 48, 3)
    reference = PillowImage.fromarray(upright).resize((48, 80), PillowImage.Resampling.BICUBIC)
    assert np.abs(image.astype(int) - np.asarray(reference)).mean() < 2


def test_pixels_that_are_not_square_are_shown_as_they_should_be(
    tmp_path: Path, video: SimpleNamespace
) -> None:
    path = video.write_clip(tmp_path / "behind.mkv", frames=2, options={"x264-params": "sar=2/1"})
    assert open_source(path).clip.pixel_aspect == 2
    fitting = Fitting(width=160, height=96, fit=Fit.CONTAIN, around=(255, 0, 255))
    with VideoBackdrop(path, fitting) as behind:
        image = behind.image(at(0))
    shown = ~(image == (255, 0, 255)).all(axis=2).all(axis=1)
    assert (int(shown.argmax()), int(shown.sum())) == (24, 48)  # twice as wide as it is stored


@pytest.mark.parametrize(
    ("width", "height", "size", "fit", "expected"),
    [
        # a picture 90 by 30, its middle third white: what of a frame is white
        (20, 20, (90, 30), Fit.COVER, (0, 20, 0, 20)),
        (60, 20, (90, 30), Fit.COVER, (20, 40, 0, 20)),
        (20, 60, (90, 30), Fit.COVER, (0, 20, 0, 60)),
        (20, 20, (90, 30), Fit.CONTAIN, (7, 13, 6, 13)),
        (61, 41, (90, 30), Fit.CONTAIN, (20, 40, 10, 30)),
        (91, 31, (90, 30), Fit.COVER, (30, 60, 0, 31)),
    ],
)
def test_pictures_cover_the_frame_or_are_whole_within_it(
    width: int, height: int, size: tuple[int, int], fit: Fit, expected: tuple[int, int, int, int]
) -> None:
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[:, size[0] // 3 : 2 * size[0] // 3] = 255
    frame = Fitting(width=width, height=height, fit=fit, around=(0, 0, 90)).place(picture)
    assert frame.shape == (height, width, 3)
    assert frame.flags.c_contiguous
    white = frame[..., 0] > 128
    columns, rows = np.flatnonzero(white.any(axis=0)), np.flatnonzero(white.any(axis=1))
    got = (columns[0], columns[-1] + 1, rows[0], rows[-1] + 1)
    assert np.abs(np.subtract(got, expected)).max() <= 1, got
    free = (frame == (0, 0, 90)).all(axis=2)
    assert free.any() == (fit is Fit.CONTAIN)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    picture = np.arange(9 * 7 * 3, dtype=np.uint8).reshape(7, 9, 3)
    for fit in Fit:
        np.testing.assert_array_equal(Fitting(width=9, height=7, fit=fit).place(picture), picture)


def test_a_picture_of_one_pixel_fills_the_frame() -> None:
    frame = Fitting(width=13, height=9).place(np.full((1, 1, 3), 77, np.uint8))
    np.testing.assert_array_equal(frame, np.full((9, 13, 3), 77, np.uint8))


def test_a_video_that_does_not_open_is_named(tmp_path: Path) -> None:
    (tmp_path / "behind.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(VideoError, match=r"^background '.*behind\.mp4': got a file that does not open"):
        opened(tmp_path / "behind.mp4")


def test_damage_is_skipped_and_told(tmp_path: Path, video: SimpleNamespace) -> None:
    options = {"g": "1", "bf": "0"}
    path = video.write_clip(tmp_path / "behind.mp4", frames=15, rate=Fraction(10), options=options)
    with av.open(str(path)) as container:
        spans = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for start, size in spans[10:12]:
        data[start + 4 : start + size] = b"\xff" * (size - 4)
    path.write_bytes(data)
    with opened(path) as behind:
        got = [video.number(behind.image(at(100 * index))) for index in range(32)]
        assert got == [*range(10), 9, 9, 12, 13, 14] * 2 + [0, 1]
        assert behind.notices == ("background behind.mp4: 2 damaged pieces were skipped.",)


def test_a_whole_video_gives_no_notices(ten_a_second: Path) -> None:
    with opened(ten_a_second) as behind:
        behind.image(at(5000))
        assert behind.notices == ()


def test_what_goes_wrong_later_names_the_video_every_time(tmp_path: Path) -> None:
    # An MJPEG stream is just JPEG files one after the other.
    data = b""
    for index in range(6):
        PillowImage.new("RGB", (64, 48) if index < 4 else (80, 48)).save(tmp_path / "x.jpg")
        data += (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "behind.mjpeg").write_bytes(data)
    with opened(tmp_path / "behind.mjpeg") as behind:
        behind.image(at(0))
        for _ in range(2):  # nor is it taken for the end of the loop
            with pytest.raises(VideoError, match=r"^background '.*behind\.mjpeg': got 80x48 at frame 4"):
                behind.image(at(60_000))


def test_a_video_that_goes_away_is_named(ten_a_second: Path) -> None:
    with opened(ten_a_second) as behind:
        behind.image(at(1150))
        ten_a_second.unlink()
        with pytest.raises(VideoError, match=r"^background '.*behind\.mp4'"):
            behind.image(at(1250))


def gaussian(image: Image, sigma: float) -> npt.NDArray[np.float64]:
    """A frame blurred in double precision, the edge's pixels repeated beside it."""
    reach = int(4 * sigma) + 1
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    result = image.astype(np.float64)
    for axis in (0, 1):
        pad = [(reach, reach) if each == axis else (0, 0) for each in range(3)]
        padded, size = np.pad(result, pad, mode="edge"), result.shape[axis]
        shifted = (padded.take(range(start, start + size), axis) for start in range(taps.size))
        result = sum(tap * part for tap, part in zip(taps, shifted, strict=True))  # type: ignore[assignment]
    return result


def shapes(width: int, height: int) -> Image:
    y, x = np.mgrid[0:height, 0:width]
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 4 : height // 2, width // 4 : width // 2] = (255, 128, 30)
    image[(y - height * 0.6) ** 2 + (x - width * 0.7) ** 2 < (min(width, height) / 5) ** 2] = 255
    return image


def blurred(image: Image, radius: float, threads: int = 1) -> Image:
    height, width, _ = image.shape
    frame = Frame(index=0, image=image, pts=0, time_base=Fraction(1))
    with BlurBackdrop(radius=radius, width=width, height=height, threads=threads) as behind:
        got = behind.image(frame)
    assert isinstance(got, np.ndarray)
    assert got.flags.c_contiguous
    return got


@pytest.mark.parametrize(
    ("width", "height"), [(320, 240), (161, 97), (97, 161), (256, 144), (33, 200)], ids=str
)
@pytest.mark.parametrize("radius", [4, 24, 60])
def test_the_blur_is_a_gaussian_of_that_radius(width: int, height: int, radius: float) -> None:
    image = shapes(width, height)
    expected = gaussian(image, radius * min(width, height) / 1080)
    difference = np.abs(blurred(image, radius) - expected)
    assert difference.max() <= 5
    assert difference.mean() <= 0.3


def test_any_number_of_threads_blurs_to_the_same_bytes() -> None:
    image = shapes(161, 97)
    alone = blurred(image, 60)
    for threads in (2, 3, 40):
        np.testing.assert_array_equal(blurred(image, 60, threads), alone)


@pytest.mark.parametrize("radius", [4.0, 24.0, 200.0])
@pytest.mark.parametrize("size", [(64, 48), (5, 3), (1, 1), (1, 400)])
def test_what_is_even_stays_as_it_is(size: tuple[int, int], radius: float) -> None:
    image = np.empty((size[1], size[0], 3), np.uint8)
    image[:] = (255, 0, 77)
    np.testing.assert_array_equal(blurred(image, radius), image)


def test_the_blur_leaves_the_frame_alone_and_compiles_once() -> None:
    image = shapes(64, 48)
    kept = image.copy()
    first = blurred(image, 24)
    compiled = len(blur_kernels.shrink.signatures)
    np.testing.assert_array_equal(image, kept)
    image.flags.writeable = False
    np.testing.assert_array_equal(blurred(image, 24), first)
    assert len(blur_kernels.shrink.signatures) == compiled


@pytest.mark.parametrize("change", [lambda f: f[:-1], lambda f: f[..., 0], lambda f: f.astype(np.uint16)])
def test_other_frames_are_not_blurred(change: Callable[[Image], Any]) -> None:
    with BlurBackdrop(radius=24, width=64, height=48) as behind:
        frame = Frame(index=0, image=change(shapes(64, 48)), pts=0, time_base=Fraction(1))
        with pytest.raises(FrameError, match="frame to blur"):
            behind.image(frame)
