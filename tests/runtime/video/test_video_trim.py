"""A part of an input: exactly the frames of the whole, warm-up before them, and the sound of the same time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from rvm_trt.errors import OptionError, VideoError
from rvm_trt.runtime.video.audio import AudioCopy
from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.source import open_source

PAL = Fraction(25)
_PART = InputOptions(start_s=2.6, stop_s=3.2, warm_up_s=0.2)


def _clip(folder: Path, video: SimpleNamespace, name: str, codec: str, **options: str) -> Path:
    path: Path = video.write_clip(
        folder / name, frames=90, width=128, height=48, rate=PAL, codec=codec, options=options
    )
    return path


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("b-frames.mp4", "libx264", {"g": "12"}),
        ("open-gop.mp4", "libx264", {"x264-params": "open-gop=1:bframes=3:keyint=12"}),
        ("long-gop.mkv", "libx264", {"g": "300"}),
        ("open-gop.ts", "libx264", {"x264-params": "open-gop=1:bframes=3:keyint=20"}),
        ("no-keys.ts", "libx264", {"x264-params": "intra-refresh=1:keyint=12"}),
        ("a.mpg", "mpeg2video", {"g": "12", "bf": "2"}),
        ("a.ts", "mpeg2video", {"g": "12", "bf": "2"}),
        ("b-frames.avi", "libx264", {"g": "12"}),
        ("a.wmv", "wmv2", {"g": "12"}),
        ("a.264", "libx264", {}),
    ],
)
def test_a_part_is_exactly_that_of_the_whole(
    tmp_path: Path, video: SimpleNamespace, name: str, codec: str, options: dict[str, str]
) -> None:
    path = _clip(tmp_path, video, name, codec, **options)
    whole = open_source(path)
    images = [frame.image for frame in whole]
    part = open_source(path, options=_PART)
    frames = list(part)
    assert [f.index for f in frames] == list(range(20))
    assert [f.warm_up for f in frames] == [True] * 5 + [False] * 15
    for frame, expected in zip(frames, images[60:80], strict=True):
        assert np.array_equal(frame.image, expected)
    assert part.clip.start - whole.clip.start == Fraction(26, 10)
    assert part.clip.stop is not None
    assert part.clip.stop - whole.clip.start == Fraction(32, 10)
    written = [f.pts * f.time_base - part.clip.start for f in frames if not f.warm_up]
    assert written == [i / PAL for i in range(15)]
    assert (part.frame_count, part.skipped_frames) == (15, 0)


@pytest.mark.parametrize(
    ("options", "numbers", "warm_up"),
    [
        (InputOptions(stop_s=0.2), range(5), 0),
        (InputOptions(start_s=3.5), range(63, 90), 24),
        (InputOptions(start_s=0.04, stop_s=0.12), range(3), 1),
        (InputOptions(start_s=0.05, stop_s=100, warm_up_s=0), range(1, 90), 0),
        (InputOptions(start_s=0.05, stop_s=0.07), range(2), 1),
    ],
)
def test_the_first_written_frame_is_the_one_shown_at_the_start(
    tmp_path: Path, video: SimpleNamespace, options: InputOptions, numbers: range, warm_up: int
) -> None:
    source = open_source(_clip(tmp_path, video, "a.mp4", "libx264", g="12"), options=options)
    frames = list(source)
    assert [video.number(f.image) for f in frames] == list(numbers)
    assert sum(f.warm_up for f in frames) == warm_up
    assert source.clip.start == numbers[warm_up] / PAL


def test_rounded_timestamps_count_as_the_limit(tmp_path: Path, video: SimpleNamespace) -> None:
    # Matroska has 0.033 for the second frame of 30 a second.
    path = video.write_clip(tmp_path / "a.mkv", frames=6, rate=Fraction(30))
    source = open_source(path, options=InputOptions(start_s=1 / 30, stop_s=3 / 30, warm_up_s=0))
    assert [(video.number(f.image), f.warm_up) for f in source] == [(1, False), (2, False)]


@pytest.mark.parametrize("times", [{"start_s": 3.6}, {"start_s": 1000, "stop_s": 1001}])
def test_a_range_without_frames_is_refused(
    tmp_path: Path, video: SimpleNamespace, times: dict[str, float]
) -> None:
    path = _clip(tmp_path, video, "a.mp4", "libx264")
    with pytest.raises(VideoError, match="no frame from"):
        open_source(path, options=InputOptions(**times))


@pytest.mark.parametrize(
    "times",
    [
        {"start_s": -1},
        {"stop_s": -1},
        {"stop_s": 0},
        {"start_s": 2, "stop_s": 2},
        {"start_s": float("nan")},
        {"stop_s": float("inf")},
        {"warm_up_s": -0.5},
    ],
)
def test_impossible_times_are_refused(times: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r"start_s|stop_s|warm_up_s"):
        InputOptions(**times)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_sound_is_that_of_the_part(tmp_path: Path, video: SimpleNamespace, name: str) -> None:
    path = video.write_clip(
        tmp_path / name, frames=150, width=64, height=48, rate=PAL, sound_s=6, options={"g": "12"}
    )
    clip = open_source(path, options=InputOptions(start_s=4, stop_s=5)).clip
    assert clip.stop is not None
    with (
        av.open(str(tmp_path / "cut.mkv"), "w") as output,
        AudioCopy(path, output, start=clip.start, stop=clip.stop, notice=print) as audio,
    ):
        output.start_encoding()
        audio.copy_until(None)
    expected = [
        (time - clip.start, data)
        for time, data in video.sound_packets(path)
        if clip.start <= time < clip.stop
    ]
    written = video.sound_packets(tmp_path / "cut.mkv")
    assert len(written) > 40
    for (time, data), (wanted, whole_data) in zip(written, expected, strict=True):
        assert whole_data.endswith(data)  # MPEG-TS puts a header before each packet
        assert abs(time - wanted) <= Fraction(1, 1000)


def test_images_are_trimmed_by_their_rate(tmp_path: Path, video: SimpleNamespace) -> None:
    for index in range(10):
        Image.fromarray(video.numbered(index, width=128, height=48)).save(tmp_path / f"{index}.png")
    source = open_source(tmp_path, rate=10, options=InputOptions(start_s=0.5, stop_s=0.8, warm_up_s=0.2))
    frames = list(source)
    assert [video.number(f.image) for f in frames] == [3, 4, 5, 6, 7]
    assert [f.warm_up for f in frames] == [True, True, False, False, False]
    assert (source.clip.start, source.frame_count) == (Fraction(1, 2), 3)
    assert [video.number(f.image) for f in source.frames_from(3)] == [6, 7]
    with pytest.raises(VideoError, match="no frame from 1 s"):
        open_source(tmp_path, rate=10, options=InputOptions(start_s=1))
