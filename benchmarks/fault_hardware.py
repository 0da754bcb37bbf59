"""Faults of what a job leans on: a disk that is full, an encoder that fails, a camera that is unplugged."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import av

from rvm_trt.benchmarks.fault_runner import start
from rvm_trt.benchmarks.fault_scenario import TARGETS, TIMEOUT_S, Result, command
from rvm_trt.benchmarks.good_clips import HEIGHT, WIDTH, picture, write_good_clip

_CAMERA = "/dev/video0"
_CAMERA_FRAMES = 25


def full_disk(folder: Path, engines: Path) -> Iterator[Result]:
    """A file system in memory that is too small; no runs where nothing may be mounted (it takes root)."""
    clip = write_good_clip(folder / "in.mp4", ".mp4", frames=600)
    for kib in (4, 16, 64):
        for target, more in TARGETS:
            place = folder / f"{kib}-{target}"
            place.mkdir()
            with _mounted(place, f"size={kib}k") as mounted:
                if not mounted:
                    return
                streams = folder / f"streams-{place.name}"
                child = start(command(clip, place / target, engines, *more), streams)
                outcome = child.wait(timeout_s=TIMEOUT_S)
                faults = [] if outcome.code == 1 else [f"exit code {outcome.code}, not 1"]
                # What is kept for --resume is no rubbish, and its error says that it is there.
                kept = "--resume" in outcome.err
                faults += [f"left behind: {each.name}" for each in place.iterdir() if not kept]
                yield Result(
                    name=f"{target}, {kib} KiB", outcome=outcome, output=place / target, faults=faults
                )


def read_only_disk(folder: Path, engines: Path) -> Iterator[Result]:
    """A file system that may only be read; no runs where nothing may be mounted (it takes root)."""
    clip = write_good_clip(folder / "in.mp4", ".mp4")
    place = folder / "mounted"
    place.mkdir()
    with _mounted(place, "ro") as mounted:
        for target, more in TARGETS if mounted else ():
            child = start(command(clip, place / target, engines, *more), folder / f"streams-{target}")
            outcome = child.wait(timeout_s=TIMEOUT_S)
            faults = [] if outcome.code == 1 else [f"exit code {outcome.code}, not 1"]
            yield Result(name=target, outcome=outcome, output=place / target, faults=faults)


@contextmanager
def _mounted(place: Path, options: str) -> Iterator[bool]:
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def failing_encoder(folder: Path, engines: Path) -> Iterator[Result]:
    """The library's encoder gives an error: at once, after some frames, and when it is emptied."""
    clip = write_good_clip(folder / "in.mp4", ".mp4")
    for target, more in TARGETS[:-1]:
        for calls in (0, 7, 40):
            place = folder / f"{calls}-{target}"
            place.mkdir()
            child = start(
                command(clip, place / target, engines, *more),
                place / "streams",
                prepare=partial(_break_encoder, calls),
            )
            outcome = child.wait(timeout_s=TIMEOUT_S)
            faults = [] if outcome.code == 1 else [f"exit code {outcome.code}, not 1"]
            faults += [f"left behind: {each.name}" for each in place.iterdir() if each.name != "streams"]
            yield Result(
                name=f"{target}, after {calls} calls", outcome=outcome, output=place / target, faults=faults
            )


def _break_encoder(calls: int) -> None:
    """Lets the encoder of every job in this process fail after so many calls."""
    from rvm_trt.runtime.video import encoding

    class Failing:
        def __init__(self, context: av.VideoCodecContext) -> None:
            self._context = context
            self._left = calls

        def encode(self, frame: av.VideoFrame | None) -> Any:
            if self._left == 0:
                raise av.error.ExternalError(-1, "Generic error in an external library", "encoder")
            self._left -= 1
            return self._context.encode(frame)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._context, name)

    whole = encoding.Encoding.open
    mock.patch.object(encoding.Encoding, "open", lambda self, stream: Failing(whole(self, stream))).start()


def unplugged_camera(folder: Path, engines: Path) -> Iterator[Result]:
    """A camera gives a second of frames, and then none: the recording ends with what came."""
    for target, more in TARGETS:
        place = folder / target
        place.mkdir()
        child = start(
            command(_CAMERA, place / target, engines, *more), place / "streams", prepare=_plug_in_a_camera
        )
        outcome = child.wait(timeout_s=TIMEOUT_S)
        faults = [] if outcome.code == 0 else [f"exit code {outcome.code}, not 0"]
        faults += [] if (place / target).exists() else ["no recording"]
        faults += [] if "warning: " in outcome.err else ["nothing said"]
        yield Result(name=target, outcome=outcome, output=place / target, faults=faults)


def _plug_in_a_camera() -> None:
    """Puts a camera that is soon unplugged in the place of OpenCV's."""
    import cv2

    class Unplugged:
        def __init__(self, *_: Any) -> None:
            self._given = 0

        def set(self, *_: Any) -> bool:
            return True

        def get(self, _: int) -> float:
            return 25.0

        def read(self) -> tuple[bool, Any]:
            if self._given == _CAMERA_FRAMES:
                return False, None
            self._given += 1
            return True, picture(self._given, WIDTH, HEIGHT)

        def release(self) -> None:
            self._given = _CAMERA_FRAMES

    there = Path.exists
    mock.patch.object(cv2, "VideoCapture", Unplugged).start()
    mock.patch.object(Path, "exists", lambda path: str(path) == _CAMERA or there(path)).start()
