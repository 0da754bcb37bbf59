"""A host that writes small programs by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rvm_trt.runtime.verification.program import (
    Claimed,
    Enqueued,
    Entry,
    Finished,
    HostRead,
    HostWrote,
    Memory,
    Program,
    Recorded,
    Region,
    Released,
    Synchronized,
    Waited,
)


class Host:
    """Makes calls, one after the other. Operations copy what they read to what they write."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._memories: dict[str, Memory] = {}
        self.frame = 0

    @property
    def program(self) -> Program:
        return tuple(self._entries)

    def region(self, name: str, start: int = 0, stop: int = 8) -> Region:
        memory = self._memories.setdefault(name, Memory(name=name, array=np.zeros(8, np.uint8)))
        return Region(memory, start, stop)

    def run(
        self,
        stream: str,
        name: str,
        *,
        reads: tuple[Region, ...] = (),
        writes: tuple[Region, ...] = (),
        **more: Any,
    ) -> None:
        arrays = [region.memory.array[region.start : region.stop] for region in (*reads, *writes)]

        def work() -> None:
            for target in arrays[len(reads) :]:
                target[:] = arrays[0] if reads else 0

        self._add(
            Enqueued, stream=stream, name=name, reads=reads, writes=writes, work=work, arguments=(), **more
        )

    def record(self, event: str, stream: str) -> None:
        self._add(Recorded, event=event, stream=stream)

    def wait(self, stream: str, event: str) -> None:
        self._add(Waited, stream=stream, event=event)

    def synchronize(self, event: str) -> None:
        self._add(Synchronized, event=event)

    def finish(self, *streams: str) -> None:
        self._add(Finished, streams=streams)

    def write(self, region: Region, value: int = 1) -> None:
        self._add(HostWrote, region=region, data=np.full(region.size_bytes, value, np.uint8))

    def read(self, region: Region, key: str = "") -> None:
        self._add(HostRead, region=region, key=key)

    def claim(self, place: str) -> None:
        self._add(Claimed, place=place)

    def release(self, place: str) -> None:
        self._add(Released, place=place)

    def _add(self, kind: Any, **values: Any) -> None:
        self._entries.append(kind(label=f"frame {self.frame}", call="submit", **values))


@pytest.fixture(scope="session")
def new_host() -> type[Host]:
    return Host


@pytest.fixture
def host(new_host: type[Host]) -> Host:
    return new_host()
