"""The way to a frame deep in a file: from a key frame near it, and the same frames as from the beginning."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.job import matte_video
from rvm_trt.runtime.video.job_options import JobOptions
from rvm_trt.runtime.video.source import Frame, open_source

PAL = Fraction(25)
_FRAMES = 90
_PART = InputOptions(start_s=2.6, stop_s=3.2, warm_up_s=0.2)
_UNEVEN = [40 * index + (7 * index % 13) for index in range(_FRAMES)]
_CLIPS: list[tuple[str, dict[str, Any]]] = [
    ("closed.mp4", {"options": {"g": "12"}}),
    ("open.mp4", {"options": {"x264-params": "open-gop=1:bframes=3:keyint=12"}}),
    ("open.mkv", {"options": {"x264-params": "open-gop=1:bframes=3:keyint=12"}}),
    ("open.ts", {"options": {"x264-params": "open-gop=1:bframes=3:keyint=12"}}),
    ("refreshed.ts", {"options": {"x264-params": "intra-refresh=1:keyint=12"}}),
    ("uneven.mp4", {"options": {"g": "12"}, "pts": _UNEVEN, "time_base": Fraction(1, 1000)}),
    ("uneven.mkv", {"options": {"g": "12"}, "pts": _UNEVEN, "time_base": Fraction(1, 1000)}),
    ("rounded.mkv", {"options": {"g": "12"}, "rate": Fraction(30000, 1001)}),
    ("raw.264", {"options": {"g": "12"}}),
]


def _clip(folder: Path, video: SimpleNamespace, name: str, **more: Any) -> Path:
    path: Path = video.write_clip(
        folder / name, frames=_FRAMES, width=128, height=48, **({"rate": PAL} | more)
    )
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets an entry for each frame that is decoded from now on."""
    from rvm_trt.runtime.video import reader

    count: list[int] = []
    plain = reader.Reader._pictures

    def counted(self: reader.Reader, packet: Any) -> Iterator[Any]:
        for picture in plain(self, packet):
            count.append(picture.pts)
            yield picture

    monkeypatch.setattr(reader.Reader, "_pictures", counted)
    return count


def _same(frames: list[Frame], expected: list[Frame]) -> bool:
    return [(f.index, f.pts, f.duration, f.warm_up) for f in frames] == [
        (f.index, f.pts, f.duration, f.warm_up) for f in expected
    ] and all(np.array_equal(a.image, b.image) for a, b in zip(frames, expected, strict=True))


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_a_part_is_not_decoded_from_the_beginning(
    tmp_path: Path, video: SimpleNamespace, decoded: list[int], name: str
) -> None:
    part = open_source(_clip(tmp_path, video, name, options={"g": "12"}), options=_PART)
    decoded.clear()
    assert len(list(part)) == 20
    assert len(decoded) < 50


@pytest.mark.parametrize(("name", "more"), _CLIPS, ids=[name for name, _ in _CLIPS])
def test_frames_from_an_index_are_those_of_the_whole(
    tmp_path: Path, video: SimpleNamespace, name: str, more: dict[str, Any]
) -> None:
    path = _clip(tmp_path, video, name, **more)
    for options in (InputOptions(), _PART):
        whole = list(open_source(path, options=options))
        for index in (7, len(whole) - 3):
            marked = open_source(path, options=options)
            before = whole[index - 1]
            marked.mark(before.index, before.pts * before.time_base)
            again = open_source(path, options=options)
            list(again)
            for source in (marked, again, open_source(path, options=options)):
                assert _same(list(source.frames_from(index)), whole[index:])


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_marked_frame_is_not_sought_from_the_beginning(
    tmp_path: Path, video: SimpleNamespace, decoded: list[int], name: str
) -> None:
    path = _clip(tmp_path, video, name, options={"g": "12"})
    last = list(open_source(path))[-5]
    source = open_source(path)
    source.mark(last.index, last.pts * last.time_base)
    decoded.clear()
    assert [video.number(f.image) for f in source.frames_from(last.index + 1)] == list(range(86, 90))
    assert len(decoded) < 30


def test_a_mark_between_frames_leads_nowhere_else(tmp_path: Path, video: SimpleNamespace) -> None:
    path = _clip(tmp_path, video, "a.mp4", options={"g": "12"})
    source = open_source(path)
    source.mark(40, Fraction(2) + Fraction(1, 1000))
    assert [video.number(f.image) for f in source.frames_from(60)] == list(range(60, 90))


def test_a_part_of_joined_transport_streams_is_not_that_of_another(
    tmp_path: Path, video: SimpleNamespace
) -> None:
    part = _clip(tmp_path, video, "a.ts", options={"g": "12"}).read_bytes()
    (tmp_path / "b.ts").write_bytes(part * 2)
    whole = list(open_source(tmp_path / "b.ts"))
    for start in (2, 5):
        source = open_source(tmp_path / "b.ts", options=InputOptions(start_s=start, stop_s=start + 0.4))
        written = [frame for frame in source if not frame.warm_up]
        expected = whole[25 * start : 25 * start + 10]
        assert [f.pts for f in written] == [f.pts for f in expected]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(written, expected, strict=True))


def test_a_resumed_job_does_not_decode_what_is_done(
    tmp_path: Path, video: SimpleNamespace, decoded: list[int]
) -> None:
    class Session:
        """Answers at once, and fails where it is told to."""

        profile = video.FakeSession(width=128, height=48).profile

        def __init__(self, stop: int | None) -> None:
            self._stop = stop

        def reset(self) -> None:
            """It remembers nothing."""

        def state(self) -> list[Any]:
            return []

        def restore(self, states: Any) -> None:
            assert not list(states)

        def run(self, frames: Any) -> Iterator[Any]:
            for frame in frames:
                if self._stop is not None and video.number(frame) == self._stop:
                    raise KeyboardInterrupt
                yield SimpleNamespace(composite=frame)

    path = _clip(tmp_path, video, "in.mp4", options={"g": "12"}, sound_s=3)
    matte_video(path, tmp_path / "one.mp4", Session(None), job=JobOptions(segment_frames=20))
    with pytest.raises(KeyboardInterrupt):
        matte_video(path, tmp_path / "two.mp4", Session(85), job=JobOptions(segment_frames=20))
    source = open_source(path)
    decoded.clear()
    job = JobOptions(segment_frames=20, resume=True)
    assert matte_video(source, tmp_path / "two.mp4", Session(None), job=job).resumed_at == 80
    assert len(decoded) < 40
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
