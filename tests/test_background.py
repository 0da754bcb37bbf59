"""The background that a user names: what each word and each kind of file becomes, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rvm_trt.commands.background import NAMES, background_words, parse_background, parse_colour
from rvm_trt.errors import OptionError
from rvm_trt.runtime.video.backdrop import VideoBackdrop
from rvm_trt.runtime.video.blur import BlurBackdrop
from rvm_trt.runtime.video.input_options import Hdr
from rvm_trt.runtime.video.source import Frame

WIDTH, HEIGHT = 48, 32
RED, GREEN, BLUE = (200, 10, 20), (10, 200, 30), (20, 30, 220)


def parse(text: str | Path, **options: Any) -> Any:
    return parse_background(str(text), width=WIDTH, height=HEIGHT, **options)


def stripes(width: int, height: int) -> Image.Image:
    """Red, green and blue thirds from left to right."""
    image = np.zeros((height, width, 3), np.uint8)
    for third, colour in enumerate((RED, GREEN, BLUE)):
        image[:, third * width // 3 : (third + 1) * width // 3] = colour
    return Image.fromarray(image)


def is_near(pixel: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= 2)


def write_video(path: Path, colours: list[tuple[int, int, int]], form: str | None = None) -> Path:
    """Ten frames a second, each of one colour."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream("ffv1", rate=10, width=64, height=48)
        stream.pix_fmt = "bgr0"
        for colour in colours:
            image = np.empty((48, 64, 3), np.uint8)
            image[:] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def shown(background: Any, seconds: Fraction) -> npt.NDArray[np.uint8]:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture: npt.NDArray[np.uint8] = background.image(
        Frame(index=0, image=image, pts=seconds.numerator, time_base=Fraction(1, seconds.denominator))
    )
    return picture


@pytest.mark.parametrize(
    "text", ["#78ff9b", "78FF9B", "120,255,155", "120, 255, 155", "green", "Green", " green "]
)
def test_colours(text: str) -> None:
    assert parse(text) == parse_colour(text, subject="around") == (120, 255, 155)


def test_nothing_is_behind_what_is_transparent() -> None:
    assert parse("transparent") is None
    assert parse("Transparent") is None


@pytest.mark.parametrize(
    "text", ["mauve", "1,2,256", "#12345", "1,2", "", "blurry", "~nobody-here/a.png", "x" * 5000]
)
def test_what_is_nothing_is_told_with_all_that_it_could_be(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse(text)
    assert caught.value.subject == "--background"
    assert caught.value.got == repr(text)
    for word in (*NAMES, "'blur'", "'transparent'", "image or video file"):
        assert word in caught.value.expected


def test_other_colours_are_refused() -> None:
    with pytest.raises(OptionError, match=r"--background-around: got 'mauve', expected a colour"):
        parse_colour("mauve", subject="--background-around")


@pytest.mark.parametrize("text", ["blur", "BLUR", "blur:24", "blur:24.0"])
def test_the_blur_has_a_radius_of_24_unless_told(text: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    frame = Frame(index=0, image=image, pts=0, time_base=Fraction(1))
    with parse(text) as got, BlurBackdrop(radius=24, width=WIDTH, height=HEIGHT) as expected:
        np.testing.assert_array_equal(got.image(frame), expected.image(frame))


@pytest.mark.parametrize(
    "text", ["blur:", "blur:x", "blur:-5", "blur:3.9", "blur:201", "blur:nan", "blur: 8"]
)
def test_other_radii_are_refused(text: str) -> None:
    with pytest.raises(
        OptionError, match=r"--background: got 'blur:.*', expected 'blur', or 'blur:R' with .* 4 to 200"
    ):
        parse(text)


def test_a_word_comes_before_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("green", "transparent"):
        stripes(9, 6).save(name, format="PNG")
        assert isinstance(parse(f"./{name}"), np.ndarray)
    assert parse("green") == NAMES["green"]
    assert parse("transparent") is None


def test_an_image_covers_the_frame_or_is_whole_within_it(tmp_path: Path) -> None:
    stripes(144, 32).save(tmp_path / "wide.png")
    cover = parse(tmp_path / "wide.png")
    assert cover.shape == (HEIGHT, WIDTH, 3)
    assert cover.dtype == np.uint8
    assert cover.flags.c_contiguous
    np.testing.assert_array_equal(cover, np.broadcast_to(np.uint8(GREEN), cover.shape))
    contain = parse(tmp_path / "wide.png", fit="contain", around=(1, 2, 3))
    rows = (contain != (1, 2, 3)).any(axis=(1, 2))
    assert (rows.sum(), rows.argmax()) == (11, 10)
    for x, colour in ((7, RED), (24, GREEN), (40, BLUE)):
        assert is_near(contain[15, x], colour)
    with pytest.raises(OptionError, match="--fit: got 'stretch', expected one of 'cover', 'contain'"):
        parse(tmp_path / "wide.png", fit="stretch")


def test_an_image_follows_the_pixels_of_the_frame(tmp_path: Path) -> None:
    # Of a frame whose pixels are twice as wide as high, a square picture takes half the columns.
    Image.new("RGB", (40, 40), RED).save(tmp_path / "square.png")
    got = parse(tmp_path / "square.png", fit="contain", pixel_aspect=Fraction(2))
    columns = (got != 0).any(axis=(0, 2))
    assert (columns.sum(), columns.argmax()) == (16, 16)
    assert (got != 0).any(axis=(1, 2)).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_photographs_are_shown_upright(tmp_path: Path, turn: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = {1: 0, 3: 180, 6: 90, 8: 270}[turn]  # counter-clockwise, what the camera stores
    stripes(96, 64).convert(mode).rotate(stored, expand=True).save(tmp_path / "photo.png", exif=exif)
    got = parse(tmp_path / "photo.png")
    for x, colour in ((8, RED), (24, GREEN), (40, BLUE)):
        assert is_near(got[16, x], colour)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_of_an_image_show_what_is_around_it(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (96, 64), (255, 255, 255, 255))
    image.paste((255, 255, 255, 0), (0, 0, 48, 64))  # white, but not to be seen
    if mode == "P":
        image.quantize(4).save(tmp_path / "part.png")
    else:
        image.convert(mode).save(tmp_path / "part.png")
    for around in ((0, 0, 0), RED):
        got = parse(tmp_path / "part.png", around=around)
        assert is_near(got[16, 8], around)
        assert is_near(got[16, 40], (255, 255, 255))


def test_half_transparent_pixels_are_mixed(tmp_path: Path) -> None:
    Image.new("RGBA", (96, 64), (255, 0, 0, 128)).save(tmp_path / "half.png")
    assert is_near(parse(tmp_path / "half.png")[0, 0], (128, 0, 0))


def test_images_of_sixteen_bits_keep_their_levels(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 96), 100 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert is_near(parse(tmp_path / "deep.png")[0, 0], (100, 100, 100))


def test_openexr_is_an_image(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "light.exr"), "w", format="image2") as container:
        stream = container.add_stream("exr", rate=1, width=96, height=64)
        stream.pix_fmt = "gbrpf32le"
        frame = av.VideoFrame.from_ndarray(np.ones((64, 96, 3), np.float32), format="gbrpf32le")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert is_near(parse(tmp_path / "light.exr")[0, 0], (255, 255, 255))


@pytest.mark.parametrize("name", ["behind.mkv", "behind.data", "no-suffix"])
def test_a_video_is_looped_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, [RED, GREEN, BLUE], form="matroska")
    with parse(path, threads=1) as background:
        assert isinstance(background, VideoBackdrop)
        for index, colour in enumerate((RED, GREEN, BLUE) * 2):
            image = shown(background, Fraction(index, 10))
            assert image.shape == (HEIGHT, WIDTH, 3)
            assert is_near(image[16, 24], colour)


def test_a_video_takes_fit_start_and_pixels_of_the_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "behind.mkv", [RED, GREEN, BLUE])
    options: dict[str, Any] = {"fit": "contain", "around": (9, 9, 9), "start": Fraction(5), "threads": 1}
    with parse(path, pixel_aspect=Fraction(2), **options) as background:
        image = shown(background, Fraction(51, 10))
    columns = (image != (9, 9, 9)).any(axis=(0, 2))
    assert (columns.sum(), columns.argmax()) == (21, 13)
    assert is_near(image[16, 24], GREEN)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_image_that_moves_is_a_video(tmp_path: Path, suffix: str) -> None:
    still, moving = tmp_path / f"still{suffix}", tmp_path / f"moving{suffix}"
    pictures = [Image.new("RGB", (48, 32), colour) for colour in (RED, GREEN)]
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    pictures[0].save(still, **options)
    pictures[0].save(moving, save_all=True, append_images=pictures[1:], duration=100, loop=0, **options)
    assert is_near(parse(still)[0, 0], RED)
    with parse(moving, threads=1) as background:
        for index, colour in enumerate((RED, GREEN) * 2):
            assert is_near(shown(background, Fraction(index, 10))[16, 24], colour)


def test_an_hdr_video_is_refused_or_used_as_stored(tmp_path: Path) -> None:
    path = tmp_path / "hdr.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10, width=64, height=48)
        stream.pix_fmt = "yuv420p10le"
        stream.codec_context.color_trc = 16  # PQ
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(
        OptionError, match=r"hdr\.mkv'.* video \(HDR video \(PQ\)\), expected an image or SDR video"
    ):
        parse(path)
    with parse(path, hdr=Hdr.AS_STORED, threads=1) as background:
        assert shown(background, Fraction(0)).shape == (HEIGHT, WIDTH, 3)


def test_files_that_are_neither_are_one_clear_error(tmp_path: Path) -> None:
    whole = stripes(96, 64)
    whole.save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    video = write_video(tmp_path / "whole.mp4", [RED] * 20, form="mp4").read_bytes()
    files = {
        "cut.png": (data[: len(data) // 2], "does not open as an image"),
        "not.jpg": (b"no image\n" * 50, "does not open as an image"),
        "text.txt": (b"neither\n" * 100, "does not open as an image or a video"),
        "empty.mp4": (b"", "does not open as an image or a video"),
        "cut.mp4": (video[: len(video) // 2], "does not open as an image or a video"),
        "noise": (np.random.default_rng(0).bytes(9000), "does not open as an image or a video"),
    }
    for name, (content, words) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OptionError, match=words) as caught:
            parse(tmp_path / name)
        assert caught.value.subject == "--background"
        assert name in caught.value.got
        assert "\n" not in str(caught.value)


def test_a_folder_is_no_background(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="an image or video file"):
        parse(tmp_path)


def test_what_a_background_is_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("beach.png", "green", "blur"):
        Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / name, "png")
    told = background_words("~/beach.png")
    assert told == background_words("beach.png") == background_words(str(tmp_path / "beach.png"))
    assert background_words("./green").startswith("green with SHA-256 ")
    assert [background_words(name) for name in (" green", "blur", "transparent", "1,2,3")] == [
        "green",
        "blur",
        "transparent",
        "1,2,3",
    ]
    Image.new("RGB", (8, 8), (1, 2, 4)).save(tmp_path / "beach.png")
    assert background_words("~/beach.png") != told
