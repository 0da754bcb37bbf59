"""Frames through engines on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.engines.artifact import Engine
from rvm_trt.runtime.cuda import CudaDevice
from rvm_trt.runtime.cuda_session import make_cuda_stages
from rvm_trt.runtime.cuda_stages import CudaStages
from rvm_trt.runtime.schedule import Schedule

Image = npt.NDArray[np.uint8]
OUTPUTS = ("composite", "pha", "fgr", "rgba")
GREEN = (120, 255, 155)


@contextmanager
def scheduled(stages: CudaStages, **options: Any) -> Iterator[tuple[Schedule, CudaDevice]]:
    """A schedule on stages, with its device, closed at the end."""
    with ExitStack() as owned:
        device = CudaDevice(stages.gpu)
        owned.callback(device.close)
        owned.callback(device.finish)
        yield Schedule(device, stages, **options), device


@contextmanager
def running(
    engine: Engine, gpu: Any, outputs: Sequence[str] = OUTPUTS
) -> Iterator[tuple[Schedule, CudaDevice]]:
    """A schedule on an engine, closed at the end."""
    with make_cuda_stages(engine, gpu.share(), outputs=outputs) as stages, scheduled(stages) as made:
        yield made


def mattes(schedule: Schedule, frames: Sequence[Image]) -> list[Image]:
    """Returns all outputs of every frame, one after the other, with one frame of latency."""
    results = []
    for frame in frames:
        schedule.submit([frame])
        if schedule.waiting == schedule.depth:
            results.append(schedule.output(schedule.collect()).copy())
    while schedule.waiting:
        results.append(schedule.output(schedule.collect()).copy())
    return results
