"""Whole frames through the CUDA runtime, its kernels and its network run on the CPU, against the CPU's own stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from cuda_host import HostKernels
from cuda_world import World, make_world
from host_gpu import kernel_runner, network_runner

from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.build import build_engine
from rvm_trt.options import Precision, Refiner
from rvm_trt.profile import Profile
from rvm_trt.runtime.cpu import CpuDevice
from rvm_trt.runtime.device import Bytes
from rvm_trt.runtime.opening import open_cpu_stages
from rvm_trt.runtime.schedule import Schedule

DEEP = Profile(width=161, height=97, ratio=0.6)
FAST = Profile(width=160, height=96, ratio=0.5, refiner=Refiner.FAST, batch=2)
WHOLE = Profile(width=70, height=90, ratio=1.0)
OUTPUTS = ("composite", "pha", "fgr", "rgba")


@pytest.fixture
def running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: Callable[..., Path], host: HostKernels
) -> Callable[..., World]:
    """``running(profile, precision)``: a world whose GPU computes, with an engine for TensorRT for RTX.

    What runs is the engine's network; its plan, which no stand-in reads, is not built.
    """
    monkeypatch.setattr(
        "rvm_trt.engines.tensorrt_engine.build_in_process",
        lambda _network, plan, **_: plan.write_bytes(b"plan"),
    )

    def make(profile: Profile, precision: str) -> World:
        engine = build_engine(
            exported(profile), backend="tensorrt-rtx", precision=precision, engines=tmp_path / "built"
        )
        stand_in = make_world(tmp_path, monkeypatch, profile=profile, precision=Precision(precision))
        stand_in.driver.run = kernel_runner(stand_in.driver, host)
        stand_in.tensorrt.run = network_runner(engine.file("network.onnx"))
        return World(driver=stand_in.driver, tensorrt=stand_in.tensorrt, engine=engine)

    return make


def mattes(schedule: Schedule, videos: Sequence[Sequence[Bytes]]) -> list[Bytes]:
    """Returns all outputs of all videos, frame by frame, with a background that changes."""
    results = []
    for number, frames in enumerate(zip(*videos, strict=True)):
        for lane in range(len(videos)):
            if (number + lane) % 2:
                schedule.set_background(image=np.full_like(frames[lane], 40 * number), lane=lane)
            else:
                schedule.set_background(colour=(10, 200, 90), lane=lane)
        schedule.submit(frames)
        slot = schedule.collect()
        results += [schedule.output(slot, lane).copy() for lane in range(len(videos))]
    return results


@pytest.mark.parametrize(
    ("profile", "precision", "beyond_one"),
    [(DEEP, "fp32", 0.0), (DEEP, "fp16", 1e-3), (FAST, "fp32", 1e-4), (WHOLE, "fp32", 0.0)],
    ids=["deep-fp32", "deep-fp16", "fast-fp32-batch", "whole-fp32"],
)
def test_frames_are_those_of_the_cpu(
    running: Callable[..., World],
    built: Callable[..., Engine],
    moving_frames: Callable[..., list[Bytes]],
    profile: Profile,
    precision: str,
    beyond_one: float,
) -> None:
    frames = moving_frames(profile.width, profile.height, 3)
    videos = [frames, frames[::-1]][: profile.batch]
    with open_cpu_stages(built(profile), OUTPUTS, threads=1) as stages:
        expected = mattes(Schedule(CpuDevice(), stages), videos)
    with running(profile, precision).schedule(OUTPUTS) as (schedule, _):
        got = mattes(schedule, videos)
    difference = np.abs(np.array(got).astype(int) - np.array(expected))
    assert (difference > 1).mean() <= beyond_one


def test_without_spill_suppression_the_colours_are_those_of_the_frame(
    running: Callable[..., World], moving_frames: Callable[..., list[Bytes]]
) -> None:
    frames = moving_frames(FAST.width, FAST.height, 2)
    videos = [frames, frames[::-1]]
    world = running(FAST, "fp32")
    with world.schedule(("pha", "fgr", "rgba")) as (schedule, _):
        kept = mattes(schedule, videos)
    with world.schedule(("pha", "fgr", "rgba"), spill_suppression=False) as (schedule, _):
        own = mattes(schedule, videos)
    shape = (FAST.height, FAST.width)
    sources = [frame for pair in zip(*videos, strict=True) for frame in pair]
    for frame, one, other in zip(sources, kept, own, strict=True):
        pha, fgr, rgba = np.split(other, np.cumsum([frame.size // 3, frame.size]))
        np.testing.assert_array_equal(pha, one[: pha.size])
        np.testing.assert_array_equal(fgr.reshape(*shape, 3), frame)
        np.testing.assert_array_equal(rgba.reshape(*shape, 4), np.dstack([frame, pha.reshape(*shape)]))
        assert (one != other).any()
