"""What a frame costs the host, counted: calls of the device, and objects that stay."""

from __future__ import annotations

import pytest

from rvm_trt.benchmarks.schedule_overhead import measure


@pytest.mark.parametrize("depth", [2, 3])
def test_frames_leave_nothing_behind(depth: int) -> None:
    result = measure(frames=2000, depth=depth)
    assert result["blocks_grown"] < 100
    assert result["traced_bytes_grown"] < 2000
    assert result["frames"] == 2000


def test_a_frame_is_fourteen_calls_of_the_device_whatever_the_depth() -> None:
    # Upload, sample, network, compose, download; four waits, four records; the one synchronize of `collect`.
    assert {measure(frames=50, depth=depth)["device_calls_per_frame"] for depth in (1, 2, 3)} == {14}
