"""Live matting: the newest frame wins, the delay stays bounded, and nothing is left running."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rvm_trt.errors import VideoError
from rvm_trt.runtime.live import matte_live


class Ticking:
    """A camera whose frames carry their number; it goes away after some."""

    def __init__(self, *, every_s: float, frames: int = 10_000) -> None:
        self.given = 0
        self._every_s = every_s
        self._frames = frames

    def read(self) -> tuple[Any, float]:
        if self.given == self._frames:
            raise VideoError("camera", got="no frame", expected="one", todo="Plug it in.")
        time.sleep(self._every_s)
        self.given += 1
        return np.full((2, 2, 3), self.given % 256, np.uint8), time.monotonic()


class Session:
    """Takes its time; the matte is the frame."""

    def __init__(self, *, takes_s: float) -> None:
        self._takes_s = takes_s

    def process(self, frame: Any) -> Any:
        time.sleep(self._takes_s)
        return SimpleNamespace(composite=frame)


def stop_after(count: int, shown: list[int]) -> Any:
    def show(matte: Any) -> None:
        shown.append(int(matte.composite[0, 0, 0]))
        if len(shown) == count:
            raise KeyboardInterrupt

    return show


def test_a_slow_network_drops_frames_and_shows_the_newest_in_order() -> None:
    shown: list[int] = []
    camera = Ticking(every_s=0.002)
    report = matte_live(camera, Session(takes_s=0.02), stop_after(10, shown))
    assert shown == sorted(set(shown))
    assert report.dropped > 0
    # Every frame was shown, replaced by a newer one, or one of the last two, which nobody took any more.
    assert camera.given - 2 <= len(shown) + report.dropped <= camera.given


def test_a_fast_network_shows_every_frame() -> None:
    shown: list[int] = []
    report = matte_live(Ticking(every_s=0.02), Session(takes_s=0), stop_after(8, shown))
    assert shown == list(range(1, 9))
    assert report.dropped == 0


def test_the_delay_does_not_grow() -> None:
    shown: list[int] = []
    delays: list[int] = []
    camera = Ticking(every_s=0.001)
    show = stop_after(30, shown)

    def watched(matte: Any) -> None:
        delays.append(camera.given - int(matte.composite[0, 0, 0]))
        show(matte)

    matte_live(camera, Session(takes_s=0.005), watched)
    # A queue would be more than a hundred frames behind by then.
    assert max(delays[20:]) < 60


def test_it_ends_by_itself_after_the_time_given() -> None:
    report = matte_live(Ticking(every_s=0.005), Session(takes_s=0), lambda _: None, seconds=0.05)
    assert 0.05 <= report.seconds < 5
    assert report.frames > 1


def test_a_camera_that_goes_away_is_an_error_and_its_last_frame_was_shown() -> None:
    shown: list[int] = []
    with pytest.raises(VideoError, match="camera: got no frame"):
        matte_live(Ticking(every_s=0.01, frames=4), Session(takes_s=0), stop_after(99, shown))
    assert shown == [1, 2, 3, 4]


def test_no_thread_is_left_whatever_ends_it() -> None:
    before = threading.active_count()

    def broken(_: Any) -> None:
        raise VideoError("virtual camera", got="gone", expected="there", todo="Start it.")

    with pytest.raises(VideoError, match="virtual camera"):
        matte_live(Ticking(every_s=0.001), Session(takes_s=0), broken)
    matte_live(Ticking(every_s=0.001), Session(takes_s=0), stop_after(1, []))
    assert threading.active_count() == before
