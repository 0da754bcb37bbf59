"""A program: every call that a host made on virtual devices, in order, with the bytes that each touches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rvm_trt.runtime.device import Bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """One piece of memory, of a device or of the host. Buffers that share it conflict.

    Attributes:
        name: as findings call it.
        array: (n,) uint8.
    """

    name: str
    array: Bytes = field(repr=False)


@dataclass(frozen=True)
class Region:
    """The bytes ``start..stop`` of a memory; ``stop`` is not among them."""

    memory: Memory
    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """Number of bytes."""
        return self.stop - self.start


Regions = tuple[Region, ...]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One call.

    Attributes:
        label: which frame of which video it belongs to, as ``frame 3`` or ``video 1, frame 3``.
        call: the call of the schedule that made it: ``submit``, ``collect``, ….
    """

    label: str
    call: str

    @property
    def site(self) -> str:
        """The place in the schedule's source that it comes from, the same for every frame."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Enqueued(Entry):
    """An operation appended to a stream."""

    stream: str
    name: str
    reads: Regions
    writes: Regions
    context: str = ""
    state: tuple[Regions, Regions] = ((), ())
    work: Callable[..., None] = field(repr=False)
    arguments: tuple[Any, ...] = field(repr=False)

    @property
    def site(self) -> str:
        return f"{_base(self.stream)}: {_base(self.name)} ({self.call})"


@dataclass(frozen=True, kw_only=True)
class Recorded(Entry):
    """An event recorded in a stream."""

    stream: str
    event: str

    @property
    def site(self) -> str:
        return f"{_base(self.stream)}: record {_base(self.event)}"


@dataclass(frozen=True, kw_only=True)
class Waited(Entry):
    """A stream that waits for an event."""

    stream: str
    event: str

    @property
    def site(self) -> str:
        return f"{_base(self.stream)}: wait {_base(self.event)}"


@dataclass(frozen=True, kw_only=True)
class Synchronized(Entry):
    """The host waits for an event."""

    event: str

    @property
    def site(self) -> str:
        return f"host: synchronize {_base(self.event)} ({self.call})"


@dataclass(frozen=True, kw_only=True)
class Finished(Entry):
    """The host waits for all that some streams hold."""

    streams: tuple[str, ...]

    @property
    def site(self) -> str:
        return f"host: finish ({self.call})"


@dataclass(frozen=True, kw_only=True)
class HostWrote(Entry):
    """The host writes page-locked memory."""

    region: Region
    data: Bytes = field(repr=False)

    @property
    def site(self) -> str:
        return f"host: write {_base(self.region.memory.name)}"


@dataclass(frozen=True, kw_only=True)
class HostRead(Entry):
    """The host reads page-locked memory.

    Attributes:
        key: names what was read, to compare it with the serial run; empty where that is not wanted.
    """

    region: Region
    key: str

    @property
    def site(self) -> str:
        return f"host: read {_base(self.region.memory.name)}"


@dataclass(frozen=True, kw_only=True)
class Freed(Entry):
    """The host releases memory."""

    regions: Regions

    @property
    def site(self) -> str:
        return "host: free"


@dataclass(frozen=True, kw_only=True)
class Claimed(Entry):
    """The host takes a place in a bounded ring, and would wait while that place is taken."""

    place: str

    @property
    def site(self) -> str:
        return f"host: claim a {_base(self.place)}"


@dataclass(frozen=True, kw_only=True)
class Released(Entry):
    """The host gives a place in a bounded ring back."""

    place: str

    @property
    def site(self) -> str:
        return f"host: release a {_base(self.place)}"


Program = tuple[Entry, ...]


def describe(entry: Entry) -> str:
    """Returns an entry in words, with its frame."""
    if isinstance(entry, Enqueued):
        return f"{entry.stream}: {entry.name} ({entry.label}, {entry.call})"
    if isinstance(entry, HostWrote):
        return f"host: write {entry.region.memory.name} ({entry.label}, {entry.call})"
    if isinstance(entry, HostRead):
        return f"host: read {entry.region.memory.name} ({entry.label}, {entry.call})"
    return f"{entry.site} ({entry.label})"


def _base(name: str) -> str:
    """Returns a name without the video before it and the numbers behind it."""
    parts = name.split("/")[-1].split(".")
    return parts[0]
