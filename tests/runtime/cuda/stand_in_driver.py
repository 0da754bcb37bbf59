"""A stand-in for CUDA's driver: it counts every handle, runs copies at once, logs every call and can fail any of them.

Names, numbers of arguments and results, enums and handles are those of ``cuda.bindings.driver``. Memory of the GPU is
memory of the host, so that copies and kernels can be run, and an address outside all of it is an error.
"""

# ruff: noqa: N802 - the names are CUDA's

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from cuda.bindings import driver as real
from stand_in_state import CONTEXT, GpuState, Refused

from rvm_trt.runtime.kernel_params import COMPOSE_PARAMS, HEAD_PARAMS, SAMPLE_PARAMS

PARAMS = {"sample": SAMPLE_PARAMS, "head": HEAD_PARAMS, "compose": COMPOSE_PARAMS}
_ENDINGS = ("Destroy", "Free", "Unload", "Release", "PopCurrent", "EndCapture")


@dataclass(frozen=True, kw_only=True)
class KernelCall:
    """One launch: the module's bytes, the kernel's name, grid, block and shared bytes, parameters as they were."""

    cubin: bytes
    entry: str
    shape: tuple[int, ...]
    params: Any


class StandInDriver(GpuState):
    """Serves as the module ``cuda.bindings.driver``.

    Attributes:
        run: runs a kernel; None only logs launches.
        calls: every call: its name and its arguments, handles as numbers. A launch is followed by its `KernelCall`.
        fail_at: index of the call that fails; None for none.
        failure: the code that it fails with.
        gpus, capability: what there is.
    """

    def __init__(self, *, capability: tuple[int, int] = (8, 9), gpus: int = 1) -> None:
        super().__init__()
        self.run: Callable[[KernelCall], None] | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.fail_at: int | None = None
        self.failure = real.CUresult.CUDA_ERROR_OUT_OF_MEMORY
        self.gpus, self.capability = gpus, capability
        self._pushed: list[int] = []
        self._cubins: dict[int, bytes] = {}
        self._functions: dict[int, tuple[int, str]] = {}
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._invalidated = False

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            return getattr(real, name)
        behaviour = getattr(self, f"_{name}")
        arguments, results = _signature(name)

        def call(*given: Any) -> tuple[Any, ...]:
            assert len(given) == arguments, name
            self.calls.append((name, *map(_plain, given)))
            if len(self.calls) - 1 == self.fail_at:
                self._invalidated = bool(self._captured)
                if any(ending in name for ending in _ENDINGS):
                    with suppress(Refused):
                        behaviour(*given)  # what could not be ended is not ended again
                return self.failure, *(None,) * results
            try:
                values = behaviour(*given)
            except Refused as refused:
                return refused.code, *(None,) * results
            return real.CUresult.CUDA_SUCCESS, *(
                () if values is None else (values,) if results == 1 else values
            )

        self.__dict__[name] = call
        return call

    def named(self, name: str) -> Iterator[tuple[Any, ...]]:
        """The arguments of every call of a function, and of every `KernelCall` of a kernel."""
        return (call[1:] for call in self.calls if call[0] == name)

    # The functions, by name, in the order of the driver's documentation.

    def _cuInit(self, flags: int) -> None:
        assert flags == 0

    def _cuGetErrorString(self, code: Any) -> bytes:
        return f"text of {code.name}".encode()

    def _cuDeviceGetCount(self) -> int:
        return self.gpus

    def _cuDeviceGet(self, ordinal: int) -> Any:
        return real.CUdevice(ordinal)

    def _cuDeviceGetName(self, length: int, _device: Any) -> bytes:
        return b"Stand-in RTX".ljust(length, b"\0")

    def _cuDeviceGetAttribute(self, attribute: Any, _device: Any) -> int:
        return self.capability[0 if attribute.name.endswith("MAJOR") else 1]

    def _cuDevicePrimaryCtxRetain(self, _device: Any) -> Any:
        self.retained += 1
        return real.CUcontext(CONTEXT)

    def _cuDevicePrimaryCtxRelease(self, _device: Any) -> None:
        assert self.retained > 0
        self.retained -= 1

    def _cuCtxSetCurrent(self, context: Any) -> None:
        assert self.retained
        self.current[threading.get_ident()] = int(context)

    def _cuCtxPushCurrent(self, context: Any) -> None:
        self._pushed.append(self.current.get(threading.get_ident(), 0))
        self._cuCtxSetCurrent(context)

    def _cuCtxPopCurrent(self) -> Any:
        self.current[threading.get_ident()] = self._pushed.pop()
        return real.CUcontext(CONTEXT)

    def _cuModuleLoadData(self, cubin: bytes) -> Any:
        module = self._make("module")
        self._cubins[module] = cubin
        return real.CUmodule(module)

    def _cuModuleUnload(self, module: Any) -> None:
        self._destroy(module, "module")

    def _cuModuleGetFunction(self, module: Any, name: bytes) -> Any:
        self._need(module, "module")
        self._made += 0x10
        self._functions[self._made] = int(module), name.decode()
        return real.CUfunction(self._made)

    def _cuMemGetInfo(self) -> tuple[int, int]:
        self.check_context()
        return 1 << 33, 1 << 34

    def _cuMemAlloc(self, size: int) -> Any:
        return real.CUdeviceptr(self._allocate("memory", size))

    def _cuMemFree(self, address: Any) -> None:
        self._destroy(address, "memory")
        del self.memory[int(address)]

    def _cuMemHostAlloc(self, size: int, flags: int) -> int:
        assert flags == 0
        return self._allocate("pinned", size)

    def _cuMemFreeHost(self, address: Any) -> None:
        self._destroy(address, "pinned")
        del self.memory[int(address)]

    def _cuMemcpyHtoDAsync(self, target: Any, source: int, size: int, stream: Any) -> None:
        self._copy(self.bytes_at(target, size, "memory"), self.bytes_at(source, size, "pinned"), stream)

    def _cuMemcpyDtoHAsync(self, target: int, source: Any, size: int, stream: Any) -> None:
        self._copy(self.bytes_at(target, size, "pinned"), self.bytes_at(source, size, "memory"), stream)

    def _cuMemcpyDtoDAsync(self, target: Any, source: Any, size: int, stream: Any) -> None:
        self._copy(self.bytes_at(target, size, "memory"), self.bytes_at(source, size, "memory"), stream)

    def _cuMemsetD8Async(self, target: Any, value: int, size: int, stream: Any) -> None:
        memory = self.bytes_at(target, size, "memory")
        self.check_context()
        self.enqueue(stream, lambda: memory.fill(value))

    def _cuStreamCreate(self, flags: int) -> Any:
        assert flags == real.CUstream_flags.CU_STREAM_NON_BLOCKING
        return real.CUstream(self._make("stream"))

    def _cuStreamDestroy(self, stream: Any) -> None:
        self._destroy(stream, "stream")

    def _cuStreamSynchronize(self, stream: Any) -> None:
        self._need(stream, "stream")
        self.check_context()
        assert not self._captured

    def _cuStreamWaitEvent(self, stream: Any, event: Any, flags: int) -> None:
        assert flags == 0
        self._cuEventRecord(event, stream)

    def _cuStreamBeginCapture(self, stream: Any, mode: Any) -> None:
        assert mode == real.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._need(stream, "stream")
        self._captured[int(stream)] = []

    def _cuStreamEndCapture(self, stream: Any) -> Any:
        operations, invalidated = self._captured.pop(int(stream)), self._invalidated
        self._invalidated = False
        if invalidated:
            raise Refused(real.CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
        graph = self._make("graph")
        self._graphs[graph] = operations
        return real.CUgraph(graph)

    def _cuEventCreate(self, flags: int) -> Any:
        assert flags == real.CUevent_flags.CU_EVENT_DISABLE_TIMING
        return real.CUevent(self._make("event"))

    def _cuEventDestroy(self, event: Any) -> None:
        self._destroy(event, "event")

    def _cuEventRecord(self, event: Any, stream: Any) -> None:
        self._need(event, "event")
        self._need(stream, "stream")
        self.check_context()
        assert not self._captured

    def _cuEventSynchronize(self, event: Any) -> None:
        self._need(event, "event")
        self.check_context()

    def _cuGraphInstantiate(self, graph: Any, flags: int) -> Any:
        assert flags == 0
        ready = self._make("graph exec")
        self._graphs[ready] = self._graphs[int(graph)]
        return real.CUgraphExec(ready)

    def _cuGraphDestroy(self, graph: Any) -> None:
        self._destroy(graph, "graph")

    def _cuGraphExecDestroy(self, graph: Any) -> None:
        self._destroy(graph, "graph exec")

    def _cuGraphUpload(self, graph: Any, stream: Any) -> None:
        self._need(graph, "graph exec")
        self._need(stream, "stream")

    def _cuGraphLaunch(self, graph: Any, stream: Any) -> None:
        self._need(graph, "graph exec")
        self._need(stream, "stream")
        self.check_context()
        for work in self._graphs[int(graph)]:
            work()

    def _cuLaunchKernel(self, function: Any, *rest: Any) -> None:
        *shape, stream, pointers, extra = rest
        module, entry = self._functions[int(function)]
        self._need(module, "module")
        self.check_context()
        assert extra == 0
        address = ctypes.c_void_p.from_address(pointers).value
        params = np.frombuffer(ctypes.string_at(address, PARAMS[entry].itemsize), PARAMS[entry])[0]
        call = KernelCall(cubin=self._cubins[module], entry=entry, shape=tuple(shape), params=params)
        self.calls.append((entry, call))
        if self.run is not None:
            self.enqueue(stream, lambda: self.run(call))


def _signature(name: str) -> tuple[int, int]:
    """Returns how many arguments and results besides the code a function has, from its documentation."""
    documentation = getattr(real, name).__doc__
    first = documentation.split("\n")[0]
    inside = first[first.index("(") + 1 : first.rindex(")")]
    returns = documentation.partition("Returns\n-------")[2].partition("See Also")[0]
    results = re.findall(r"^(\w+) : ", returns, re.MULTILINE)
    return len(inside.split(",")) if inside else 0, len(results)


def _plain(argument: Any) -> Any:
    handles = (real.CUstream, real.CUevent, real.CUdeviceptr, real.CUgraph, real.CUgraphExec, real.CUfunction)
    return int(argument) if isinstance(argument, handles) else argument
