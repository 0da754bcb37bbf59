"""Our kernels on a GPU, with launches that were made for the CPU."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np
from cuda_host import Job
from cuda_memory import FIRST_ADDRESS
from host_gpu import pointers_of

from rvm_trt.runtime.cuda_gpu import Gpu
from rvm_trt.runtime.kernel_cache import compile_kernel
from rvm_trt.runtime.kernel_variants import KernelVariant


class GpuKernels:
    """Runs what `cuda_host.HostKernels` runs.

    Args:
        gpu: where; it must stay open until this is closed.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._functions: dict[KernelVariant, Any] = {}
        self._owned = ExitStack()
        self._stream = self._owned.enter_context(gpu.stream()).handle

    def run(self, *jobs: Job) -> None:
        """Runs launches one after the other; the memory of each then holds what it left there."""
        for job in jobs:
            self._run(job)

    def _run(self, job: Job) -> None:
        driver = self._gpu.driver
        with ExitStack() as owned:
            memories = [owned.enter_context(self._gpu.memory(buffer.nbytes)) for buffer in job.memory.buffers]
            for buffer, memory in zip(job.memory.buffers, memories, strict=True):
                self._gpu.upload(buffer, memory)
            params = job.params.copy()
            for place in pointers_of(params):
                if place:
                    index, offset = divmod(int(place), FIRST_ADDRESS)
                    place[...] = memories[index - 1].address + offset
            arguments = np.array([params.ctypes.data], np.uint64)
            driver.ask(
                "cuLaunchKernel",
                self._function(job.variant),
                *job.launch.grid,
                *job.launch.block,
                job.launch.shared_bytes,
                self._stream,
                int(arguments.ctypes.data),
                0,
            )
            driver.ask("cuStreamSynchronize", self._stream)
            for buffer, memory in zip(job.memory.buffers, memories, strict=True):
                driver.ask("cuMemcpyDtoH", buffer.ctypes.data, memory.handle, buffer.nbytes)

    def _function(self, variant: KernelVariant) -> Any:
        if variant not in self._functions:
            kernel = compile_kernel(variant, sm=self._gpu.sm)
            module = self._owned.enter_context(self._gpu.module(kernel.cubin))
            self._functions[variant] = module.function(variant.entry)
        return self._functions[variant]

    def __enter__(self) -> GpuKernels:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owned.close()
