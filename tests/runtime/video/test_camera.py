"""Cameras, with a stand-in for OpenCV's: none is plugged in where tests run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video import camera as module
from rvm_trt.runtime.video.camera import Camera, is_camera
from rvm_trt.runtime.video.job import matte_video
from rvm_trt.runtime.video.source import open_source


class Plugged:
    """What OpenCV gives for a camera: frames in blue, green, red, of a size of its own."""

    frames = 3
    opened: Plugged

    def __init__(self, index: int, *_: Any) -> None:
        Plugged.opened = self
        self.index = index
        self.settings: dict[int, float] = {}
        self.released = 0
        self._left = self.frames

    def set(self, key: int, value: float) -> bool:
        self.settings[key] = value
        return True

    def get(self, key: int) -> float:
        return 25.0 if key == cv2.CAP_PROP_FPS else 0.0

    def read(self) -> tuple[bool, Any]:
        if self._left == 0:
            return False, None
        self._left -= 1
        return True, np.full((48, 64, 3), (10, 20, 30), np.uint8)

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> type[Plugged]:
    monkeypatch.setattr(cv2, "VideoCapture", Plugged)
    there = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: str(self) == "/dev/video3" or there(self))
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(Plugged, "frames", 3)
    return Plugged


def test_what_is_called_a_camera() -> None:
    assert is_camera("/dev/video0")
    assert not any(map(is_camera, ("video0", "/dev/video", "/dev/sda", "/dev/video0/x", "clip.mp4")))


def test_a_camera_tells_the_size_it_gives_and_its_frames_are_rgb(plugged: type[Plugged]) -> None:
    with Camera("/dev/video3", width=1920, height=1080) as camera:
        assert (camera.width, camera.height, camera.rate) == (64, 48, 25.0)
        image, _ = camera.read()
    assert image.shape == (48, 64, 3)
    assert tuple(image[0, 0]) == (30, 20, 10)
    assert (plugged.opened.index, plugged.opened.released) == (3, 1)
    assert plugged.opened.settings[cv2.CAP_PROP_FRAME_WIDTH] == 1920


def test_a_camera_that_is_unplugged_is_one_clear_error(plugged: type[Plugged]) -> None:
    with Camera("/dev/video3") as camera:
        camera.read()
        camera.read()
        with pytest.raises(VideoError, match=r"camera '/dev/video3': got no frame for .*Plug it in"):
            camera.read()
    assert plugged.opened.released == 1


def test_a_camera_that_gives_nothing_is_refused_and_given_back(
    plugged: type[Plugged], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plugged, "frames", 0)
    with pytest.raises(VideoError, match="no frame for"):
        Camera("/dev/video3")
    assert plugged.opened.released == 1


def test_a_camera_that_is_not_there_is_refused(plugged: type[Plugged]) -> None:
    with pytest.raises(VideoError, match=r"camera '/dev/video9': got no such device, expected one of"):
        Camera("/dev/video9")
    assert not hasattr(plugged, "opened") or plugged.opened.index != 9


def test_a_recording_ends_well_where_the_camera_goes_away(
    plugged: type[Plugged], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, video: SimpleNamespace
) -> None:
    monkeypatch.setattr(Plugged, "frames", 9)
    source = open_source("/dev/video3")  # which looks at the first
    report = matte_video(source, tmp_path / "out.mkv", video.FakeSession(width=64, height=48))
    assert report.frames == 8
    (warning,) = report.warnings
    assert warning.startswith("The camera /dev/video3 went away (no frame for")
    assert "8 frames" in warning
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mkv"]
    assert plugged.opened.released == 1


def test_a_camera_that_goes_away_before_its_first_frame_is_an_error(
    plugged: type[Plugged], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, video: SimpleNamespace
) -> None:
    monkeypatch.setattr(Plugged, "frames", 1)
    source = open_source("/dev/video3")
    with pytest.raises(VideoError, match="camera '/dev/video3': got no frame"):
        matte_video(source, tmp_path / "out.mkv", video.FakeSession(width=64, height=48))
    assert list(tmp_path.iterdir()) == []
    assert plugged.opened.released == 1
