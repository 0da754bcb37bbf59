"""What only a GPU can show of schedules: graphs, time, memory, several videos, memory of the caller's, sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from gpu_frames import OUTPUTS, Image, mattes, running, scheduled

from rvm_trt.engines.artifact import Engine
from rvm_trt.profile import Profile
from rvm_trt.runtime import tensorrt
from rvm_trt.runtime.cuda_gpu import Gpu
from rvm_trt.runtime.cuda_session import make_cuda_stages
from rvm_trt.runtime.stages import OUTPUT_CHANNELS

pytestmark = pytest.mark.gpu

ODD = Profile(width=161, height=97, ratio=0.6)
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def engine(engine_for: Callable[..., Engine]) -> Engine:
    return engine_for(ODD, "fp16")


@pytest.fixture
def frames(moving_frames: Callable[..., list[Image]]) -> list[Image]:
    return moving_frames(ODD.width, ODD.height, 12)


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_graphs_give_what_plain_launches_give(
    gpu: Gpu, engine: Engine, frames: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(engine, gpu) as (schedule, _):
        captured = mattes(schedule, frames)
    monkeypatch.setattr(tensorrt.TensorRtContext, "is_capturable", lambda *_: False)
    with running(engine, gpu) as (schedule, _):
        plain = mattes(schedule, frames)
    np.testing.assert_array_equal(captured, plain)


def test_frames_are_the_same_every_time_and_in_every_mode(
    gpu: Gpu, engine: Engine, frames: list[Image]
) -> None:
    with running(engine, gpu) as (schedule, _):
        first = mattes(schedule, frames)
        schedule.reset()
        one_by_one = [mattes(schedule, [frame])[0] for frame in frames]
        schedule.reset()
        start = mattes(schedule, frames[:5])
        state = schedule.state()
        mattes(schedule, frames[:3])
        schedule.restore(state)
        rest = mattes(schedule, frames[5:])
    np.testing.assert_array_equal(one_by_one, first)
    np.testing.assert_array_equal([*start, *rest], first)


@pytest.mark.timeout(600)
def test_ten_thousand_frames_take_no_memory(gpu: Gpu, engine: Engine, frames: list[Image]) -> None:
    with running(engine, gpu) as (schedule, _):
        for _ in range(50):
            mattes(schedule, frames)
        free, resident = gpu.free_bytes, resident_bytes()
        for _ in range(10_000 // len(frames)):
            mattes(schedule, frames)
        assert gpu.free_bytes >= free
        assert resident_bytes() <= resident + (4 << 20)


def test_all_memory_comes_back(gpu: Gpu, engine: Engine, frames: list[Image]) -> None:
    def once() -> None:
        with running(engine, gpu) as (schedule, _):
            mattes(schedule, frames)

    once()
    free = gpu.free_bytes
    for _ in range(5):
        once()
    assert gpu.free_bytes >= free - (2 << 20)  # the driver keeps pages of its own


def test_videos_at_once_on_one_engine_do_not_touch_each_other(
    gpu: Gpu, engine: Engine, frames: list[Image]
) -> None:
    videos = [frames, frames[::-1], [255 - frame for frame in frames]]
    with make_cuda_stages(engine, gpu.share(), outputs=OUTPUTS) as stages:
        alone = []
        for video in videos:
            with scheduled(stages) as (schedule, _):
                alone.append(mattes(schedule, video))

        with ExitStack() as owned:
            schedules = [owned.enter_context(scheduled(stages))[0] for _ in videos]
            pool = owned.enter_context(ThreadPoolExecutor(len(videos)))
            at_once = list(pool.map(mattes, schedules, videos))
    np.testing.assert_array_equal(at_once, alone)


def test_frames_in_the_memory_of_the_caller_come_in_the_order_of_its_stream(
    gpu: Gpu, engine: Engine, frames: list[Image]
) -> None:
    driver, pixels = gpu.driver, ODD.width * ODD.height
    with running(engine, gpu) as (schedule, device):
        expected = mattes(schedule, frames)
        schedule.reset()
        with gpu.stream() as own, gpu.memory(3 * pixels) as source, gpu.pinned(3 * pixels) as given:
            outputs = [device.buffer(name, OUTPUT_CHANNELS[name] * pixels) for name in OUTPUTS]
            shown = [gpu.pinned(output.size_bytes) for output in outputs]
            caller = device.lent_stream(int(own.handle))
            for frame, matte in zip(frames, expected, strict=True):
                np.copyto(given.array, frame.ravel())
                driver.ask("cuMemcpyHtoDAsync", source.handle, given.address, 3 * pixels, own.handle)
                addresses = [output.address for output in outputs]
                schedule.enqueue([source.address], [addresses], caller)
                driver.ask("cuMemsetD8Async", source.handle, 0, 3 * pixels, own.handle)  # too late to matter
                for output, pinned in zip(outputs, shown, strict=True):
                    driver.ask(
                        "cuMemcpyDtoHAsync", pinned.address, output.address, output.size_bytes, own.handle
                    )
                driver.ask("cuStreamSynchronize", own.handle)
                np.testing.assert_array_equal(np.concatenate([pinned.array for pinned in shown]), matte)


def sanitizer() -> str:
    found = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not Path(found).is_file():
        pytest.skip("no compute-sanitizer: it comes with the CUDA toolkit")
    return found


def run_under(tool: str, *command: str | Path) -> None:
    call = [sanitizer(), "--tool", tool, "--error-exitcode", "9", *map(str, command)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.timeout(900)
def test_a_session_touches_no_memory_that_is_not_its_own(gpu: Gpu, engine: Engine) -> None:  # noqa: ARG001
    run_under("memcheck", sys.executable, HERE / "sanitized_frames.py", engine.path)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck", "synccheck"])
def test_our_kernels_are_clean(gpu: Gpu, tool: str) -> None:  # noqa: ARG001
    pytest_here = Path(sys.executable).with_name("pytest")
    run_under(tool, pytest_here, "-q", "-x", "-p", "no:cacheprovider", HERE / "test_gpu_kernels.py")
