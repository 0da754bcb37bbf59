"""What the stand-in for CUDA's driver keeps: handles, memory, which context is current where, what is captured."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver as real

Bytes = npt.NDArray[np.uint8]
CONTEXT = 0xC0


class Refused(Exception):  # noqa: N818
    """What a function raises that returns another code than success."""

    def __init__(self, code: Any) -> None:
        self.code = code


class GpuState:
    """The state of a GPU.

    Attributes:
        live: handle → kind, of all that was made and not destroyed.
        retained: owners of the primary context.
        current: thread → context.
        memory: address → bytes of every allocation.
    """

    def __init__(self) -> None:
        self.live: dict[int, str] = {}
        self.retained = 0
        self.current: dict[int, int] = {}
        self.memory: dict[int, Bytes] = {}
        self._made = 0x1000
        self._captured: dict[int, list[Callable[[], None]]] = {}

    def enqueue(self, stream: Any, work: Callable[[], None]) -> None:
        """Runs work, or keeps it for the graph that is captured from the stream."""
        self._need(stream, "stream")
        if self._captured:
            self._captured[int(stream)].append(work)
        else:
            work()

    def bytes_at(self, address: Any, size: int, kind: str | None = None) -> Bytes:
        """The memory at an address, which must be all of one allocation."""
        start = self.allocation(int(address))
        assert kind is None or self.live[start] == kind
        assert int(address) + size <= start + self.memory[start].size, f"{size} bytes at {int(address):#x}"
        return self.memory[start][int(address) - start :][:size]

    def allocation(self, address: int) -> int:
        """Where the allocation around an address begins."""
        found = [start for start, whole in self.memory.items() if start <= address < start + whole.size]
        assert found, f"no memory at {address:#x}"
        return found[0]

    def check_context(self) -> None:
        """Refuses where the primary context is not current on this thread."""
        if not self.retained or self.current.get(threading.get_ident()) != CONTEXT:
            raise Refused(real.CUresult.CUDA_ERROR_INVALID_CONTEXT)

    def _make(self, kind: str) -> int:
        self.check_context()
        assert not self._captured, f"{kind} made during a capture"
        self._made += 0x10
        self.live[self._made] = kind
        return self._made

    def _destroy(self, handle: Any, kind: str) -> None:
        self.check_context()
        self._need(handle, kind)
        del self.live[int(handle)]

    def _need(self, handle: Any, kind: str) -> None:
        assert self.live.get(int(handle)) == kind, f"{int(handle):#x} is no {kind}"

    def _allocate(self, kind: str, size: int) -> int:
        self._make(kind)
        del self.live[self._made]
        whole = np.full(size + 255, 0xC7, np.uint8)  # what fresh memory holds is not defined
        memory = whole[-whole.ctypes.data % 256 :][:size]
        self.memory[memory.ctypes.data] = memory
        self.live[memory.ctypes.data] = kind
        return int(memory.ctypes.data)

    def _copy(self, target: Bytes, source: Bytes, stream: Any) -> None:
        self.check_context()
        self.enqueue(stream, lambda: np.copyto(target, source))
