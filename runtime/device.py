"""The device: what a schedule asks of a GPU or of a CPU, and the plain words that both share.

Everything is made at start-up: memory, streams, events, and `Operation` objects with their arguments in place. A frame
only enqueues what was prepared, so it allocates nothing. Each operation declares the bytes it reads and writes; a GPU
has no use for that at run time, but the verification needs nothing else to prove that a schedule has no race.

Order, as on CUDA:

- A stream runs its operations one after the other; streams know nothing of each other.
- Every call below but `synchronize` and `finish` returns at once, whatever the streams are doing.
- What the host did before it enqueued an operation is visible to that operation.
- `wait` lets a stream wait for the *last record made before the wait was enqueued*. With no record there is nothing
  to wait for: the call has no effect. A later record moves the event for later waits, not for earlier ones.
- `synchronize` does the same for the host.

Arguments by value: memory that was bound (`Borrowed.bind`) and a `Background.colour` are read when an operation is
*enqueued*; what stands in memory is read when it *runs*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class Buffer:
    """Memory of a device. It belongs to the device that made it, and ends with it.

    Args:
        name: what it holds, for findings and error messages.
        size_bytes: its size.
    """

    def __init__(self, name: str, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes

    def span(self, start: int = 0, stop: int | None = None) -> Span:
        """Returns the bytes ``start..stop``; all of them by default."""
        return Span(self, start, self.size_bytes if stop is None else stop)

    def part(self, index: int, count: int) -> Span:
        """Returns part ``index`` of ``count`` equal parts: one video's share of a batch."""
        size = self.size_bytes // count
        return Span(self, index * size, (index + 1) * size)


@dataclass(frozen=True)
class Span:
    """The bytes ``start..stop`` of a buffer; ``stop`` is not among them."""

    buffer: Buffer
    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """Number of bytes."""
        return self.stop - self.start


class Stream:
    """A queue of operations that run in order."""

    def __init__(self, name: str) -> None:
        self.name = name


class Event:
    """A mark in a stream that other streams and the host can wait for. It may be recorded again and again."""

    def __init__(self, name: str) -> None:
        self.name = name


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """Work with its arguments in place, ready to be enqueued any number of times. Devices add how it is launched.

    Attributes:
        name: what it does, with what tells it from its like: ``sample``, ``core.1``.
        reads, writes: every byte it may touch, but for constants.
        context: what can run only once at a time, if it uses such a thing: an engine's execution context.
        state: for the network, the state it reads and the state it writes.
        parts: for a graph, the operations it was captured from, in order.
    """

    name: str
    reads: tuple[Span, ...] = ()
    writes: tuple[Span, ...] = ()
    context: str = ""
    state: tuple[tuple[Span, ...], tuple[Span, ...]] = ((), ())
    parts: tuple[Operation, ...] = ()


class Inlet(Protocol):
    """A way for host memory into a buffer: page-locked memory, a buffer, and the upload between them.

    A device without memory of its own lets the buffer refer to the host's array instead: ``upload`` does nothing then.
    """

    @property
    def buffer(self) -> Buffer:
        """Where ``upload`` puts the bytes."""

    @property
    def upload(self) -> Operation:
        """Copies the page-locked memory to ``buffer``."""

    def write(self, array: Bytes) -> None:
        """Fills the page-locked memory with a contiguous array of its size. The host waits for nothing: the caller
        makes sure that the last upload has ended."""

    def release(self) -> None:
        """Forgets the array that `write` was given, where it was not copied. Everything that reads it is enqueued."""


class Outlet(Protocol):
    """A way out of a buffer into host memory: a buffer, page-locked memory, and the download between them."""

    @property
    def buffer(self) -> Buffer:
        """What ``download`` reads. Outlets made together may share it."""

    @property
    def download(self) -> Operation:
        """Copies ``buffer`` to ``array``."""

    @property
    def array(self) -> Bytes:
        """The page-locked memory, (n,) uint8; always the same array."""


class Borrowed(Protocol):
    """A buffer whose memory belongs to the caller."""

    @property
    def buffer(self) -> Buffer:
        """Stands for the memory in the arguments of operations."""

    def bind(self, memory: Any) -> None:
        """Makes operations that are enqueued from now on use this memory: an address on a GPU, an array on a CPU."""


class Device(Protocol):
    """The memory, streams and events of one schedule, and the calls that enqueue. It owns all that it makes.

    Several devices may stand on one GPU and share its engines. A device belongs to one thread at a time.
    """

    def buffer(self, name: str, size_bytes: int) -> Buffer:
        """Allocates memory, aligned for any type; what it holds is not defined."""

    def borrowed(self, name: str, size_bytes: int) -> Borrowed:
        """Makes a buffer without memory."""

    def inlet(self, name: str, size_bytes: int) -> Inlet:
        """Allocates a way in."""

    def outlets(self, name: str, size_bytes: int, count: int) -> tuple[Outlet, ...]:
        """Allocates ``count`` ways out whose buffers are written and downloaded in one and the same stream.

        The stream's order keeps the next frame from a buffer until it is downloaded, so one buffer serves all of
        them. A device that does not copy gives each its own.
        """

    def stream(self, name: str) -> Stream:
        """Makes a stream, which does not wait for the default stream."""

    def event(self, name: str) -> Event:
        """Makes an event without timing, not recorded."""

    def fill(self, target: Span) -> Operation:
        """Prepares setting bytes to zero."""

    def copy(self, source: Span, target: Span) -> Operation:
        """Prepares a copy between two buffers of this device, of equal size."""

    def graph(self, name: str, operations: Sequence[Operation], stream: Stream) -> Operation:
        """Captures operations in order and returns one that launches them all.

        Each of them has run before. Only these operations are captured: waits and records stay outside, in the
        stream. ``stream`` may have work in it, which is not captured and not waited for; the capture itself runs
        nothing. The reads and writes of the result are those of its ``parts``. A device without graphs returns an
        operation that runs the parts in turn.
        """

    def activate(self) -> None:
        """Makes the calling thread able to enqueue, whatever it or other libraries did before.

        Writing to an inlet, binding borrowed memory, `synchronize` and `finish` do this too.
        """

    def enqueue(self, operation: Operation, stream: Stream) -> None:
        """Appends an operation to a stream."""

    def record(self, event: Event, stream: Stream) -> None:
        """Records an event behind all that the stream holds."""

    def wait(self, stream: Stream, event: Event) -> None:
        """Lets what is enqueued from now on wait for an event."""

    def synchronize(self, event: Event) -> None:
        """Lets the host wait for an event."""

    def finish(self) -> None:
        """Lets the host wait for everything in the streams of this device."""

    def close(self) -> None:
        """Releases all that the device made. The streams must be finished. May be called twice."""
