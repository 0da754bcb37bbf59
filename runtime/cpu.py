"""The CPU as a device: operations run at once, on the caller's thread, and frames are not copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from rvm_trt.runtime.device import Buffer, Bytes, Event, Operation, Span, Stream

_ALIGNMENT = 64  # a cache line, and the widest vector


class CpuBuffer(Buffer):
    """Memory of the host.

    Attributes:
        array: (n,) uint8. For a buffer that stands for the caller's memory, that memory; empty while there is none.
    """

    def __init__(self, name: str, size_bytes: int, array: Bytes) -> None:
        super().__init__(name, size_bytes)
        self.array = array


@dataclass(frozen=True, kw_only=True, eq=False)
class CpuOperation(Operation):
    """A call with its arguments.

    Attributes:
        work: the call.
        arguments: returns the arguments as they are now: what is passed by value is fixed when it is called.
    """

    work: Callable[..., None]
    arguments: Callable[[], tuple[Any, ...]] = tuple


class CpuInlet:
    """A buffer that refers to the host's array between `write` and `release`. Also serves as `Borrowed`."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self.buffer = CpuBuffer(name, size_bytes, np.empty(0, np.uint8))
        self.upload = CpuOperation(name=f"upload {name}", work=_nothing)

    def write(self, array: Bytes) -> None:
        """Lets the buffer refer to an array, read-only."""
        # Always read-only: to the compiler of the kernels that is another type, and a new type would be compiled in
        # mid-video.
        view = array.reshape(-1).view()
        view.flags.writeable = False
        self.buffer.array = view

    def release(self) -> None:
        """Forgets the array."""
        self.buffer.array = np.empty(0, np.uint8)


class CpuBorrowed:
    """A buffer that refers to an array of the caller's."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self.buffer = CpuBuffer(name, size_bytes, np.empty(0, np.uint8))

    def bind(self, memory: Bytes) -> None:
        """Lets the buffer refer to a contiguous uint8 array."""
        self.buffer.array = memory.reshape(-1)


class CpuOutlet:
    """A buffer that the host reads where it is."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self.buffer = CpuBuffer(name, size_bytes, aligned(size_bytes))
        self.download = CpuOperation(name=f"download {name}", work=_nothing)

    @property
    def array(self) -> Bytes:
        """The buffer's own memory."""
        return self.buffer.array


class CpuDevice:
    """A device whose operations have ended when `enqueue` returns; events therefore mean nothing."""

    def buffer(self, name: str, size_bytes: int) -> Buffer:
        """Allocates zeros."""
        return CpuBuffer(name, size_bytes, aligned(size_bytes))

    def borrowed(self, name: str, size_bytes: int) -> CpuBorrowed:
        """See `Device.borrowed`; memory is a contiguous uint8 array."""
        return CpuBorrowed(name, size_bytes)

    def inlet(self, name: str, size_bytes: int) -> CpuInlet:
        """See `Device.inlet`; nothing is copied."""
        return CpuInlet(name, size_bytes)

    def outlets(self, name: str, size_bytes: int, count: int) -> tuple[CpuOutlet, ...]:
        """See `Device.outlets`; each has its own memory, which the host reads in place."""
        return tuple(CpuOutlet(f"{name}.{index}", size_bytes) for index in range(count))

    def stream(self, name: str) -> Stream:
        """Returns a name."""
        return Stream(name)

    def event(self, name: str) -> Event:
        """Returns a name."""
        return Event(name)

    def fill(self, target: Span) -> Operation:
        """See `Device.fill`."""
        memory = memory_of(target)
        return CpuOperation(name=f"fill {target.buffer.name}", writes=(target,), work=lambda: memory.fill(0))

    def copy(self, source: Span, target: Span) -> Operation:
        """See `Device.copy`."""
        return CpuOperation(
            name=f"copy {source.buffer.name} to {target.buffer.name}",
            reads=(source,),
            writes=(target,),
            work=np.copyto,
            arguments=lambda: (memory_of(target), memory_of(source)),
        )

    def graph(self, name: str, operations: Sequence[Operation], stream: Stream) -> Operation:
        """Returns an operation that runs the others."""

        def run() -> None:
            for operation in operations:
                self.enqueue(operation, stream)

        return CpuOperation(
            name=name,
            reads=tuple(span for operation in operations for span in operation.reads),
            writes=tuple(span for operation in operations for span in operation.writes),
            parts=tuple(operations),
            work=run,
        )

    def enqueue(self, operation: Operation, stream: Stream) -> None:  # noqa: ARG002
        """Runs an operation."""
        call = cast(CpuOperation, operation)
        call.work(*call.arguments())

    def record(self, event: Event, stream: Stream) -> None:
        """Nothing is under way."""

    def wait(self, stream: Stream, event: Event) -> None:
        """Nothing is under way."""

    def synchronize(self, event: Event) -> None:
        """Nothing is under way."""

    def activate(self) -> None:
        """Any thread may call."""

    def finish(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """The memory ends with the last that refers to it."""


def memory_of(span: Span) -> Bytes:
    """Returns the bytes of a span of a `CpuBuffer`, (n,) uint8."""
    memory: Bytes = cast(CpuBuffer, span.buffer).array[span.start : span.stop]
    return memory


def aligned(size_bytes: int) -> Bytes:
    """Returns zeros, (n,) uint8, that begin at a multiple of 64 bytes."""
    whole = np.zeros(size_bytes + _ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % _ALIGNMENT
    return whole[start : start + size_bytes]


def _nothing() -> None:
    pass
