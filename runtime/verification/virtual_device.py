"""The recording device: it runs nothing, and writes down every call with the bytes that it touches.

Memory is real and apart from the host's, as on a GPU: uploads and downloads are copies. What is recorded can be
checked, or executed later, in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from rvm_trt.runtime.cpu import CpuBuffer, CpuOperation, aligned, memory_of
from rvm_trt.runtime.device import Buffer, Bytes, Event, Operation, Span, Stream
from rvm_trt.runtime.verification.program import (
    Enqueued,
    Entry,
    Finished,
    Freed,
    HostRead,
    HostWrote,
    Memory,
    Program,
    Recorded,
    Region,
    Regions,
    Synchronized,
    Waited,
)


class VirtualBuffer(CpuBuffer):
    """A buffer that knows its memory, which another buffer may share."""

    def __init__(self, name: str, size_bytes: int, memory: Memory) -> None:
        super().__init__(name, size_bytes, memory.array)
        self.memory = memory

    def refer(self, memory: Memory) -> None:
        """Makes the buffer stand for other memory."""
        self.memory = memory
        self.array = memory.array


class InjectedError(Exception):
    """What a device raises that was told to fail."""


@dataclass
class Log:
    """What all devices of one run write to.

    Attributes:
        entries: the calls so far.
        label, call: of the entries to come.
        key: of the reads of outlets to come.
        keeps_data: whether what the host writes is kept, to be executed.
        fail_after: number of operations that may still be enqueued before one fails; None for never.
    """

    entries: list[Entry] = field(default_factory=list)
    label: str = "start"
    call: str = "start"
    key: str = ""
    keeps_data: bool = True
    fail_after: int | None = None

    def add(self, kind: Callable[..., Entry], **values: Any) -> None:
        """Appends an entry."""
        self.entries.append(kind(label=self.label, call=self.call, **values))

    @property
    def program(self) -> Program:
        """All that was logged."""
        return tuple(self.entries)

    @contextmanager
    def calling(self, call: str, label: str, *, key: str = "") -> Iterator[None]:
        """Names the call and the frame that the entries within belong to."""
        before = self.call, self.label, self.key
        self.call, self.label, self.key = call, label, key
        try:
            yield
        finally:
            self.call, self.label, self.key = before


class VirtualInlet:
    """Page-locked memory, a buffer and the copy between them. Serves as `Inlet`."""

    def __init__(self, device: VirtualDevice, name: str, size_bytes: int) -> None:
        self._device = device
        self.pinned = device.allocate(f"pinned {name}", size_bytes)
        self.buffer = device.allocate(name, size_bytes)
        self.upload = device.copy(self.pinned.span(), self.buffer.span(), name=f"upload {name}")

    def write(self, array: Bytes) -> None:
        """Logs the write, with the bytes as they are now."""
        self._device.write(self.pinned, array)

    def release(self) -> None:
        """The bytes were copied."""


class VirtualOutlet:
    """A buffer, page-locked memory and the copy between them. Serves as `Outlet`."""

    def __init__(self, device: VirtualDevice, name: str, buffer: VirtualBuffer) -> None:
        self._device = device
        self.buffer = buffer
        self.pinned = device.allocate(f"pinned {name}", buffer.size_bytes)
        self.download = device.copy(buffer.span(), self.pinned.span(), name=f"download {name}")

    @property
    def array(self) -> Bytes:
        """The page-locked memory, which holds something only while a program is executed. Logs that it is read."""
        self._device.read(self.pinned, self._device.log.key)
        return self.pinned.array


class VirtualBorrowed:
    """A buffer without memory of its own. Serves as `Borrowed`; memory is a `VirtualBuffer`."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self._none = Memory(name=f"unbound {name}", array=np.zeros(size_bytes, np.uint8))
        self.buffer = VirtualBuffer(name, size_bytes, self._none)

    def bind(self, memory: VirtualBuffer) -> None:
        """Stands for another buffer from now on."""
        self.buffer.refer(memory.memory)


class VirtualDevice:
    """A `Device` that logs.

    Args:
        log: where to; devices of several videos share it.
        video: set before the names of streams, events and memory, where there are several.
        aliases: planted faults: the memory of the first name becomes that of the second.
    """

    def __init__(self, log: Log, *, video: str = "", aliases: Mapping[str, str] | None = None) -> None:
        self.log = log
        self._prefix = f"{video}/" if video else ""
        self._aliases = aliases or {}
        self._memories: dict[str, Memory] = {}
        self._streams: list[str] = []

    def allocate(self, name: str, size_bytes: int) -> VirtualBuffer:
        """Allocates memory of its own, or that of the name's alias."""
        own = self._aliases.get(name, name)
        if own not in self._memories:
            self._memories[own] = Memory(name=self._prefix + own, array=aligned(size_bytes))
        return VirtualBuffer(name, size_bytes, self._memories[own])

    def buffer(self, name: str, size_bytes: int) -> Buffer:
        """See `Device.buffer`."""
        return self.allocate(name, size_bytes)

    def borrowed(self, name: str, size_bytes: int) -> VirtualBorrowed:
        """See `Device.borrowed`."""
        return VirtualBorrowed(name, size_bytes)

    def inlet(self, name: str, size_bytes: int) -> VirtualInlet:
        """See `Device.inlet`."""
        return VirtualInlet(self, name, size_bytes)

    def outlets(self, name: str, size_bytes: int, count: int) -> tuple[VirtualOutlet, ...]:
        """See `Device.outlets`; they share one buffer."""
        buffer = self.allocate(name, size_bytes)
        return tuple(VirtualOutlet(self, f"{name}.{index}", buffer) for index in range(count))

    def stream(self, name: str) -> Stream:
        """See `Device.stream`."""
        self._streams.append(self._prefix + name)
        return Stream(self._prefix + name)

    def event(self, name: str) -> Event:
        """See `Device.event`."""
        return Event(self._prefix + name)

    def fill(self, target: Span) -> Operation:
        """See `Device.fill`."""
        memory = memory_of(target)
        return CpuOperation(name="fill", writes=(target,), work=lambda: memory.fill(0))

    def copy(self, source: Span, target: Span, *, name: str = "") -> Operation:
        """See `Device.copy`."""
        return CpuOperation(
            name=name or f"copy {source.buffer.name} to {target.buffer.name}",
            reads=(source,),
            writes=(target,),
            work=np.copyto,
            arguments=lambda: (memory_of(target), memory_of(source)),
        )

    def graph(self, name: str, operations: Sequence[Operation], stream: Stream) -> Operation:  # noqa: ARG002
        """See `Device.graph`."""
        return Operation(name=name, parts=tuple(operations))

    def enqueue(self, operation: Operation, stream: Stream) -> None:
        """Logs an operation, or the parts of a graph, with its arguments as they are now."""
        if self.log.fail_after is not None:
            self.log.fail_after -= 1
            if self.log.fail_after < 0:
                self.log.fail_after = None
                raise InjectedError
        for part in operation.parts or (operation,):
            call = cast(CpuOperation, part)
            self.log.add(
                Enqueued,
                stream=stream.name,
                name=part.name,
                reads=self._regions(part.reads),
                writes=self._regions(part.writes),
                context=part.context,
                state=(self._regions(part.state[0]), self._regions(part.state[1])),
                work=call.work,
                arguments=call.arguments(),
            )

    def record(self, event: Event, stream: Stream) -> None:
        """See `Device.record`."""
        self.log.add(Recorded, stream=stream.name, event=event.name)

    def wait(self, stream: Stream, event: Event) -> None:
        """See `Device.wait`."""
        self.log.add(Waited, stream=stream.name, event=event.name)

    def synchronize(self, event: Event) -> None:
        """See `Device.synchronize`."""
        self.log.add(Synchronized, event=event.name)

    def activate(self) -> None:
        """Any thread may call."""

    def finish(self) -> None:
        """See `Device.finish`."""
        self.log.add(Finished, streams=tuple(self._streams))

    def close(self) -> None:
        """Logs that all memory is released."""
        memories = tuple(Region(memory, 0, memory.array.size) for memory in self._memories.values())
        self.log.add(Freed, regions=memories)

    def write(self, buffer: VirtualBuffer, data: Bytes) -> None:
        """Logs that the host writes page-locked memory."""
        kept = data.copy() if self.log.keeps_data else data[:0]
        self.log.add(HostWrote, region=self.region(buffer.span()), data=kept)

    def read(self, buffer: VirtualBuffer, key: str = "") -> None:
        """Logs that the host reads page-locked memory."""
        self.log.add(HostRead, region=self.region(buffer.span()), key=key)

    def region(self, span: Span) -> Region:
        """Returns the memory behind a span as it is bound now."""
        return Region(cast(VirtualBuffer, span.buffer).memory, span.start, span.stop)

    def _regions(self, spans: Sequence[Span]) -> Regions:
        return tuple(map(self.region, spans))
