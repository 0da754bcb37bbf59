"""Folders of PNG and OpenEXR images, opened again and compared with what went in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import OpenEXR
import pytest
from PIL import Image

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.output import EncodeOptions, plan_output
from rvm_trt.runtime.video.sink import open_sink
from rvm_trt.runtime.video.source import Clip, ClipColour

WIDTH, HEIGHT, FRAMES = 145, 47, 3


def clip(**changes: Any) -> Clip:
    fields: dict[str, Any] = {
        "path": Path("in.mp4"),
        "width": WIDTH,
        "height": HEIGHT,
        "rate": Fraction(24000, 1001),
        "time_base": Fraction(1001, 24000),
        "frame_count": FRAMES,
    }
    return Clip(**(fields | changes))


def pictures(video: SimpleNamespace, kind: str, *, depth: int = 8) -> list[npt.NDArray[Any]]:
    images = []
    for index in range(FRAMES):
        rgb = video.numbered(index, width=WIDTH, height=HEIGHT)
        alpha = np.broadcast_to((np.arange(WIDTH) * 2 + index).astype(np.uint8), (HEIGHT, WIDTH))
        image = {"pha": alpha, "rgba": np.dstack([rgb, alpha])}.get(kind, rgb)
        if depth == 16:  # values that no eight bits could hold
            image = image.astype(np.uint16) * np.uint16(257) ^ np.uint16(index * 37 + 91)
        images.append(image)
    return images


def write(folder: Path, images: list[npt.NDArray[Any]], kind: str, *, depth: int = 8, **options: Any) -> None:
    with open_sink(folder, clip=clip(), kind=kind, options=EncodeOptions(**options), depth=depth) as sink:
        for image in images:
            sink.write(image)


def linear(codes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def srgb(light: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def read_exr(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return dict(file.header()), {name: channel.pixels.copy() for name, channel in file.channels().items()}


@pytest.mark.parametrize("kind", ["pha", "rgba"])
def test_16_bit_png_images_are_exact(tmp_path: Path, video: SimpleNamespace, kind: str) -> None:
    images = pictures(video, kind, depth=16)
    write(tmp_path / "out", images, kind, depth=16)
    for index, image in enumerate(images):
        with av.open(str(tmp_path / "out" / f"{index:06d}.png")) as container:
            frame = next(container.decode(video=0))
        assert frame.format.name == {"pha": "gray16be", "rgba": "rgba64be"}[kind]
        assert np.array_equal(frame.to_ndarray(format={"pha": "gray16le", "rgba": "rgba64le"}[kind]), image)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(
    ("premultiplied", "said"), [(None, "straight"), (False, "straight"), (True, "premultiplied")]
)
def test_png_images_say_what_their_colours_are(
    tmp_path: Path, video: SimpleNamespace, depth: int, premultiplied: bool | None, said: str
) -> None:
    images = pictures(video, "rgba", depth=depth)
    write(tmp_path / "out", images, "rgba", depth=depth, premultiplied=premultiplied)
    for index, image in enumerate(images):
        path = tmp_path / "out" / f"{index:06d}.png"
        with Image.open(path) as opened:
            opened.load()
            assert opened.text == {"Alpha": said}  # type: ignore[attr-defined]
        with av.open(str(path)) as container:
            got = next(container.decode(video=0)).to_ndarray(format="rgba" if depth == 8 else "rgba64le")
        expected = image.astype(float)
        if premultiplied:
            expected[..., :3] *= expected[..., 3:] / (2**depth - 1)
        assert np.array_equal(got, np.rint(expected))


@pytest.mark.parametrize("depth", [8, 16])
def test_exr_is_linear_and_premultiplied(tmp_path: Path, video: SimpleNamespace, depth: int) -> None:
    images = pictures(video, "rgba", depth=depth)
    write(tmp_path / "out", images, "rgba", depth=depth, codec="exr")
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [f"{i:06d}.exr" for i in range(FRAMES)]
    for index, image in enumerate(images):
        header, channels = read_exr(tmp_path / "out" / f"{index:06d}.exr")
        assert set(channels) == set("RGBA")
        assert all(channel.dtype == np.float16 for channel in channels.values())
        alpha = image[..., 3] / (2**depth - 1)
        assert np.abs(channels["A"] - alpha).max() <= 2**-11
        for number, name in enumerate("RGB"):
            light = linear(image[..., number] / (2**depth - 1)) * alpha
            assert np.abs(channels[name] - light).max() <= 2**-11
        assert header["alphaMode"] == "premultiplied"
        assert header["framesPerSecond"] == Fraction(24000, 1001)


@pytest.mark.parametrize("kind", ["composite", "rgba"])
def test_straight_exr_gives_every_level_back(tmp_path: Path, video: SimpleNamespace, kind: str) -> None:
    images = pictures(video, kind)
    write(tmp_path / "out", images, kind, codec="exr", premultiplied=False)
    for index, image in enumerate(images):
        header, channels = read_exr(tmp_path / "out" / f"{index:06d}.exr")
        for number, name in enumerate("RGB"):
            levels = np.rint(srgb(channels[name].astype(float)) * 255)
            assert np.array_equal(levels, image[..., number])
        if kind == "rgba":
            assert np.array_equal(np.rint(channels["A"].astype(float) * 255), image[..., 3])
            assert header["alphaMode"] == "straight"


def test_an_alpha_matte_in_exr_is_its_value(tmp_path: Path, video: SimpleNamespace) -> None:
    images = pictures(video, "pha")
    write(tmp_path / "out", images, "pha", codec="exr")
    for index, image in enumerate(images):
        _, channels = read_exr(tmp_path / "out" / f"{index:06d}.exr")
        assert np.array_equal(np.rint(channels["Y"].astype(float) * 255), image)
        with av.open(str(tmp_path / "out" / f"{index:06d}.exr")) as container:  # FFmpeg reads it, too
            assert next(container.decode(video=0)).width == WIDTH


def test_hdr_has_no_place_in_linear_light(tmp_path: Path) -> None:
    hdr = clip(colour=ClipColour(primaries=9, transfer=16, matrix=9))
    with (
        pytest.raises(VideoError, match="HDR"),
        open_sink(tmp_path / "out", clip=hdr, options=EncodeOptions(codec="exr")),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_exr_images_is_replaced_like_one_of_png(tmp_path: Path, video: SimpleNamespace) -> None:
    write(tmp_path / "out", pictures(video, "pha"), "pha", codec="exr")
    with pytest.raises(VideoError, match="--force"):
        plan_output(tmp_path / "out", options=EncodeOptions(codec="exr"))
    plan = plan_output(tmp_path / "out", options=EncodeOptions(codec="png"), overwrite=True)
    assert plan.format.value == "png"
