"""Every common container: the frames, their times, and where they begin."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from rvm_trt.runtime.video.audio import AudioCopy
from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.source import open_source

PAL = Fraction(25)
_OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:keyint=6"}


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("b-frames.avi", "libx264", "yuv420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.m2ts", "mpeg2video", "yuv420p"),
        ("a.flv", "libx264", "yuv420p"),
        ("a.wmv", "wmv2", "yuv420p"),
        ("a.asf", "msmpeg4", "yuv420p"),
        ("a.mpg", "mpeg2video", "yuv420p"),
        ("a.mpeg", "mpeg1video", "yuv420p"),
        ("a.ogv", "libvpx", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
        ("a.apng", "apng", "rgb24"),
        ("a.webp", "libwebp_anim", "yuv420p"),
        ("a.mxf", "mpeg2video", "yuv422p"),
        ("a.y4m", "wrapped_avframe", "yuv420p"),
        ("a.nut", "ffv1", "yuv420p"),
        ("a.3gp", "mpeg4", "yuv420p"),
        ("a.264", "libx264", "yuv420p"),
        ("a.hevc", "libx265", "yuv420p"),
    ],
)
def test_every_container_gives_all_frames_at_their_times(
    tmp_path: Path, video: SimpleNamespace, name: str, codec: str, pix_fmt: str
) -> None:
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else None
    path = video.write_clip(
        tmp_path / name,
        frames=10,
        width=128,
        height=48,
        rate=PAL,
        codec=codec,
        pix_fmt=pix_fmt,
        options=quiet,
    )
    source = open_source(path)
    frames = list(source)
    assert [video.number(f.image) for f in frames] == list(range(10))
    assert [f.pts * f.time_base - source.clip.start for f in frames] == [i / PAL for i in range(10)]
    assert (source.rate, source.skipped_frames, source.notices) == (PAL, 0, [])


@pytest.mark.parametrize(("name", "codec"), [("a.264", "libx264"), ("a.hevc", "libx265")])
def test_raw_video_has_the_rate_that_it_says(
    tmp_path: Path, video: SimpleNamespace, name: str, codec: str
) -> None:
    path = video.write_clip(tmp_path / name, frames=4, width=128, height=48, codec=codec)
    source = open_source(path)
    assert source.rate == Fraction(30000, 1001)
    for frame in source:
        assert abs(frame.pts * frame.time_base - frame.index / source.rate) <= frame.time_base


def test_a_late_beginning_of_a_transport_stream_becomes_zero(tmp_path: Path, video: SimpleNamespace) -> None:
    times = [90_000 * 7 + 3600 * index for index in range(8)]
    path = video.write_clip(
        tmp_path / "a.ts", frames=8, rate=PAL, pts=times, time_base=Fraction(1, 90_000), options=_OPEN_GOP
    )
    source = open_source(path)
    assert source.clip.start >= 7
    assert [f.pts * f.time_base - source.clip.start for f in source] == [i / PAL for i in range(8)]


def test_the_clock_of_a_transport_stream_may_begin_anew(tmp_path: Path, video: SimpleNamespace) -> None:
    first = 2**33 - 90_000 - 126_000  # one second before, less what the muxer adds
    times = [first + 3600 * index for index in range(50)]
    path = video.write_clip(tmp_path / "a.ts", frames=50, rate=PAL, pts=times, time_base=Fraction(1, 90_000))
    source = open_source(path)
    frames = list(source)
    assert [video.number(f.image) for f in frames] == list(range(50))
    assert [f.pts * f.time_base - source.clip.start for f in frames] == [i / PAL for i in range(50)]
    part = open_source(path, options=InputOptions(start_s=0.4, stop_s=1.4))
    written = [f for f in part if not f.warm_up]
    assert [video.number(f.image) for f in written] == list(range(10, 35))
    assert [f.pts * f.time_base - part.clip.start for f in written] == [i / PAL for i in range(25)]


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"bf": "0"}),
        ("libx264", {"bf": "2"}),
        ("mpeg4", {}),
        ("mpeg4", {"bf": "2"}),
        ("mjpeg", {}),
    ],
)
def test_avi_shows_frames_beside_their_sound_and_keeps_gaps(
    tmp_path: Path, video: SimpleNamespace, codec: str, options: dict[str, str]
) -> None:
    times = [0, 1, 2, 3, 6, 7, 8, 9, 10, 11]
    path = video.write_clip(
        tmp_path / "a.avi",
        frames=10,
        rate=PAL,
        pts=times,
        codec=codec,
        pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p",
        options=options,
        sound_s=0.6,
        sound_codec="pcm_s16le",
    )
    source = open_source(path)
    frames = list(source)
    assert [video.number(f.image) for f in frames] == list(range(10))
    assert source.clip.start == 0
    assert [f.pts * f.time_base for f in frames] == [time / PAL for time in times]


def test_an_edit_list_delays_the_pictures_but_not_the_sound(tmp_path: Path, video: SimpleNamespace) -> None:
    path = video.write_clip(
        tmp_path / "a.mp4", frames=6, rate=PAL, pts=[20 + i for i in range(6)], time_base=1 / PAL, sound_s=1
    )
    source = open_source(path)
    assert source.clip.start == 0
    assert [f.pts * f.time_base for f in source] == [(20 + i) / PAL for i in range(6)]


def test_joined_transport_streams_go_on_in_time(tmp_path: Path, video: SimpleNamespace) -> None:
    part = video.write_clip(tmp_path / "a.ts", frames=10, rate=PAL, sound_s=0.4).read_bytes()
    (tmp_path / "b.ts").write_bytes(part * 2)
    source = open_source(tmp_path / "b.ts")
    frames = list(source)
    assert [video.number(f.image) for f in frames] == [*range(10), *range(10)]
    times = [f.pts * f.time_base for f in frames]
    assert [time - times[0] for time in times] == [i / PAL for i in range(20)]
    _copy_sound(tmp_path / "b.ts", tmp_path / "c.mkv", start=source.clip.start)
    sounds = [time for time, _ in video.sound_packets(tmp_path / "c.mkv")]
    assert sounds == sorted(set(sounds))
    assert len(sounds) == 2 * len(video.sound_packets(tmp_path / "a.ts"))


def _copy_sound(source: Path, target: Path, *, start: Fraction) -> None:
    with (
        av.open(str(target), "w") as output,
        AudioCopy(source, output, start=start, notice=print) as audio,
    ):
        output.start_encoding()
        audio.copy_until(None)


@pytest.mark.parametrize("aspect", [Fraction(16, 11), Fraction(1)])
@pytest.mark.parametrize("rotation", [0, 90])
def test_the_shape_of_pixels_turns_with_the_picture(tmp_path: Path, aspect: Fraction, rotation: int) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48)
        stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    clip = open_source(tmp_path / "a.mp4").clip
    assert clip.pixel_aspect == (1 / aspect if rotation else aspect)
    assert (clip.width, clip.height) == ((48, 64) if rotation else (64, 48))
