"""Some frames through a schedule on a GPU, without a network: the same calls on the real bindings and on a stand-in.

As a program it takes the real ``cuda.bindings``, and with ``--time`` prints what each call costs the host.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import numpy as np

from rvm_trt.profile import Profile
from rvm_trt.runtime import cuda_stages
from rvm_trt.runtime.cuda import CudaDevice
from rvm_trt.runtime.cuda_driver import Driver
from rvm_trt.runtime.cuda_gpu import Gpu
from rvm_trt.runtime.cuda_stages import CudaStages
from rvm_trt.runtime.head_weights import HEAD_LAYOUT
from rvm_trt.runtime.kernel_cache import CompiledKernel
from rvm_trt.runtime.schedule import Schedule

PROFILE = Profile(width=50, height=38, ratio=0.5)
FRAME = np.arange(PROFILE.width * PROFILE.height * 3).astype(np.uint8)


class NoNetwork:
    """A network that runs nothing."""

    results = ("hid",)

    def context(self, addresses: dict[str, int]) -> Any:
        assert all(address % 256 == 0 for address in addresses.values())

        class Context:
            def __call__(self, stream: Any) -> tuple[int]:
                assert int(stream)
                return (0,)

            def is_capturable(self, _stream: Any) -> bool:
                return True

        return Context()

    def close(self) -> None:
        pass


def run(driver: Driver, *, timed: bool = False) -> None:
    """Runs a few frames, from the host and from memory that is lent."""
    cuda_stages.compile_kernel = lambda variant, sm: CompiledKernel(
        variant=variant, sm=sm, cubin=variant.name.encode() + b"\0", log=""
    )
    weights = {name: np.zeros(shape, np.float32) for name, shape in HEAD_LAYOUT.items()}
    with ExitStack() as owned:
        gpu = Gpu(driver)
        stages = owned.enter_context(
            CudaStages(gpu, NoNetwork(), PROFILE, outputs=("composite", "pha"), half=True, head=weights)
        )
        device = CudaDevice(gpu)
        owned.callback(device.close)
        owned.callback(device.finish)
        schedule = Schedule(device, stages)
        state = np.arange(schedule.state().size).astype(np.uint8)
        schedule.restore(state)
        np.testing.assert_array_equal(schedule.state(), state)
        schedule.set_background(colour=(1, 2, 3))
        for _ in range(3):
            schedule.submit([FRAME])
            np.testing.assert_array_equal(schedule._slots[0].inlets[0]._pinned.array, FRAME)
            schedule.collect()
        source, composite, pha = (device.buffer(name, FRAME.size).address for name in "abc")
        caller = device.lent_stream(int(device.stream("caller").handle))
        schedule.enqueue([source], [[composite, pha]], caller)
        if timed:
            _print_times(
                device, schedule, SimpleNamespace(source=source, outputs=[composite, pha], caller=caller)
            )


def _print_times(device: CudaDevice, schedule: Schedule, lent: Any) -> None:
    slot, turn = schedule._slots[0], schedule._turns[0]
    stream, event = schedule._in, turn.ran
    frame = np.zeros(FRAME.size, np.uint8)
    for name, call in (
        ("enqueue upload", lambda: device.enqueue(slot.inlets[0].upload, stream)),
        ("enqueue sample", lambda: device.enqueue(slot.work.sample[0][0], stream)),
        ("enqueue compose", lambda: device.enqueue(slot.work.compose[0][0], stream)),
        ("enqueue graph", lambda: device.enqueue(schedule._networks[0][0], stream)),
        ("record", lambda: device.record(event, stream)),
        ("wait", lambda: device.wait(stream, event)),
        ("frame: submit, collect", lambda: (schedule.submit([frame]), schedule.collect())),
        ("frame: enqueue", lambda: schedule.enqueue([lent.source], [lent.outputs], lent.caller)),
    ):
        samples = []
        for _ in range(200):
            start = time.perf_counter_ns()
            for _ in range(50):
                call()
            samples.append((time.perf_counter_ns() - start) / 50)
        print(f"{name:24}{np.median(samples) / 1000:8.2f} us")


if __name__ == "__main__":
    run(Driver.load(), timed="--time" in sys.argv)
