"""Every video format, opened again and compared with what went in, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.errors import OptionError, VideoError
from rvm_trt.runtime.video.colour_out import FromRgb, plane
from rvm_trt.runtime.video.output import EncodeOptions, plan_output
from rvm_trt.runtime.video.sink import open_sink
from rvm_trt.runtime.video.source import Clip, ClipColour

Image = npt.NDArray[Any]
RATE = Fraction(30000, 1001)
FRAMES = 5
WIDTH, HEIGHT = 144, 48  # room for the number in the frames
DTYPES = {8: np.uint8, 16: np.uint16}


def clip(**changes: Any) -> Clip:
    fields: dict[str, Any] = {
        "path": Path("in.mp4"),
        "width": WIDTH,
        "height": HEIGHT,
        "rate": RATE,
        "time_base": 1 / RATE,
        "frame_count": FRAMES,
    }
    return Clip(**(fields | changes))


def picture(video: SimpleNamespace, index: int, kind: str, *, of: Clip, depth: int = 8) -> Image:
    """A numbered frame; its alpha is a ramp that moves."""
    rgb = video.numbered(index, width=of.width, height=of.height).astype(DTYPES[depth])
    ramp = (np.arange(of.width) * 2 + 5 * index) % 256
    alpha = np.broadcast_to(ramp.astype(DTYPES[depth]), (of.height, of.width))
    image = {"pha": alpha, "rgba": np.dstack([rgb, alpha])}.get(kind, rgb)
    if depth == 16:  # values that no eight bits could hold
        return image * np.uint16(257) ^ np.uint16(index * 37 + 91)
    return image


def write(
    path: Path, video: SimpleNamespace, kind: str, *, of: Clip | None = None, depth: int = 8, **options: Any
) -> list[Image]:
    of = of or clip()
    images = [picture(video, index, kind, of=of, depth=depth) for index in range(FRAMES)]
    with open_sink(path, clip=of, kind=kind, options=EncodeOptions(**options), depth=depth) as sink:
        for image in images:
            sink.write(image)
    return images


def read(path: Path, decoder: str | None = None) -> list[av.VideoFrame]:
    """The frames of a file, whose timestamps are the clip's."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            frames = list(container.decode(stream))
        else:
            context = av.CodecContext.create(decoder, "r")
            context.extradata = stream.codec_context.extradata
            frames = [frame for packet in packets_of(container) for frame in context.decode(packet)]
            frames += context.decode(None)
        tick = Fraction(1, 1000) if path.suffix in (".mkv", ".webm") else 0
        times = [frame.pts * stream.time_base for frame in frames]
    assert len(times) == FRAMES
    assert all(abs(time - index / RATE) <= tick for index, time in enumerate(times))
    return frames


def packets_of(container: Any) -> Iterator[Any]:
    return (packet for packet in container.demux(video=0) if packet.size)


def psnr(got: Image, expected: Image) -> float:
    error = np.mean((got.astype(float) - expected) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def smooth(kind: str, *, index: int) -> Image:
    """A picture without edges, which 4:2:0 keeps."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = np.stack([40 + x, 200 - 2 * y, 60 + x // 2 + y + 4 * index], axis=-1)
    alpha = np.clip(2 * x - 20 + 6 * index, 0, 255)
    return {"pha": alpha, "rgba": np.dstack([rgb, alpha])}.get(kind, rgb).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "kind", "codec", "decoder", "expected_codec"),
    [
        ("a.mov", "rgba", None, None, "prores"),
        ("a.mov", "composite", "prores", None, "prores"),
        ("a.mkv", "rgba", "prores", None, "prores"),
        ("a.webm", "rgba", None, "libvpx-vp9", "vp9"),
        ("a.mkv", "rgba", "vp9", "libvpx-vp9", "vp9"),
        ("a.mp4", "fgr", "vp9", None, "vp9"),
        ("a.webm", "composite", "av1", None, "libdav1d"),
        ("a.mp4", "pha", "av1", None, "libdav1d"),
        ("a.mkv", "fgr", "av1", None, "libdav1d"),
        ("a.mp4", "composite", "h264", None, "h264"),
    ],
)
def test_lossy_frames_come_back_alike(
    tmp_path: Path, name: str, kind: str, codec: str | None, decoder: str | None, expected_codec: str
) -> None:
    path = tmp_path / name
    images = [smooth(kind, index=index) for index in range(FRAMES)]
    with open_sink(path, clip=clip(), kind=kind, options=EncodeOptions(codec=codec)) as sink:
        for image in images:
            sink.write(image)
    frames = read(path, decoder)
    layout = {"pha": "gray", "rgba": "rgba"}.get(kind, "rgb24")
    decoded = [frame.to_ndarray(format=layout) for frame in frames]
    for index, image in enumerate(images):
        assert psnr(decoded[index], image) > 36
        others = [other for number, other in enumerate(images) if number != index]
        assert all(psnr(decoded[index], other) < psnr(decoded[index], image) for other in others)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.name == expected_codec
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (
            1,
            1,
            1,
            1,
        )


@pytest.mark.parametrize(
    ("kind", "depth", "pixel_format"),
    [
        ("rgba", 8, "bgra"),
        ("composite", 8, "bgr0"),
        ("pha", 8, "gray"),
        ("rgba", 16, "gbrap16le"),
        ("pha", 16, "gray16le"),
    ],
)
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (131, 47)])
def test_ffv1_loses_nothing(
    tmp_path: Path, video: SimpleNamespace, kind: str, depth: int, pixel_format: str, size: tuple[int, int]
) -> None:
    of = clip(width=size[0], height=size[1])
    images = write(tmp_path / "a.mkv", video, kind, of=of, depth=depth, codec="ffv1")
    frames = read(tmp_path / "a.mkv")
    assert frames[0].format.name == pixel_format
    layout = {("pha", 8): "gray", ("rgba", 8): "rgba", ("pha", 16): "gray16le", ("rgba", 16): "rgba64le"}
    for frame, image in zip(frames, images, strict=True):
        assert np.array_equal(frame.to_ndarray(format=layout.get((kind, depth), "rgb24")), image)
        assert frame.color_range == 2


def test_ffv1_is_what_matroska_takes_for_alpha(tmp_path: Path) -> None:
    assert plan_output(tmp_path / "a.mkv", kind="rgba").codec == "ffv1"
    assert plan_output(tmp_path / "a.mkv", kind="pha").codec == "h264"
    assert plan_output(tmp_path / "a.mov", kind="rgba").codec == "prores"


def test_prores_gives_every_alpha_level_back_to_every_reader(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8)
    image = np.full((32, 256, 4), 90, np.uint8)
    image[..., 3] = levels
    with open_sink(tmp_path / "a.mov", clip=clip(width=256, height=32), kind="rgba") as sink:
        for _ in range(FRAMES):
            sink.write(image)
    for frame in read(tmp_path / "a.mov"):
        assert frame.format.name == "yuva444p12le"
        alpha = plane(frame, 3).astype(int)
        assert (np.rint(alpha / 4095 * 255) == levels).all()
        assert (alpha >> 4 == levels).all()
        assert (frame.to_ndarray(format="rgba")[..., 3] == levels).all()
        assert (alpha[0, 0], alpha[0, 255]) == (0, 4095)


def test_prores_keeps_a_ramp_of_1024_alpha_levels(tmp_path: Path) -> None:
    ramp = np.rint(np.linspace(0, 65535, 1024)).astype(np.uint16)
    image = np.full((16, 1024, 4), 20000, np.uint16)
    image[..., 3] = ramp
    with open_sink(tmp_path / "a.mov", clip=clip(width=1024, height=16), kind="rgba", depth=16) as sink:
        sink.write(image)
    with av.open(str(tmp_path / "a.mov")) as container:
        alpha = plane(next(container.decode(video=0)), 3).astype(int)
    assert (np.rint(alpha / 4095 * 1023) == np.arange(1024)).all()


def test_av1_carries_alpha_as_a_second_stream_beside_each_frame(tmp_path: Path) -> None:
    images = [smooth("rgba", index=index) for index in range(FRAMES)]
    with open_sink(tmp_path / "a.webm", clip=clip(), kind="rgba", options=EncodeOptions(codec="av1")) as sink:
        for image in images:
            sink.write(image)
    colours = [frame.to_ndarray(format="rgb24") for frame in read(tmp_path / "a.webm")]
    with av.open(str(tmp_path / "a.webm")) as container:
        assert container.streams.video[0].metadata["ALPHA_MODE"] == "1"
        beside = [bytes(p.get_sidedata("matroska_block_additional")) for p in packets_of(container)]
    assert {data[:8] for data in beside} == {(1).to_bytes(8, "big")}
    context = av.CodecContext.create("libdav1d", "r")
    alphas = [frame for data in beside for frame in context.decode(av.Packet(data[8:]))]
    alphas += context.decode(None)
    assert len(alphas) == FRAMES
    for image, rgb, alpha in zip(images, colours, alphas, strict=True):
        assert psnr(rgb, image[..., :3]) > 36
        assert psnr(plane(alpha, 0), image[..., 3]) > 40
        assert alpha.color_range == 2


@pytest.mark.parametrize("kind", ["composite", "pha", "rgba"])
@pytest.mark.parametrize(
    ("name", "codec", "decoder"),
    [("a.mov", "prores", None), ("a.mkv", "av1", None), ("a.webm", "vp9", "libvpx-vp9")],
)
def test_odd_sizes_stay(tmp_path: Path, name: str, codec: str, decoder: str | None, kind: str) -> None:
    images = [smooth(kind, index=index)[1:, 15:] for index in range(FRAMES)]
    of = clip(width=WIDTH - 15, height=HEIGHT - 1)
    with open_sink(tmp_path / name, clip=of, kind=kind, options=EncodeOptions(codec=codec)) as sink:
        for image in images:
            sink.write(image)
    layout = "gray" if kind == "pha" else "rgb24"
    for frame, image in zip(read(tmp_path / name, decoder), images, strict=True):
        got = frame.to_ndarray(format=layout)
        assert psnr(got, image if kind == "pha" else image[..., :3]) > 36


def test_a_converted_frame_is_not_the_memory_that_is_filled_again() -> None:
    frame = av.VideoFrame(WIDTH, HEIGHT, "gray")
    plane(frame, 0)[...] = 40
    converted = FromRgb("gray").convert(frame)
    plane(frame, 0)[...] = 200
    assert (plane(converted, 0) == 40).all()


@pytest.mark.parametrize(("name", "depth"), [("a.mkv", 8), ("a.mkv", 16), ("a.mov", 8)])
def test_premultiplied_colours_are_what_the_file_says(
    tmp_path: Path, video: SimpleNamespace, name: str, depth: int
) -> None:
    images = write(tmp_path / name, video, "rgba", depth=depth, premultiplied=True)
    highest = 2**depth - 1
    for frame, image in zip(read(tmp_path / name), images, strict=True):
        expected = np.rint(image[..., :3].astype(float) * image[..., 3:] / highest)
        got = frame.to_ndarray(format="rgba" if depth == 8 else "rgba64le")
        assert np.abs(got[..., :3] - expected).max() <= (0 if name.endswith("mkv") else 8)
        assert (got[..., 3] == image[..., 3]).all()
    with av.open(str(tmp_path / name)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
        assert tags["comment"] == "alpha: premultiplied"


def test_hdr_is_tagged_as_its_source(tmp_path: Path, video: SimpleNamespace) -> None:
    of = clip(colour=ClipColour(primaries=9, transfer=16, matrix=9))
    images = write(tmp_path / "a.mov", video, "composite", of=of, codec="prores")
    for frame, image in zip(read(tmp_path / "a.mov"), images, strict=True):
        assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (9, 9, 16)
        assert psnr(frame.to_ndarray(format="rgb24"), image) > 40


@pytest.mark.parametrize(
    ("name", "kind", "options", "reason"),
    [
        ("a.mp4", None, {"codec": "prores"}, r"codec 'prores'.*h264, av1, vp9.*\.mov or \.mkv"),
        ("a.webm", None, {"codec": "h264"}, r"codec 'h264'.*vp9, av1"),
        ("a.mov", None, {"codec": "ffv1"}, r"write \.mkv"),
        ("frames", None, {"codec": "av1"}, "codec 'av1'"),
        ("a.mkv", None, {"codec": "exr"}, "write a folder"),
        ("-", None, {"codec": "vp9"}, "raw frames"),
        ("a.mkv", "rgba", {"codec": "h264"}, r"without alpha \(h264\)"),
        ("a.mp4", "rgba", {"codec": "av1"}, "without alpha"),
        ("a.webm", "rgba", {"premultiplied": True}, "straight"),
        ("a.mov", "rgba", {"raw_format": "yuva420p"}, "standard output"),
        ("-", "pha", {"raw_format": "yuva420p"}, "standard output"),
        ("a.exr", None, {}, "Name a folder.*--codec exr"),
    ],
)
def test_formats_that_do_not_fit_together_are_refused(
    tmp_path: Path, name: str, kind: str | None, options: dict[str, Any], reason: str
) -> None:
    path = name if name == "-" else tmp_path / name
    with pytest.raises(VideoError, match=reason):
        plan_output(path, kind=kind, options=EncodeOptions(**options))


@pytest.mark.parametrize(
    ("name", "kind", "depth"), [("a.mp4", "pha", 16), ("a.mkv", "composite", 16), ("a.mkv", "rgba", 12)]
)
def test_a_depth_without_a_place_is_refused(tmp_path: Path, name: str, kind: str, depth: int) -> None:
    with pytest.raises(VideoError, match=str(depth)):
        plan_output(tmp_path / name, kind=kind, depth=depth)


@pytest.mark.parametrize("options", [{"codec": "h265"}, {"codec": ""}, {"raw_format": "nv12"}])
def test_unknown_names_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="one of"):
        EncodeOptions(**options)
