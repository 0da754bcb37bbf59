"""``rvm-trt matte`` on a camera, with stand-ins for OpenCV and the network: how a recording ends."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from rvm_trt.cli import main

WIDTH, HEIGHT = 64, 48


class Webcam:
    """What OpenCV gives for a camera that is unplugged after some frames.

    Attributes:
        frames: how many it gives, the one that is looked at when it is opened included.
        at_frame: called with the number of each frame that it gives.
    """

    frames = 10
    at_frame: Callable[[int], None]

    def __init__(self, *_: Any) -> None:
        self._given = 0

    def set(self, *_: float) -> bool:
        return True

    def get(self, _: int) -> float:
        return 25.0

    def read(self) -> tuple[bool, Any]:
        if self._given >= self.frames:
            return False, None
        Webcam.at_frame(self._given)
        self._given += 1
        return True, np.full((HEIGHT, WIDTH, 3), 9, np.uint8)

    def release(self) -> None:
        pass


class Session:
    """Takes the place of the network."""

    def __init__(self, engine: Any, **_: Any) -> None:
        self.profile = engine.profile

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, frames: Any) -> Iterator[Any]:
        for frame in frames:
            yield SimpleNamespace(composite=frame)

    def reset(self) -> None:
        pass


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = Path.exists
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rvm_trt.cli.COMMANDS", ("matte",))
    monkeypatch.setattr(cv2, "VideoCapture", Webcam)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/dev/video7" or there(path))
    monkeypatch.setattr("rvm_trt.runtime.video.camera._PATIENCE_S", 0.05)
    monkeypatch.setattr(Webcam, "at_frame", lambda _: None, raising=False)
    monkeypatch.setattr("rvm_trt.runtime.session.MattingSession", Session)
    monkeypatch.setattr(
        "rvm_trt.engines.provision.provide_engine",
        lambda profile, **_: SimpleNamespace(
            profile=profile, manifest=SimpleNamespace(seal=lambda: "0" * 64)
        ),
    )


def record(*more: str) -> int:
    return main(["matte", "/dev/video7", "-o", "out.mkv", "--precision", "fp32", "--quiet", *more])


def frames_of(path: str) -> int:
    with av.open(path) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_camera_that_goes_away_leaves_a_whole_recording_and_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert record() == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: out.mkv: The camera /dev/video7 went away")
    assert frames_of("out.mkv") == 9


def test_the_report_says_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert record("--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames"] == 9
    assert "went away" in report["warnings"][0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_recording_well(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    def send(index: int) -> None:
        time.sleep(0.001)
        if index == 5:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Webcam, "frames", 10**9)
    monkeypatch.setattr(Webcam, "at_frame", send)
    before = signal.signal(number, signal.default_int_handler)  # whatever the tests were started with
    try:
        assert record() == 0
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert frames_of("out.mkv") >= 4


def test_to_ends_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Webcam, "frames", 10**9)
    monkeypatch.setattr(Webcam, "at_frame", lambda _: time.sleep(0.005))
    assert record("--to", "0.1") == 0
    assert frames_of("out.mkv") >= 1


def test_a_camera_that_was_opened_for_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[Webcam] = []
    monkeypatch.setattr(Webcam, "release", lambda camera: given_back.append(camera))
    Path("out.mkv").write_text("mine")
    assert record() == 1
    assert len(given_back) == 1
