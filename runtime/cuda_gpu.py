"""One GPU and what its driver makes for us: memory, streams, events, modules, each with one owner.

Everything lives in the GPU's *primary* context, which PyTorch, CuPy, PyCUDA's ``retain_primary_context`` and CUDA's
runtime API use too: memory, streams and events may be passed between them.

Everything but the driver's own work is run by the tests, against a stand-in; on a GPU none of this has run yet.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from copy import copy
from types import TracebackType
from typing import Any

import numpy as np

from rvm_trt.errors import EngineError, OptionError
from rvm_trt.runtime.cuda_driver import Driver
from rvm_trt.runtime.device import Bytes

_OLDEST = (7, 5)  # Turing


class Gpu:
    """A GPU whose primary context is retained until `close`. What it made has to be closed before.

    Making it, or using what it makes, makes that context current on the calling thread, and leaves it so.

    Args:
        driver: CUDA's driver.
        ordinal: which GPU, as ``CUDA_VISIBLE_DEVICES`` numbers them.

    Attributes:
        name: as the driver calls it.
        capability: compute capability, (8, 9) for Ada.

    Raises:
        EngineError: there is no GPU, or it is too old, or the driver refuses.
        OptionError: there is none with this number.
    """

    def __init__(self, driver: Driver, ordinal: int = 0) -> None:
        self.driver = driver
        self.ordinal = ordinal
        _check_ordinal(ordinal, driver.ask("cuDeviceGetCount"))
        self._device = driver.ask("cuDeviceGet", ordinal)
        self.name: str = driver.ask("cuDeviceGetName", 256, self._device).rstrip(b"\0").decode()
        attributes = driver.module.CUdevice_attribute
        major, minor = (
            driver.ask("cuDeviceGetAttribute", attribute, self._device)
            for attribute in (
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        self.capability: tuple[int, int] = (major, minor)
        self._check_capability()
        self._context = driver.ask("cuDevicePrimaryCtxRetain", self._device)
        self._open = True

    @property
    def sm(self) -> int:
        """Compute capability times ten, 89 for Ada."""
        return 10 * self.capability[0] + self.capability[1]

    @property
    def free_bytes(self) -> int:
        """Memory of the GPU that is free."""
        self.activate()
        free, _ = self.driver.ask("cuMemGetInfo")
        return int(free)

    def activate(self) -> None:
        """Makes the primary context current on this thread."""
        self.driver.ask("cuCtxSetCurrent", self._context)

    def share(self) -> Gpu:
        """Returns another owner of the primary context."""
        shared = copy(self)
        self.driver.ask("cuDevicePrimaryCtxRetain", self._device)
        shared._open = True
        return shared

    def memory(self, size_bytes: int) -> DeviceMemory:
        """Allocates memory at a multiple of 256 bytes; what it holds is not defined."""
        self.activate()
        return DeviceMemory(self, self.driver.ask("cuMemAlloc", size_bytes), "cuMemFree")

    def pinned(self, size_bytes: int) -> PinnedMemory:
        """Allocates page-locked memory of the host."""
        return PinnedMemory(self, size_bytes)

    def stream(self) -> Owned:
        """Makes a stream that does not wait for the default stream."""
        self.activate()
        flags = self.driver.module.CUstream_flags.CU_STREAM_NON_BLOCKING
        return Owned(self, self.driver.ask("cuStreamCreate", int(flags)), "cuStreamDestroy")

    def event(self) -> Owned:
        """Makes an event without timing."""
        self.activate()
        flags = self.driver.module.CUevent_flags.CU_EVENT_DISABLE_TIMING
        return Owned(self, self.driver.ask("cuEventCreate", int(flags)), "cuEventDestroy")

    def module(self, cubin: bytes) -> Module:
        """Loads compiled kernels."""
        self.activate()
        return Module(self, self.driver.ask("cuModuleLoadData", cubin), "cuModuleUnload")

    def upload(self, array: Bytes, memory: DeviceMemory) -> None:
        """Copies an array to memory, and waits until it is there."""
        # In a stream of its own: waiting for the whole context would break a capture on another thread.
        with self.pinned(array.nbytes) as pinned, self.stream() as stream:
            np.copyto(pinned.array, array.reshape(-1))
            self.driver.ask("cuMemcpyHtoDAsync", memory.handle, pinned.address, array.nbytes, stream.handle)
            self.driver.ask("cuStreamSynchronize", stream.handle)

    def close(self) -> None:
        """Releases the primary context, which ends with its last owner. May be called twice."""
        if self._open:
            self._open = False
            self.driver.ask("cuDevicePrimaryCtxRelease", self._device)

    def __enter__(self) -> Gpu:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_capability(self) -> None:
        if self.capability < _OLDEST:
            raise EngineError(
                f"GPU {self.ordinal}, {self.name}",
                got=f"compute capability {self.capability[0]}.{self.capability[1]}",
                expected="7.5 (Turing) or later",
                todo="Choose another GPU, or build and run the engine with backend 'cpu'.",
            )


class Owned:
    """A thing that the driver made, and destroys once.

    Attributes:
        handle: what the driver calls it.
    """

    def __init__(self, gpu: Gpu, handle: Any, destroy: str) -> None:
        self.handle = handle
        self._gpu = gpu
        self._destroy: str | None = destroy

    def close(self) -> None:
        """Destroys it. May be called twice."""
        destroy, self._destroy = self._destroy, None
        if destroy is not None:
            try:
                self._gpu.activate()
            finally:
                self._gpu.driver.ask(destroy, self.handle)

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DeviceMemory(Owned):
    """Memory of the GPU."""

    @property
    def address(self) -> int:
        """Where it begins."""
        return int(self.handle)


class Module(Owned):
    """Compiled kernels."""

    def function(self, name: str) -> Any:
        """Returns the handle of a kernel, which ends with the module."""
        return self._gpu.driver.ask("cuModuleGetFunction", self.handle, name.encode())


class PinnedMemory:
    """Page-locked memory of the host. It is freed when it was closed *and* no array refers to it any longer.

    So an array that was kept too long holds old pixels, and never memory that is gone.
    """

    def __init__(self, gpu: Gpu, size_bytes: int) -> None:
        shared = gpu.share()
        try:
            shared.activate()
            address = shared.driver.ask("cuMemHostAlloc", size_bytes, 0)
        except BaseException:
            shared.close()
            raise
        pages = _Pages(int(address), size_bytes)
        weakref.finalize(pages, _free, shared, address).atexit = False  # the process' end frees it too
        self._array: Bytes | None = np.asarray(pages)

    @property
    def array(self) -> Bytes:
        """The memory, (n,) uint8; always the same array."""
        assert self._array is not None, "closed"
        return self._array

    @property
    def address(self) -> int:
        """Where it begins."""
        return int(self.array.ctypes.data)

    def close(self) -> None:
        """Forgets the memory. May be called twice."""
        self._array = None

    def __enter__(self) -> PinnedMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Pages:
    """What the arrays of page-locked memory refer to."""

    def __init__(self, address: int, size_bytes: int) -> None:
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (size_bytes,),
            "typestr": "|u1",
            "version": 3,
        }


def _free(gpu: Gpu, address: Any) -> None:
    """Frees page-locked memory, whichever context is current on the thread that dropped the last array."""
    with ExitStack() as ending:
        ending.callback(gpu.close)
        gpu.driver.ask("cuCtxPushCurrent", gpu._context)
        ending.callback(gpu.driver.ask, "cuCtxPopCurrent")
        gpu.driver.ask("cuMemFreeHost", address)


def _check_ordinal(ordinal: int, count: int) -> None:
    if not 0 <= ordinal < count:
        raise OptionError(
            "GPU",
            got=f"number {ordinal}",
            expected=f"a number from 0 to {count - 1}" if count else "any GPU, but there is none",
            todo="nvidia-smi lists the GPUs; CUDA_VISIBLE_DEVICES may hide some of them.",
        )
