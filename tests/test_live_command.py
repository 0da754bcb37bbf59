"""``rvm-trt live``, with stand-ins for the camera, the virtual camera and the network."""

from __future__ import annotations

import json
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rvm_trt.cli import main
from rvm_trt.errors import VideoError
from rvm_trt.runtime.live import matte_live


class Webcam:
    width, height, rate = 64, 48, 30.0

    def __init__(self, device: str, **wanted: Any) -> None:
        self.asked = (device, wanted)

    def __enter__(self) -> Webcam:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> tuple[Any, float]:
        time.sleep(0.002)
        return np.zeros((48, 64, 3), np.uint8), time.monotonic()


class VirtualCamera:
    sent: list[Any]
    refuses = False

    def __init__(self, *_: float, device: str | None) -> None:
        if self.refuses:
            raise RuntimeError("no v4l2loopback\ndevice")
        self.device = device or "/dev/video10"
        VirtualCamera.sent = []

    def __enter__(self) -> VirtualCamera:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, image: Any) -> None:
        VirtualCamera.sent.append(image)


class Session:
    def __init__(self, _engine: Any, *, background: Any, **_: Any) -> None:
        self.background = background

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def process(self, frame: Any) -> Any:
        return SimpleNamespace(composite=np.full_like(frame, self.background))


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rvm_trt.cli.COMMANDS", ("live",))
    virtual = ModuleType("pyvirtualcam")
    vars(virtual).update(Camera=VirtualCamera)
    monkeypatch.setitem(sys.modules, "pyvirtualcam", virtual)
    monkeypatch.setattr(VirtualCamera, "refuses", False)
    monkeypatch.setattr("rvm_trt.runtime.video.camera.Camera", Webcam)
    monkeypatch.setattr("rvm_trt.runtime.session.MattingSession", Session)
    monkeypatch.setattr("rvm_trt.engines.provision.provide_engine", lambda *_, **__: None)


def test_composites_reach_the_virtual_camera(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", "--seconds", "0.05", "--background", "1,2,3", "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["frames"] == len(VirtualCamera.sent) > 1
    assert tuple(VirtualCamera.sent[0][0, 0]) == (1, 2, 3)
    assert "Choose /dev/video10 in your video call" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "big"], "--size: got 'big', expected as 1280x720"),
        (["--background", "greeen"], "'greeen'"),
        (["--background", "transparent"], "--background: got none, expected a colour or an image"),
        (["--background", "blur"], "changes from frame to frame"),
    ],
)
def test_mistakes_are_one_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["live", *arguments]) == 1
    err = capsys.readouterr().err
    assert err.startswith("rvm-trt live: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_without_a_virtual_camera_it_says_how_to_get_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VirtualCamera, "refuses", True)
    assert main(["live"]) == 1
    assert "no v4l2loopback device, expected a virtual camera that is free. On Linux: sudo modprobe" in (
        capsys.readouterr().err
    )


def test_the_message_has_a_line_of_its_own_behind_the_count(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = iter(range(11))

    def read(_: Webcam) -> tuple[Any, float]:
        if next(frames) == 10:
            raise VideoError("camera", got="no frame", expected="one", todo="Plug it in.")
        return np.zeros((48, 64, 3), np.uint8), time.monotonic()

    def count(*arguments: Any, progress: Any, **options: Any) -> Any:
        progress(10, 0)
        return matte_live(*arguments, progress=None, **options)

    monkeypatch.setattr(Webcam, "read", read)
    monkeypatch.setattr("rvm_trt.runtime.live.matte_live", count)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["live"]) == 1
    *_, counted, message = capsys.readouterr().err.split("\n")[:-1]
    assert counted.endswith("10 frames, 0 dropped")
    assert message == "rvm-trt live: camera: got no frame, expected one. Plug it in."
