"""Frames through the schedule on a GPU: what the driver is asked for, in which order, with which addresses."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_world import SMALL, World, make_world
from stand_in_driver import StandInDriver

from rvm_trt.errors import EngineError
from rvm_trt.options import Precision
from rvm_trt.profile import Profile
from rvm_trt.runtime.cuda import CudaDevice
from rvm_trt.runtime.kernel_params import compose_launch, head_launch, sample_launch
from rvm_trt.runtime.pixels import PixelFormat
from rvm_trt.runtime.schedule import Schedule

FRAME = np.zeros((SMALL.height, SMALL.width, 3), np.uint8)
LOW = SMALL.low_width * SMALL.low_height
# Between making and destroying: what a weak reference's end cannot raise.
UNRAISABLE = ("cuCtxPushCurrent", "cuMemFreeHost", "cuCtxPopCurrent", "cuDevicePrimaryCtxRelease")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


@pytest.fixture
def running(world: World) -> Iterator[tuple[Schedule, CudaDevice]]:
    with world.schedule() as made:
        yield made


def since(driver: StandInDriver, act: Callable[[], object]) -> list[tuple[Any, ...]]:
    before = len(driver.calls)
    act()
    return driver.calls[before:]


def launches(driver: StandInDriver, entry: str) -> list[Any]:
    """The parameters of every launch of a kernel."""
    return [call.params for (call,) in driver.named(entry)]


def lend(device: CudaDevice, *names: str) -> list[int]:
    """Addresses of memory for a frame each, as a caller would have it."""
    return [device.buffer(name, FRAME.size).address for name in names]


def test_a_frame_is_fourteen_calls_of_the_driver_on_three_streams(
    world: World, running: tuple[Schedule, CudaDevice]
) -> None:
    schedule, _ = running
    calls = since(world.driver, lambda: (schedule.submit([FRAME]), schedule.collect()))
    streams = [call[1] for call in calls if call[0] == "cuStreamWaitEvent"]
    into, net, out = streams[0], streams[1], streams[3]
    assert len({into, net, out}) == 3
    where = {"cuEventRecord": 2, "cuStreamWaitEvent": 1, "cuLaunchKernel": 9, "cuGraphLaunch": 2}
    got = [
        (call[0], {into: "in", net: "net", out: "out"}.get(call[where.get(call[0], -1)], "host"))
        for call in calls
        if call[0].startswith("cu") and call[0] != "cuCtxSetCurrent"
    ]
    assert got == [
        ("cuMemcpyHtoDAsync", "in"),
        ("cuStreamWaitEvent", "in"),
        ("cuLaunchKernel", "in"),
        ("cuEventRecord", "in"),
        ("cuStreamWaitEvent", "net"),
        ("cuStreamWaitEvent", "net"),
        ("cuGraphLaunch", "net"),
        ("cuEventRecord", "net"),
        ("cuStreamWaitEvent", "out"),
        ("cuLaunchKernel", "out"),
        ("cuEventRecord", "out"),
        ("cuMemcpyDtoHAsync", "out"),
        ("cuEventRecord", "out"),
        ("cuEventSynchronize", "host"),
    ]


def test_the_network_alternates_between_two_contexts_and_two_sets_of_states(
    world: World, running: tuple[Schedule, CudaDevice]
) -> None:
    schedule, _ = running
    warm_up = list(world.driver.named("execute_async_v3"))
    assert len(warm_up) == 4  # twice to warm up, twice to be captured
    first, second, *captured = [states for _, *states in warm_up]
    assert captured == [first, second]
    assert first == second[::-1]
    assert first[0] != first[1]
    calls = since(world.driver, lambda: [(schedule.submit([FRAME]), schedule.collect()) for _ in range(4)])
    graphs = [call[1] for call in calls if call[0] == "cuGraphLaunch"]
    assert graphs[0] == graphs[2] != graphs[1] == graphs[3]
    assert world.tensorrt.runs == 2 + 4


def test_a_frame_does_not_need_the_context_that_the_last_one_left(
    world: World, running: tuple[Schedule, CudaDevice]
) -> None:
    schedule, device = running
    memory = lend(device, "source", "composite", "pha")
    caller = device.lent_stream(int(device.stream("caller").handle))
    for act in (
        lambda: schedule.submit([FRAME]),
        schedule.collect,
        lambda: schedule.enqueue(memory[:1], [memory[1:]], caller),
        schedule.reset,
        schedule.state,
    ):
        world.driver.current[threading.get_ident()] = 0xBAD  # another library's
        act()


def test_states_are_zero_before_the_first_frame_and_after_a_reset(
    running: tuple[Schedule, CudaDevice],
) -> None:
    schedule, _ = running
    assert not schedule.state().any()
    schedule.submit([FRAME])
    assert schedule.state().view(np.float16).any()
    kept = schedule.state()
    schedule.reset()
    assert not schedule.state().any()
    schedule.restore(kept)
    np.testing.assert_array_equal(schedule.state(), kept)


def test_kernels_get_the_addresses_of_what_they_read_and_write(
    world: World, running: tuple[Schedule, CudaDevice]
) -> None:
    schedule, _ = running
    calls = since(world.driver, lambda: (schedule.submit([FRAME]), schedule.collect()))
    (upload,) = (call for call in calls if call[0] == "cuMemcpyHtoDAsync")
    (download,) = (call for call in calls if call[0] == "cuMemcpyDtoHAsync")
    sample, head, compose = (launches(world.driver, name)[-1] for name in ("sample", "head", "compose"))
    assert sample["frame"]["plane"] == compose["frame"]["plane"] == upload[1]
    assert compose["composite"]["plane"] == download[2]
    assert compose["pha"]["plane"] == download[2] + FRAME.size
    assert compose["fgr"]["plane"] == compose["rgba"]["plane"] == 0
    first_turn = launches(world.driver, "head")[-2]
    assert (sample["src"], compose["slope"], compose["intercept"]) == (
        first_turn["src"],
        first_turn["slope"],
        first_turn["intercept"],
    )
    assert first_turn["hid"] == head["hid"]
    assert first_turn["src"] != head["src"]
    for (call,), geometry in (
        (list(world.driver.named("sample"))[-1], sample_launch(SMALL)),
        (list(world.driver.named("head"))[-1], head_launch(SMALL)),
        (list(world.driver.named("compose"))[-1], compose_launch(SMALL, PixelFormat.RGB8)),
    ):
        assert call.shape == (*geometry.grid, *geometry.block, geometry.shared_bytes)
    weights = world.driver.bytes_at(int(head["weights"]), 4 * 68).view(np.float32)
    with np.load(world.engine.file("head.npz")) as file:
        np.testing.assert_array_equal(weights[:64], file["project.weight"].ravel())


def test_without_spill_suppression_the_graphs_clear_the_coefficients_of_the_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = Profile(width=SMALL.width, height=SMALL.height, ratio=SMALL.ratio, batch=2)
    world = make_world(tmp_path, monkeypatch, profile=profile)

    def leave_ones(call: Any) -> None:
        for name in ("slope", "intercept"):
            if call.entry == "head":
                world.driver.bytes_at(int(call.params[name]), 2 * 4 * LOW * 4).fill(1)

    world.driver.run = leave_ones
    with world.schedule(spill_suppression=False) as (schedule, _):
        for _ in range(2):
            calls = since(world.driver, lambda: (schedule.submit([FRAME, FRAME]), schedule.collect()))
            assert "cuMemsetD8Async" not in [call[0] for call in calls]  # it is in the graph
            for params in launches(world.driver, "compose")[-2:]:
                for name in ("slope", "intercept"):
                    values = world.driver.bytes_at(int(params[name]), 4 * LOW * 4)
                    assert not values[: 3 * LOW * 4].any()
                    assert values[3 * LOW * 4 :].all()


def test_the_background_is_what_was_set_when_the_frame_was_submitted(
    world: World, running: tuple[Schedule, CudaDevice]
) -> None:
    schedule, _ = running
    image = np.full_like(FRAME, 7)
    shown = []
    for background in ({"colour": (1, 2, 3)}, {"image": image}, {"colour": (4, 5, 6)}, {"image": image + 1}):
        schedule.set_background(**background)
        schedule.submit([FRAME])
        schedule.collect()
        params = launches(world.driver, "compose")[-1]
        plane = int(params["background"]["plane"])
        shown.append(int(world.driver.bytes_at(plane, 1)[0]) if plane else tuple(params["colour"]))
    assert shown == [(1, 2, 3), 7, (4, 5, 6), 8]


def test_frames_in_the_memory_of_the_caller_are_neither_copied_nor_waited_for(
    world: World, running: tuple[Schedule, CudaDevice]
) -> None:
    schedule, device = running
    caller = device.stream("caller")
    lent = device.lent_stream(int(caller.handle))
    for _ in range(3):
        source, composite, pha = lend(device, "source", "composite", "pha")
        calls = since(world.driver, lambda: schedule.enqueue([source], [[composite, pha]], lent))  # noqa: B023
        names = [call[0] for call in calls]
        assert not [name for name in names if "Memcpy" in name or "Synchronize" in name or "Alloc" in name]
        ((*_, record, ordered),) = [[call for call in calls if int(caller.handle) in call[1:3]]]
        assert (record[0], ordered[0]) == ("cuEventRecord", "cuStreamWaitEvent")
        assert calls.index(ordered) == len(calls) - 1
        params = launches(world.driver, "compose")[-1]
        assert params["frame"]["plane"] == launches(world.driver, "sample")[-1]["frame"]["plane"] == source
        assert (params["composite"]["plane"], params["pha"]["plane"]) == (composite, pha)


def test_videos_of_a_batch_have_their_own_share_of_every_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = Profile(width=SMALL.width, height=SMALL.height, ratio=SMALL.ratio, batch=2)
    world = make_world(tmp_path, monkeypatch, profile=profile, precision=Precision.FP32)
    with world.schedule() as (schedule, _):
        schedule.submit([FRAME, FRAME])
        schedule.collect()
        first, second = launches(world.driver, "sample")[-2:]
        assert second["src"] - first["src"] == 3 * LOW * 4
        first, second = launches(world.driver, "compose")[-2:]
        assert second["slope"] - first["slope"] == second["intercept"] - first["intercept"] == 4 * LOW * 4
        ((*_, head),) = [list(world.driver.named("head"))]
        assert head[0].shape[2] == 2


def test_videos_on_one_engine_share_its_plan_and_nothing_else(world: World) -> None:
    with world.schedule() as (first, device):
        gpu = device._gpu
        stages = world.stages()
        other = CudaDevice(gpu)
        second = Schedule(other, stages)
        before = first.state()
        second.submit([FRAME])
        np.testing.assert_array_equal(first.state(), before)
        second.close()
        stages.close()
        first.submit([FRAME])
        first.collect()


def test_frames_make_nothing_that_stays(world: World, running: tuple[Schedule, CudaDevice]) -> None:
    schedule, _ = running
    schedule.set_background(colour=(1, 2, 3))
    counts = set()
    live = dict(world.driver.live)
    for _ in range(20):
        counts.add(len(since(world.driver, lambda: (schedule.submit([FRAME]), schedule.collect()))))
    assert len(counts) == 1
    assert world.driver.live == live


def run_everything(world: World) -> None:
    with world.schedule() as (schedule, device):
        schedule.set_background(image=FRAME)
        schedule.submit([FRAME])
        schedule.restore(schedule.state())
        schedule.collect()
        source, composite, pha = lend(device, "source", "composite", "pha")
        schedule.enqueue([source], [[composite, pha]], device.lent_stream(int(device.stream("own").handle)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_left_and_the_failure_is_told_whichever_call_fails(world: World) -> None:
    run_everything(world)
    names = [call[0] for call in world.driver.calls]
    assert not world.driver.live
    for index, name in enumerate(names):
        if not name.startswith("cu") or name == "cuGetErrorString":
            continue
        world.driver.calls.clear()
        world.driver.fail_at = index
        try:
            run_everything(world)
        except EngineError as error:
            assert "CUDA_ERROR_OUT_OF_MEMORY" in str(error) or "execution context" in str(error), name
            del error
        else:
            assert name in UNRAISABLE, f"call {index}, {name}"
        if world.driver.live:
            gc.collect()  # what the error's traceback referred to
        # Without its context, page-locked memory stays until the context ends.
        kept = {"pinned"} if name == "cuCtxPushCurrent" else set()
        assert set(world.driver.live.values()) <= kept, f"call {index}, {name}"
        world.driver.live.clear()
        assert world.driver.retained == 0, f"call {index}, {name}"
