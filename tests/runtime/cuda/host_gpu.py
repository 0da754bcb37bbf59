"""Runs the launches and the network of the stand-ins for real, on the CPU: then whole frames can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda_host import HostKernels, Job
from cuda_memory import FIRST_ADDRESS
from cuda_world import variant_of
from stand_in_driver import KernelCall, StandInDriver

from rvm_trt.runtime.kernel_params import Launch

Arrays = Mapping[str, npt.NDArray[Any]]


def kernel_runner(driver: StandInDriver, host: HostKernels) -> Callable[[KernelCall], None]:
    """Returns what runs a launch with the kernels compiled for the CPU, under sanitizers.

    Each allocation that a launch points into becomes one of exactly its size there, so that the sanitizers see any byte
    beside it.
    """

    def run(call: KernelCall) -> None:
        params = np.zeros((), call.params.dtype)
        params[...] = call.params
        starts: list[int] = []
        for place in pointers_of(params):
            if place:
                start = driver.allocation(int(place))
                if start not in starts:
                    starts.append(start)
                place[...] = FIRST_ADDRESS * (starts.index(start) + 1) + int(place) - start
        memory = SimpleNamespace(buffers=[driver.memory[start] for start in starts])
        *sizes, shared = call.shape
        launch = Launch(grid=tuple(sizes[:3]), block=tuple(sizes[3:]), shared_bytes=shared)
        host.run(Job(variant=variant_of(call), launch=launch, params=params, memory=memory))

    return run


def network_runner(network: Path) -> Callable[[Arrays], Arrays]:
    """Returns what runs an engine's network with ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Arrays) -> Arrays:
        feeds = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        return dict(zip(names, session.run(names, feeds), strict=True))

    return run


def pointers_of(record: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Returns views, (,) uint64, of all pointers in the parameters of a kernel."""
    found = []
    for name in record.dtype.names or ():
        field = record[name]
        found += [field] if field.dtype == np.uint64 else pointers_of(field)
    return found
