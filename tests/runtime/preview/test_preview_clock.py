"""Time in the preview, by a clock that the tests set."""

from __future__ import annotations

import pytest

from rvm_trt.runtime.preview.clock import Clock, Meter


def test_frames_are_due_by_their_timestamps() -> None:
    clock = Clock()
    assert clock.wait_s(40.0, now=100.0) == 0  # the first is, whatever its time
    assert clock.wait_s(40.5, now=100.1) == pytest.approx(0.4)
    assert clock.wait_s(40.5, now=100.5) == 0
    clock.restart()
    assert clock.wait_s(3.0, now=200.0) == 0


def test_a_little_lateness_is_caught_up_and_much_is_not() -> None:
    clock = Clock()
    clock.wait_s(0.0, now=10.0)
    assert clock.wait_s(1.0, now=11.05) == 0
    assert clock.wait_s(2.0, now=11.1) == pytest.approx(0.9)
    assert clock.wait_s(2.0, now=15.0) == 0
    assert clock.wait_s(3.0, now=15.0) == pytest.approx(1.0)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_jump_of_the_timestamps_does_not_stop_the_show(jump: float) -> None:
    clock = Clock()
    clock.wait_s(0.0, now=10.0)
    wait = clock.wait_s(jump, now=10.0)
    assert wait <= 2
    assert clock.wait_s(jump + 0.04, now=10.0 + wait) == pytest.approx(0.04)


def test_speed_is_that_of_the_last_second() -> None:
    meter = Meter()
    assert (meter.fps, meter.frame_ms) == (0, 0)
    for index in range(10):
        meter.add(now=0.1 * index, took_s=0.02)
    assert meter.fps == pytest.approx(10)
    assert meter.frame_ms == pytest.approx(20)
    for index in range(60):
        meter.add(now=10 + 0.05 * index, took_s=0.03)
    assert meter.fps == pytest.approx(20)
    assert meter.frame_ms == pytest.approx(30)
    meter.pause()
    meter.add(now=99, took_s=0.03)
    assert meter.fps == 0
    assert meter.frame_ms == pytest.approx(30)
    meter.restart()
    assert meter.frame_ms == 0
