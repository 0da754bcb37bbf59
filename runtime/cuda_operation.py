"""Memory of a GPU and prepared calls of CUDA's driver: what stages make and a `CudaDevice` enqueues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy.typing as npt

from rvm_trt.runtime.device import Buffer, Operation, Span

Launch = Callable[[Any], tuple[Any]]


class CudaBuffer(Buffer):
    """Memory of a GPU.

    Attributes:
        address: where it begins; 0 while it stands for memory of the caller's that was not given yet.
    """

    def __init__(self, name: str, size_bytes: int, address: int) -> None:
        super().__init__(name, size_bytes)
        self.address = address
        self._places: list[tuple[npt.NDArray[Any], int]] = []

    def keep_in(self, place: npt.NDArray[Any], offset: int) -> None:
        """Writes the address of byte ``offset`` to a place, (,) uint64, now and whenever it changes."""
        self._places.append((place, offset))
        place[...] = self.address + offset if self.address else 0

    def refer(self, address: int) -> None:
        """Stands for the memory at an address from now on."""
        self.address = address
        for place, offset in self._places:
            place[...] = address + offset


def _always(_stream: Any) -> bool:
    return True


@dataclass(frozen=True, kw_only=True, eq=False)
class CudaOperation(Operation):
    """A call of the driver.

    Attributes:
        launch: makes the call for the handle of a stream, and returns what the driver's functions return.
        is_capturable: whether a graph can be made of it.
    """

    launch: Launch
    is_capturable: Callable[[Any], bool] = _always


def address_of(span: Span) -> int:
    """Returns where a span of a `CudaBuffer` begins, as it is bound now."""
    return cast(CudaBuffer, span.buffer).address + span.start


def in_turn(operations: Sequence[CudaOperation]) -> Launch:
    """Returns what launches operations one after the other, up to the first that fails."""

    def launch(stream: Any) -> tuple[Any]:
        result: tuple[Any] = (0,)
        for operation in operations:
            result = operation.launch(stream)
            if result[0]:
                break
        return result

    return launch
