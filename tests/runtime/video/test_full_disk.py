"""A disk that is full, at the header or later: one error, nothing under the name, and no file or thread left open."""

from __future__ import annotations

import errno
import gc
import os
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.job import matte_video
from rvm_trt.runtime.video.job_options import JobOptions
from rvm_trt.runtime.video.output import EncodeOptions
from rvm_trt.runtime.video.sink import open_sink
from rvm_trt.runtime.video.source import open_source


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: a write fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def nothing_left_open(folder: Path) -> Iterator[None]:
    """No file of a folder is open afterwards, and not because garbage was collected."""
    gc.disable()
    try:
        yield
        links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
        opened = Counter(os.readlink(link) for link in links if link.is_symlink())  # noqa: PTH115
        assert [name for name in opened if name.startswith(str(folder))] == []
    finally:
        gc.enable()


CASES: list[tuple[str, dict[str, Any]]] = [
    ("out.mp4", {}),
    ("out.mkv", {"codec": "ffv1"}),
    ("out.webm", {}),
    ("out.mov", {"codec": "prores"}),
    ("out", {}),
    ("out", {"codec": "exr"}),
]


class Session(SimpleNamespace):
    def __init__(self, fake: Any) -> None:
        super().__init__(profile=fake.profile, reset=fake.reset, run=fake.run)

    def state(self) -> tuple[Any, ...]:
        return ()


@pytest.mark.parametrize(("name", "how"), CASES)
def test_a_job(tmp_path: Path, video: SimpleNamespace, name: str, how: dict[str, Any]) -> None:
    source = video.write_clip(tmp_path / "in.mkv", frames=12, sound_s=0.4)
    (tmp_path / "place").mkdir()
    job = JobOptions(segment_frames=8)
    ends = []
    for limit in (0, 700, 6000, 20_000, 10_000_000):
        output = tmp_path / "place" / name
        with nothing_left_open(tmp_path), files_of_at_most(limit):
            try:
                matte_video(
                    source,
                    output,
                    Session(video.FakeSession()),
                    options=EncodeOptions(**how),
                    job=job,
                    kind="composite",
                    overwrite=True,
                )
                ends.append("whole")
            except VideoError as error:
                assert "File too large" in error.got
                assert not output.exists()
                ends.append("full")
    assert ends[:2] == ["full", "full"]
    assert ends[-1] == "whole"
    assert [entry.name for entry in (tmp_path / "place").iterdir()] == [name]


@pytest.mark.parametrize(("name", "how"), CASES)
def test_an_output_alone(tmp_path: Path, video: SimpleNamespace, name: str, how: dict[str, Any]) -> None:
    source = open_source(video.write_clip(tmp_path / "in.mkv", frames=12, sound_s=0.4))
    (tmp_path / "place").mkdir()
    for limit in (0, 40, 700):
        with (
            nothing_left_open(tmp_path / "place"),
            files_of_at_most(limit),
            pytest.raises(VideoError, match="File too large"),
            open_sink(
                tmp_path / "place" / name, clip=source.clip, kind="composite", options=EncodeOptions(**how)
            ) as sink,
        ):
            for frame in source:
                sink.write(frame.image)
        assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.parametrize("name", ["out.mkv", "out"])
def test_an_output_that_cannot_even_be_made(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    clip = open_source(video.write_clip(tmp_path / "in.mkv", frames=2)).clip
    monkeypatch.setattr("tempfile.mkstemp", full)
    monkeypatch.setattr("tempfile.mkdtemp", full)
    with (
        pytest.raises(VideoError, match="No space left on device"),
        open_sink(tmp_path / name, clip=clip, kind="composite"),
    ):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.mkv"]
