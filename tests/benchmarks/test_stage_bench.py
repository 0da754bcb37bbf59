"""The stages of a frame, timed in a real session on a tiny network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from rvm_trt.benchmarks.entrants import Settings
from rvm_trt.benchmarks.stage_bench import TimedDevice, measure_stages
from rvm_trt.profile import Profile
from rvm_trt.runtime.cpu import CpuDevice, CpuOperation
from rvm_trt.runtime.device import Device

PROFILE = Profile(width=128, height=96, ratio=0.5)


@pytest.fixture
def settings(built: Callable[..., Any], tmp_path: Path) -> Settings:
    frames = np.random.default_rng(5).integers(0, 256, (2, 96, 128, 3), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    return Settings(
        entrant="rvm-trt-fp32",
        frames=tmp_path / "frames.npy",
        profile=PROFILE,
        threads=1,
        engine=built(PROFILE).path,
    )


def test_every_stage_of_a_session_is_timed(settings: Settings, tmp_path: Path) -> None:
    entry = measure_stages(settings, frames=5, folder=tmp_path)
    assert entry is not None
    assert (entry["entrant"], entry["frames"]) == ("rvm-trt-fp32", 5)
    medians = entry["median_ms"]
    assert {"sample", "core", "compose", "rest"} <= set(medians)
    assert all(value > 0 for stage, value in medians.items() if stage != "rest")
    assert medians["core"] > medians["sample"]


def test_an_operation_is_timed_alone_and_in_a_graph() -> None:
    device = TimedDevice(cast(Device, CpuDevice()))
    stream, calls = device.stream("net"), []
    first, second = (
        CpuOperation(name=name, work=lambda name=name: calls.append(name)) for name in ("core.0", "head.0")
    )
    copy = CpuOperation(name="upload source", work=lambda: calls.append("upload"))
    device.enqueue(first, stream)
    assert set(device.busy_ms) == {"core"}
    device.busy_ms.clear()
    device.enqueue(device.graph("network.0", [first, second], stream), stream)
    device.enqueue(copy, stream)
    assert set(device.busy_ms) == {"core", "head"}
    assert calls == ["core.0", "core.0", "head.0", "upload"]
