"""The time of each stage of a frame in a session on the CPU, in a process of its own.

``python -m rvm_trt.benchmarks.stage_bench SETTINGS FRAMES`` prints one line of JSON; `measure_stages` runs it.

Frames go one at a time, as in the frame protocol, through the schedule that a session uses, on a device that lets a
clock run while an operation works. A stage is an operation by its name: ``sample``, ``core``, ``head``, ``compose``.
``rest`` is what a frame takes besides: the schedule, and handing frames over.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from rvm_trt.benchmarks.child import Worker
from rvm_trt.benchmarks.entrants import BACKGROUND, Settings
from rvm_trt.benchmarks.worker import FrameFile, open_protocol
from rvm_trt.engines.artifact import Engine
from rvm_trt.options import Backend
from rvm_trt.runtime.cpu import CpuOperation
from rvm_trt.runtime.device import Device, Operation, Stream
from rvm_trt.runtime.opening import open_engine
from rvm_trt.runtime.schedule import Schedule

_WARM_UP = 3
_FRAMES_HELD = 4
_TIMEOUT_S = 600.0


class TimedDevice:
    """A `Device` around the CPU's that adds up how long each operation works, whichever thread it works on.

    Attributes:
        busy_ms: stage → milliseconds since it was last cleared.
    """

    def __init__(self, device: Device) -> None:
        self.busy_ms: dict[str, float] = {}
        self._device = device
        self._timed: dict[Operation, CpuOperation] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def enqueue(self, operation: Operation, stream: Stream) -> None:
        """See `Device.enqueue`."""
        self._device.enqueue(self._with_clock(operation), stream)

    def graph(self, name: str, operations: Sequence[Operation], stream: Stream) -> Operation:
        """See `Device.graph`; its parts are timed, not the whole."""
        return self._device.graph(name, [self._with_clock(operation) for operation in operations], stream)

    def _with_clock(self, operation: Operation) -> Operation:
        stage = operation.name.partition(".")[0]
        if operation.parts or " " in stage:  # of what is timed, or a copy that a CPU does not make
            return operation
        if operation not in self._timed:
            call = cast(CpuOperation, operation)
            self._timed[operation] = replace(call, work=self._clocked(stage, call.work))
        return self._timed[operation]

    def _clocked(self, stage: str, work: Callable[..., None]) -> Callable[..., None]:
        def clocked(*arguments: Any) -> None:
            start = time.perf_counter()
            work(*arguments)
            self.busy_ms[stage] = self.busy_ms.get(stage, 0.0) + (time.perf_counter() - start) * 1e3

        return clocked


def measure_stages(settings: Settings, *, frames: int, folder: Path) -> dict[str, Any] | None:
    """Runs a session in a process of its own and returns its entry of ``stages``; None for an engine not on the CPU.

    Args:
        settings: of one of our entrants.
        frames: how many to time.
        folder: for the process's log.

    Raises:
        BenchmarkError: the process failed.
    """
    assert settings.engine is not None, "stages are a session's"
    if Engine.load(settings.engine).manifest.backend is not Backend.CPU:
        return None
    command = [sys.executable, "-m", "rvm_trt.benchmarks.stage_bench"]
    command += [json.dumps(settings.to_json()), str(frames)]
    with Worker(command, name=f"stages of {settings.entrant}", log=folder / "stages.log") as worker:
        return worker.answer(timeout_s=_TIMEOUT_S)


def time_stages(settings: Settings, *, frames: int) -> dict[str, Any]:
    """Returns an entry of ``stages``: entrant, frames and the median milliseconds of each stage.

    Raises:
        RvmTrtError: the engine does not load.
    """
    assert settings.engine is not None, "stages are a session's"
    engine, source = Engine.load(settings.engine), FrameFile(settings.frames)
    images = [source.read(index) for index in range(min(_FRAMES_HELD, len(source)))]
    rows: list[dict[str, float]] = []
    with ExitStack() as owned:
        opened = open_engine(engine, ("composite",), threads=settings.threads, gpu=0, owned=owned)
        device = TimedDevice(opened.device)
        schedule = Schedule(cast(Device, device), opened.stages)
        owned.callback(schedule.close)
        schedule.set_background(colour=BACKGROUND)
        for index in range(_WARM_UP + frames):
            image = images[index % len(images)]
            device.busy_ms.clear()
            start = time.perf_counter()
            schedule.submit((image,))
            schedule.collect()
            wall_ms = (time.perf_counter() - start) * 1e3
            rows.append({**device.busy_ms, "rest": max(0.0, wall_ms - sum(device.busy_ms.values()))})
    counted = rows[_WARM_UP:]
    medians = {stage: round(float(np.median([row[stage] for row in counted])), 3) for stage in counted[0]}
    return {"entrant": settings.entrant, "frames": frames, "median_ms": medians}


def main() -> int:
    """Times the stages of the session of the settings given as the first argument."""
    answers = open_protocol()
    settings = Settings.from_json(json.loads(sys.argv[1]))
    print(json.dumps(time_stages(settings, frames=int(sys.argv[2]))), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
