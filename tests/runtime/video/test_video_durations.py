"""How long frames are shown: the last frame too, in every output, and stills that a part begins within."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.job import matte_video
from rvm_trt.runtime.video.job_options import JobOptions
from rvm_trt.runtime.video.output import EncodeOptions
from rvm_trt.runtime.video.source import open_source

MS = Fraction(1, 1000)
_TIMES = [0, 40, 101, 140, 300, 341]
_LENGTHS = [40, 61, 39, 160, 41, 2000]
_STILL = [0, 40, 80, 10080, 10120]
_STILL_LENGTHS = [40, 40, 10000, 40, 3000]


def _packets(path: Path) -> list[tuple[Fraction, Fraction]]:
    """Time and duration of every picture in milliseconds, in the order of their times."""
    with av.open(str(path)) as container:
        return sorted(
            (p.pts * p.time_base / MS, (p.duration or 0) * p.time_base / MS)
            for p in container.demux(container.streams.video[0])
            if p.size and p.pts is not None
        )


def _length(path: Path) -> Fraction:
    """How long the pictures last in milliseconds, as the container says."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.duration:
            return stream.duration * (stream.time_base or 0) / MS
        return Fraction(stream.metadata["DURATION"].rpartition(":")[2]) / MS


def _matte(source: Path, output: Path, video: SimpleNamespace, **more: Any) -> None:
    clip = open_source(source).clip
    matte_video(source, output, video.FakeSession(width=clip.width, height=clip.height), **more)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
@pytest.mark.parametrize("given", ["in.mp4", "in.mkv"])
def test_times_and_durations_are_those_of_the_input(
    tmp_path: Path, video: SimpleNamespace, given: str, name: str
) -> None:
    source = video.write_clip(
        tmp_path / given, frames=6, pts=_TIMES, durations=_LENGTHS, time_base=MS, options={"bf": "0"}
    )
    _matte(source, tmp_path / name, video, kind="composite")
    assert _packets(tmp_path / name) == list(zip(_TIMES, _LENGTHS, strict=True))
    assert _length(tmp_path / name) == 2341


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_frames_out_of_order_keep_their_times_and_the_whole_length(
    tmp_path: Path, video: SimpleNamespace, name: str
) -> None:
    source = video.write_clip(
        tmp_path / "in.mkv", frames=6, pts=_TIMES, durations=_LENGTHS, time_base=MS, rate=Fraction(25)
    )
    _matte(source, tmp_path / name, video, options=EncodeOptions(preset="veryfast"))
    assert [time for time, _ in _packets(tmp_path / name)] == _TIMES
    assert _length(tmp_path / name) == 2341


def test_frames_that_are_stored_out_of_order_last_until_the_next(
    tmp_path: Path, video: SimpleNamespace
) -> None:
    path = video.write_clip(tmp_path / "a.mp4", frames=6, pts=_TIMES, time_base=MS)
    assert [f.duration * f.time_base / MS for f in open_source(path)][:-1] == _LENGTHS[:-1]


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24)])
def test_a_constant_rate_in_milliseconds_stays_constant(
    tmp_path: Path, video: SimpleNamespace, rate: Fraction
) -> None:
    source = video.write_clip(tmp_path / "in.mkv", frames=30, rate=rate)
    for start in (None, 0.5):
        inputs = InputOptions(start_s=start)
        _matte(source, tmp_path / "a.mp4", video, job=JobOptions(inputs=inputs), overwrite=True)
        written = _packets(tmp_path / "a.mp4")
        assert [time for time, _ in written] == [index / rate / MS for index in range(len(written))]
        assert {length for _, length in written} == {1 / rate / MS}


@pytest.mark.parametrize("given", ["in.mp4", "in.mkv"])
def test_a_part_begins_and_ends_within_a_still(tmp_path: Path, video: SimpleNamespace, given: str) -> None:
    source = video.write_clip(
        tmp_path / given,
        frames=5,
        pts=_STILL,
        durations=_STILL_LENGTHS,
        time_base=MS,
        sound_s=13,
        options={"bf": "0"},
    )
    part = InputOptions(start_s=3, stop_s=12)
    _matte(source, tmp_path / "a.mp4", video, job=JobOptions(inputs=part))
    assert [video.number(f.image) for f in open_source(tmp_path / "a.mp4")] == [2, 3, 4]
    assert _packets(tmp_path / "a.mp4") == [(0, 7080), (7080, 40), (7120, 1880)]
    before, after = video.sound_packets(source), video.sound_packets(tmp_path / "a.mp4")
    wanted = [(time - 3, data) for time, data in before if 3 <= time < 12]
    assert [data for _, data in after][-len(wanted) :] == [data for _, data in wanted]
    assert abs(after[-1][0] - wanted[-1][0]) <= MS


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_a_part_of_an_animated_image_begins_within_a_picture(
    tmp_path: Path, video: SimpleNamespace, name: str
) -> None:
    pictures = [Image.fromarray(video.numbered(i, width=128, height=48)) for i in range(4)]
    options: dict[str, Any] = {"lossless": True} if name == "a.webp" else {}
    pictures[0].save(
        tmp_path / name,
        save_all=True,
        append_images=pictures[1:],
        duration=[500, 4000, 300, 2000],
        **options,
    )
    source = open_source(tmp_path / name, options=InputOptions(start_s=2, stop_s=6))
    frames = list(source)
    assert [video.number(f.image) for f in frames if not f.warm_up] == [1, 2, 3]
    written = [f for f in frames if not f.warm_up]
    assert [(f.pts * f.time_base - source.clip.start) for f in written] == [
        0,
        Fraction(5, 2),
        Fraction(14, 5),
    ]
    assert [f.duration * f.time_base for f in written] == [Fraction(5, 2), Fraction(3, 10), Fraction(6, 5)]
    assert (source.clip.start, source.clip.stop) == (2, 6)
    assert np.array_equal(next(source.frames_from(1)).image, frames[1].image)


def test_the_last_of_frames_that_are_stored_out_of_order_lasts_to_the_end(
    tmp_path: Path, video: SimpleNamespace
) -> None:
    source = video.write_clip(
        tmp_path / "in.mkv", frames=6, pts=_TIMES, durations=_LENGTHS, time_base=MS, rate=Fraction(25)
    )
    _matte(source, tmp_path / "a.mp4", video, options=EncodeOptions(preset="veryfast"))
    _matte(tmp_path / "a.mp4", tmp_path / "b.mkv", video)
    assert [f.duration * f.time_base / MS for f in open_source(tmp_path / "a.mp4")] == _LENGTHS
    assert _packets(tmp_path / "b.mkv") == list(zip(_TIMES, _LENGTHS, strict=True))


def test_a_file_that_is_cut_off_does_not_end_with_a_still(tmp_path: Path, video: SimpleNamespace) -> None:
    _matte(video.write_clip(tmp_path / "in.mkv", frames=90, rate=Fraction(25)), tmp_path / "a.mp4", video)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(data[: len(data) * 3 // 4])
    frames = list(open_source(tmp_path / "b.mp4"))
    assert 30 < len(frames) < 90
    assert {f.duration * f.time_base / MS for f in frames} == {40}


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_a_late_picture_is_late_to_the_tick(tmp_path: Path, video: SimpleNamespace, name: str) -> None:
    times = [1001 + 3003 * index for index in range(5)]
    source = video.write_clip(
        tmp_path / "in.ts",
        frames=5,
        pts=times,
        time_base=Fraction(1, 90000),
        sound_s=0.3,
        options={"bf": "0"},
    )
    clip = open_source(source).clip
    given = [f.pts * f.time_base - clip.start for f in open_source(source)]
    _matte(source, tmp_path / name, video, kind="composite")
    assert [time * MS for time, _ in _packets(tmp_path / name)] == given
    assert given[0] % MS != 0
