"""A signal may come while a source is ended, and end it too: it never waits for what it has interrupted."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from rvm_trt.runtime.video.source import Source, open_source


class Plugged:
    """What OpenCV gives for a camera."""

    def __init__(self, *_: Any) -> None:
        pass

    def set(self, *_: float) -> bool:
        return True

    def get(self, _: int) -> float:
        return 25.0

    def read(self) -> tuple[bool, Any]:
        return True, np.zeros((48, 64, 3), np.uint8)

    def release(self) -> None:
        pass


def open_camera(_: Path, monkeypatch: pytest.MonkeyPatch, __: SimpleNamespace) -> Source:
    there = Path.exists
    monkeypatch.setattr(cv2, "VideoCapture", Plugged)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/dev/video3" or there(path))
    return open_source("/dev/video3")


def open_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch, video: SimpleNamespace) -> Source:
    clip = video.write_clip(folder / "in.mkv", frames=3, width=64, height=48)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(clip.open("rb")))
    return open_source("-")


@pytest.mark.parametrize("opened", [open_camera, open_standard_input])
def test_an_end_within_an_end_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: SimpleNamespace, opened: Callable[..., Source]
) -> None:
    source, ends = opened(tmp_path, monkeypatch, video), []

    def end_again(*_: Any) -> Any:
        source.close()  # before each line of what is under way, as a signal's handler would
        ends.append(1)
        return end_again

    def end() -> None:
        sys.settrace(end_again)
        source.close()
        sys.settrace(None)

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(ends) > 3
