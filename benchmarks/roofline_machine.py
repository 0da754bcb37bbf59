"""The peaks of a machine, GPU or CPU, and the least time that they leave for a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rvm_trt.options import Precision

COMPUTE, MEMORY, LAUNCH = "compute", "memory", "launch"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Peaks of a GPU or a CPU.

    Attributes:
        name: in words.
        tflops: matrix arithmetic by precision, two operations for each multiply-accumulate.
        vector_tflops: arithmetic without matrices, in FP32.
        bandwidth_gbs: of the memory.
        cache_bytes: of the last cache before it; None where unknown.
        copy_gbs: between host and device in one direction; None where they share their memory.
    """

    name: str
    tflops: Mapping[Precision, float]
    vector_tflops: float
    bandwidth_gbs: float
    cache_bytes: int | None = None
    copy_gbs: float | None = None

    def copy_ms(self, size: int) -> float:
        """Returns the time that a copy of so many bytes needs at least; 0 where the memory is shared."""
        return 0.0 if self.copy_gbs is None else size / self.copy_gbs / 1e6


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The least time of one kernel.

    Attributes:
        name: of the kernel.
        stage: that it belongs to.
        macs: multiply-accumulates.
        bytes: moved to and from memory.
        compute_ms, memory_ms, launch_ms: what each resource asks for.
    """

    name: str
    stage: str
    macs: int
    bytes: int
    compute_ms: float
    memory_ms: float
    launch_ms: float

    @property
    def ms(self) -> float:
        """The largest of the three: they overlap within a kernel, kernels follow each other."""
        return max(self.compute_ms, self.memory_ms, self.launch_ms)

    @property
    def limit(self) -> str:
        """The resource that asks for most."""
        times = {COMPUTE: self.compute_ms, MEMORY: self.memory_ms, LAUNCH: self.launch_ms}
        return max(times, key=times.__getitem__)


@dataclass(frozen=True, kw_only=True)
class StageBound:
    """The least time of a stage, whose kernels follow each other.

    Attributes:
        name: of the stage.
        kernels: bounds in order.
    """

    name: str
    kernels: tuple[Bound, ...]

    @property
    def ms(self) -> float:
        """The sum over the kernels."""
        return sum(kernel.ms for kernel in self.kernels)

    @property
    def limit(self) -> str:
        """The resource that bounds most of the time."""
        times = dict.fromkeys((COMPUTE, MEMORY, LAUNCH), 0.0)
        for kernel in self.kernels:
            times[kernel.limit] += kernel.ms
        return max(times, key=times.__getitem__)


def bound(
    machine: Machine,
    *,
    name: str,
    stage: str,
    macs: int,
    size: int,
    precision: Precision | None,
    launch_ms: float,
) -> Bound:
    """Returns a kernel's bound.

    Args:
        machine: where it runs.
        name: of the kernel.
        stage: that it belongs to.
        macs: multiply-accumulates.
        size: bytes moved.
        precision: of its matrix arithmetic; None for a kernel without matrices.
        launch_ms: the least time of any kernel.
    """
    tflops = machine.vector_tflops if precision is None else machine.tflops[precision]
    return Bound(
        name=name,
        stage=stage,
        macs=macs,
        bytes=size,
        compute_ms=2 * macs / tflops / 1e9,
        memory_ms=size / machine.bandwidth_gbs / 1e6,
        launch_ms=launch_ms,
    )
