"""What is unusual about an input: more bits, HDR, fields, other sizes, damage, and names."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.input_options import Hdr, InputOptions
from rvm_trt.runtime.video.source import ClipColour, open_source
from rvm_trt.runtime.video.timing import Clock

PAL = Fraction(25)


def _tagged(path: Path, *, primaries: int, transfer: int, matrix: int) -> Path:
    """A clip in 10 bits, of one grey at 480 of 64 to 940."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=64, height=48)
        stream.pix_fmt = "yuv420p10le"
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        for plane, value in zip(frame.planes, (480, 512, 512), strict=True):
            np.frombuffer(plane, np.uint16)[:] = value
        for tagged in (stream.codec_context, frame):
            tagged.color_primaries, tagged.color_trc, tagged.colorspace = primaries, transfer, matrix
            tagged.color_range = 1
        frame.pts = 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


@pytest.mark.parametrize(
    ("tags", "colour"),
    [
        ((1, 1, 1), ClipColour()),
        ((2, 2, 2), ClipColour()),
        ((9, 14, 9), ClipColour(primaries=9, transfer=14, matrix=9)),
        ((6, 6, 6), ClipColour(primaries=6, transfer=6, matrix=1)),
    ],
)
def test_ten_bits_become_eight_and_keep_their_tags(
    tmp_path: Path, tags: tuple[int, int, int], colour: ClipColour
) -> None:
    path = _tagged(tmp_path / "a.mkv", primaries=tags[0], transfer=tags[1], matrix=tags[2])
    source = open_source(path)
    assert np.abs(next(iter(source)).image - (480 - 64) * 255 / 876).max() < 1
    assert (source.clip.colour, source.notices) == (colour, [])


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_or_used_as_stored(tmp_path: Path, transfer: int, name: str) -> None:
    path = _tagged(tmp_path / "a.mkv", primaries=9, transfer=transfer, matrix=9)
    with pytest.raises(VideoError, match=rf"HDR video \({name}\).*ffmpeg -i.*tonemap.*--hdr as-stored"):
        open_source(path)
    source = open_source(path, options=InputOptions(hdr=Hdr.AS_STORED))
    assert np.abs(next(iter(source)).image - (480 - 64) * 255 / 876).max() < 1
    assert source.clip.colour == ClipColour(primaries=9, transfer=transfer, matrix=9)
    assert "HDR" in source.notices[0]


def _bars(time: int) -> npt.NDArray[np.uint8]:
    """Vertical bars that move eight pixels each time: between rows they interpolate exactly."""
    row = np.where(((np.arange(96) - 8 * time) // 16) % 2, 200, 40).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (64, 96, 3)).copy()


def _interlaced(path: Path, *, top_first: bool, frames: int = 5, keyint: int = 250) -> Path:
    order = "tff" if top_first else "bff"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=PAL, width=96, height=64)
        stream.options.update({"crf": "1", "x264-params": f"{order}=1:keyint={keyint}"})
        graph = av.filter.Graph()  # PyAV cannot mark frames itself
        buffer = graph.add_buffer(width=96, height=64, format="rgb24", time_base=1 / PAL)
        graph.link_nodes(buffer, graph.add("setfield", order), graph.add("buffersink")).configure()
        for index in range(frames):
            image, later = _bars(2 * index), _bars(2 * index + 1)
            rows = slice(1, None, 2) if top_first else slice(0, None, 2)
            image[rows] = later[rows]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, 1 / PAL
            graph.vpush(frame)
            container.mux(stream.encode(graph.vpull()))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.264"])
@pytest.mark.parametrize("top_first", [True, False])
def test_interlaced_frames_become_whole_in_their_field_order(
    tmp_path: Path, top_first: bool, name: str
) -> None:
    path = _interlaced(tmp_path / name, top_first=top_first)
    plain = open_source(path)
    stored = list(plain)
    assert "interlaced" in plain.notices[0]
    assert "--deinterlace" in plain.notices[0]
    source = open_source(path, options=InputOptions(deinterlace=True))
    frames = list(source)
    assert [(f.index, f.pts, f.duration) for f in frames] == [(f.index, f.pts, f.duration) for f in stored]
    assert (source.rate, source.notices) == (plain.rate, [])
    for frame, combed in zip(frames[1:-1], stored[1:-1], strict=True):
        expected = _bars(2 * frame.index).astype(int)
        assert np.abs(frame.image - expected).mean() < 20
        assert np.abs(combed.image - expected).mean() > 30


def test_one_interlaced_frame_stays_one(tmp_path: Path) -> None:
    path = _interlaced(tmp_path / "a.mp4", top_first=True, frames=1)
    assert len(list(open_source(path, options=InputOptions(deinterlace=True)))) == 1


def test_deinterlaced_frames_of_a_part_are_those_of_the_whole(tmp_path: Path) -> None:
    path = _interlaced(tmp_path / "a.mp4", top_first=True, frames=40, keyint=5)
    whole = list(open_source(path, options=InputOptions(deinterlace=True)))
    for start in range(24, 30):
        options = InputOptions(deinterlace=True, start_s=start / 25, warm_up_s=0)
        for frame, expected in zip(open_source(path, options=options), whole[start:], strict=True):
            assert np.array_equal(frame.image, expected.image)


def test_deinterlacing_leaves_whole_frames_alone(tmp_path: Path, video: SimpleNamespace) -> None:
    path = video.write_clip(tmp_path / "a.mp4", frames=6)
    plain = list(open_source(path))
    source = open_source(path, options=InputOptions(deinterlace=True))
    for frame, expected in zip(source, plain, strict=True):
        assert np.array_equal(frame.image, expected.image)


def test_a_change_of_size_comes_after_the_frames_before_it(tmp_path: Path, video: SimpleNamespace) -> None:
    small = video.write_clip(tmp_path / "a.ts", frames=5, width=128, height=48).read_bytes()
    large = video.write_clip(tmp_path / "b.ts", frames=5, width=160, height=64).read_bytes()
    (tmp_path / "c.ts").write_bytes(small + large)
    for options in (InputOptions(), InputOptions(deinterlace=True)):
        frames = iter(open_source(tmp_path / "c.ts", options=options))
        assert [video.number(next(frames).image) for _ in range(5)] == list(range(5))
        with pytest.raises(VideoError, match=r"160x64 at frame 5.*128x48"):
            next(frames)


def test_frames_that_the_decoder_mends_are_given_and_counted(tmp_path: Path, video: SimpleNamespace) -> None:
    path = video.write_clip(tmp_path / "a.mp4", frames=30, options={"g": "10", "bf": "0"})
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for start, size in spans[12:14]:
        data[start + size // 2 : start + size] = bytes(size - size // 2)
    path.write_bytes(data)
    source = open_source(path)
    assert len(list(source)) == 30
    assert source.notices == ["2 damaged frames were mended by the decoder."]


def test_packets_missing_from_a_transport_stream_are_said(tmp_path: Path, video: SimpleNamespace) -> None:
    data = video.write_clip(tmp_path / "a.ts", frames=30, options={"g": "10", "bf": "0"}).read_bytes()
    half = len(data) // 188 // 2 * 188
    (tmp_path / "b.ts").write_bytes(data[:half] + data[half + 7 * 188 :])
    source = open_source(tmp_path / "b.ts")
    assert 20 < len(list(source)) < 30
    assert any("damaged" in notice for notice in source.notices)


@pytest.mark.parametrize("size", [(20000, 64), (64, 20000), (65535, 65535)])
def test_a_header_that_claims_a_huge_picture_is_refused(
    tmp_path: Path, video: SimpleNamespace, size: tuple[int, int]
) -> None:
    data = bytearray(video.write_clip(tmp_path / "a.gif", codec="gif", pix_fmt="rgb8", frames=2).read_bytes())
    data[6:10] = size[0].to_bytes(2, "little") + size[1].to_bytes(2, "little")
    (tmp_path / "b.gif").write_bytes(data)
    with pytest.raises(VideoError, match=r"b\.gif"):
        open_source(tmp_path / "b.gif")


def test_a_huge_video_names_its_size(tmp_path: Path) -> None:
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W20000 H64 F25:1 C420jpeg\nFRAME\n" + bytes(20000 * 96))
    with pytest.raises(VideoError, match=r"20000x64, expected at most 16384"):
        open_source(tmp_path / "a.y4m")


def test_a_huge_image_names_its_size(tmp_path: Path) -> None:
    Image.new("1", (20000, 8)).save(tmp_path / "a.png")
    with pytest.raises(VideoError, match=r"20000x8, expected at most 16384"):
        open_source(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(2, 2), (6, 200), (200, 6)])
def test_small_and_narrow_pictures_open(tmp_path: Path, size: tuple[int, int]) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=size[0], height=size[1])
        frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 90, np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert next(iter(open_source(tmp_path / "a.mkv"))).image.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("rotation", [90, 180, -90])
@pytest.mark.parametrize(("codec", "pix_fmt"), [("mpeg4", "yuv420p"), ("prores_ks", "yuv422p10le")])
def test_odd_portrait_video_comes_upright(
    tmp_path: Path, video: SimpleNamespace, rotation: int, codec: str, pix_fmt: str
) -> None:
    path = video.write_clip(
        tmp_path / "a.mov", rotation=rotation, frames=2, width=129, height=51, codec=codec, pix_fmt=pix_fmt
    )
    expected = np.rot90(video.numbered(1, width=129, height=51), rotation // 90)
    image = list(open_source(path))[1].image
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 6


@pytest.mark.parametrize(
    "name", ["über 影片 🎬.mp4", "x" * 251 + ".mp4", "concat:a|b.mp4", "100%d.mp4", "-.mp4"]
)
def test_unusual_names_open(tmp_path: Path, video: SimpleNamespace, name: str) -> None:
    path = video.write_clip(tmp_path / "a.mp4", frames=2).rename(tmp_path / name)
    assert len(list(open_source(path))) == 2


def test_a_name_that_is_no_unicode_opens(tmp_path: Path, video: SimpleNamespace) -> None:
    path = tmp_path / "caf\udce9.mp4"
    video.write_clip(tmp_path / "a.mp4", frames=2).rename(path)
    assert len(list(open_source(path))) == 2


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "x" * 300, "x" * 300 + ".png", "a\0b.mp4", "a\0.png"])
def test_names_that_cannot_exist_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(VideoError, match=r"got (a path that cannot be opened|nothing there)"):
        open_source(tmp_path / name)


def test_devices_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match=r"named pipe.*standard input"):
        open_source(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match="not a plain file"):
        open_source("/dev/zero")


@pytest.mark.parametrize("name", ["a.png", "a.txt", "a.mkv", "a"])
def test_a_wrong_suffix_opens_or_is_one_error(tmp_path: Path, video: SimpleNamespace, name: str) -> None:
    video.write_clip(tmp_path / "a.mp4", frames=2).rename(tmp_path / name)
    if name.endswith("png"):
        with pytest.raises(VideoError, match=r"a\.png.*does not open"):
            open_source(tmp_path / name)
    else:
        assert len(list(open_source(tmp_path / name))) == 2


def test_the_clock_goes_on_where_times_are_missing_or_go_back() -> None:
    clock = Clock(rate=Fraction(30000, 1001))
    unit = Fraction(1, 1000)
    times = [clock.time(pts, 0, unit) for pts in (None, None, None, None, 200, 100, 233, None)]
    assert times == [0, 33, 67, 100, 200, 233, 267, 300]
