"""Arrays on a GPU as others see them: what a caller lends is read here, and memory of ours is described to libraries.

Nothing of PyTorch, CuPy, numba or PyCUDA is imported: they are met through DLPack, the CUDA array interface (version 3)
and plain addresses.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from rvm_trt.errors import DependencyError, FrameError, OptionError
from rvm_trt.runtime.dlpack import VERSION, DlDevice, make_capsule
from rvm_trt.runtime.streams import LEGACY_DEFAULT

Shape = tuple[int, ...]
Order = Callable[[int, int], None]
_MEMORY = {1: "the CPU", 2: "a GPU", 3: "page-locked memory", 13: "managed memory"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an array must be.

    Attributes:
        name: for messages: ``src``, or an output.
        shape: of a uint8 array, contiguous.
        written: whether it is written to.
        whose: ends the message: ``for profile 'hd'``.
    """

    name: str
    shape: Shape
    written: bool
    whose: str

    def check(self, *, shape: Shape, dtype: object, strides: Shape | None, read_only: bool) -> None:
        """Raises `FrameError` where an array is something else; strides are in bytes, None for contiguous."""
        if shape != self.shape or dtype != np.uint8:
            raise self.error(f"{shape} {dtype}", "Give an array of that shape, channels last.")
        dense = _dense(shape)
        if strides is not None and any(
            got != due and size > 1 for got, due, size in zip(strides, dense, shape, strict=True)
        ):
            raise self.error(
                f"strides {strides}",
                f"Make it contiguous, with strides {dense}; a pitch or a crop needs a copy.",
            )
        if self.written and read_only:
            raise self.error("a read-only array", "Give memory that may be written.")

    def error(self, got: str, todo: str) -> FrameError:
        """Returns the error of an array that is something else."""
        access = "writable " if self.written else ""
        return FrameError(self.name, got=got, expected=f"{access}{self.shape} uint8 {self.whose}", todo=todo)


@dataclass(frozen=True, kw_only=True)
class Lent:
    """Memory on a GPU that a caller lends.

    Attributes:
        address: of its first byte.
        stream: handle of the stream that its owner uses it in; None where there is nothing to wait for.
        keep: what keeps the memory, to be held while the GPU uses it; None for a plain address.
    """

    address: int
    stream: int | None
    keep: object


def read_lent(thing: object, wanted: Wanted, *, ordinal: int, stream: int) -> Lent:
    """Returns where an array of the caller's lies.

    Args:
        thing: an array with DLPack or the CUDA array interface, or the address of one.
        wanted: what it must be.
        ordinal: the GPU that it must lie on; an address and the CUDA array interface do not tell.
        stream: handle of the stream in which it will be used. A DLPack producer makes that stream wait for its own
            work before this returns.

    Raises:
        FrameError: it is something else.
        DependencyError: cuda.core is not installed, and the array offers DLPack.
    """
    if hasattr(thing, "__dlpack__") and hasattr(thing, "__dlpack_device__"):
        lent = _read_dlpack(thing, wanted, ordinal, stream)
    elif hasattr(thing, "__cuda_array_interface__"):
        lent = _read_interface(thing, wanted)
    else:
        lent = _read_address(thing, wanted)
    if not lent.address:
        raise wanted.error("address 0", "Check that the memory was allocated.")
    return lent


def _read_dlpack(thing: Any, wanted: Wanted, ordinal: int, stream: int) -> Lent:
    # Asked first: producers on other devices refuse a stream, each in its own way.
    kind, index = (int(value) for value in thing.__dlpack_device__())
    if kind not in (DlDevice.CUDA, DlDevice.CUDA_MANAGED):
        raise wanted.error(
            f"an array on {_MEMORY.get(kind, f'a device of kind {kind}')}",
            f"Move it to GPU {ordinal}, or use submit and collect, which copy.",
        )
    if kind == DlDevice.CUDA and index != ordinal:
        raise wanted.error(f"an array on GPU {index}", f"The session runs on GPU {ordinal}: move it there.")
    try:
        from cuda.core.utils import StridedMemoryView
    except ImportError:
        raise DependencyError("cuda-core", extra="cuda", stage="DLPack on a GPU") from None
    try:
        view = StridedMemoryView.from_dlpack(thing, stream)
        dtype = view.dtype
    except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise wanted.error(
            f"{type(thing).__name__} that does not export itself ({error})",
            "See what its library says of DLPack.",
        ) from error
    wanted.check(
        shape=tuple(view.shape),
        dtype=dtype,
        strides=None if view.strides is None else tuple(view.strides),  # of elements, which are bytes
        read_only=view.readonly,
    )
    return Lent(address=view.ptr, stream=None, keep=view)


def _read_interface(thing: Any, wanted: Wanted) -> Lent:
    described: Mapping[str, Any] = thing.__cuda_array_interface__
    if described.get("mask") is not None:
        raise wanted.error("an array with a mask", "Give an array without one.")
    address, read_only = described["data"]
    strides = described.get("strides")
    wanted.check(
        shape=tuple(described["shape"]),
        dtype=np.dtype(described["typestr"]),
        strides=None if strides is None else tuple(strides),
        read_only=bool(read_only),
    )
    stream = described.get("stream")  # not before version 3; None where nothing has to be waited for
    if stream is not None and (not isinstance(stream, int) or stream <= 0):
        raise wanted.error(
            f"stream {stream!r} in the CUDA array interface",
            "The interface allows None, 1 for the legacy default stream, 2 for the thread's own, or a handle.",
        )
    return Lent(address=int(address), stream=stream, keep=thing)


def _read_address(thing: Any, wanted: Wanted) -> Lent:
    if not isinstance(thing, bool):
        try:
            # PyCUDA's allocations and buffers are indices too.
            address = operator.index(thing)
        except TypeError:
            pass
        else:
            if address >= 0:
                return Lent(address=address, stream=None, keep=None if isinstance(thing, int) else thing)
    raise wanted.error(
        repr(thing) if isinstance(thing, int) else f"{type(thing).__module__}.{type(thing).__qualname__}",
        "Pass an array with DLPack or the CUDA array interface, or an address on the GPU.",
    )


class DeviceArray:
    """Contiguous uint8 memory on a GPU, described for other libraries by DLPack and the CUDA array interface.

    For applications that own plain memory and want it seen as an array: ``torch.from_dlpack(DeviceArray(…))``. It owns
    nothing itself.

    Args:
        address: of the first byte.
        shape: of the array.
        ordinal: of the GPU.
        stream: handle of the stream that the memory is written in; None where all of that has ended.
        owner: what keeps the memory, held as long as anything that was exported.
        read_only: whether others must not write.
        order: ``order(first, then)`` makes stream ``then`` wait for what ``first`` holds; by default through cuda.core.
    """

    def __init__(
        self,
        address: int,
        shape: Shape,
        *,
        ordinal: int = 0,
        stream: int | None = None,
        owner: object = None,
        read_only: bool = False,
        order: Order | None = None,
    ) -> None:
        self.address = address
        self.shape = tuple(shape)
        self.stream = LEGACY_DEFAULT if stream == 0 else stream
        self._ordinal = ordinal
        self._owner = owner
        self._read_only = read_only
        self._order = order_streams if order is None else order

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """Version 3; the consumer waits for ``stream``, and lets it wait for what it does itself."""
        return {
            "shape": self.shape,
            "typestr": "|u1",
            "data": (self.address, self._read_only),
            "strides": _dense(self.shape),  # None would do, but some consumers want them told
            "stream": self.stream,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        """Kind of memory, and its number."""
        return int(DlDevice.CUDA), self._ordinal

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Returns a capsule, after the consumer's stream was made to wait for ``self.stream``.

        Args:
            stream: the consumer's: None or 1 for the legacy default stream, 2 for the thread's own, a handle, or −1
                for no order at all.
            max_version: of the protocol that the consumer knows.
            dl_device: where the consumer wants it: only where it is.
            copy: whether the consumer wants a copy: it gets none.

        Raises:
            BufferError: a copy or another device is asked for, or the memory is read-only and the consumer's version
                of the protocol cannot say so.
            OptionError: the stream is 0, which the protocol forbids, or below −1.
        """
        versioned = max_version is not None and tuple(max_version) >= VERSION
        if copy or (dl_device is not None and tuple(map(int, dl_device)) != self.__dlpack_device__()):
            raise BufferError("a DeviceArray is exported in place, on its own GPU")
        if self._read_only and not versioned:
            raise BufferError("read-only memory needs a consumer of DLPack 1.0 or later")
        self._let_wait(LEGACY_DEFAULT if stream is None else stream)
        return make_capsule(
            self.address,
            self.shape,
            device=(DlDevice.CUDA, self._ordinal),
            owner=self._owner,
            read_only=self._read_only,
            versioned=versioned,
        )

    def _let_wait(self, consumer: int) -> None:
        if consumer == 0 or consumer < -1:
            raise OptionError(
                "stream",
                got=repr(consumer),
                expected="None, -1, 1, 2 or the handle of a CUDA stream",
                todo="DLPack forbids 0: pass 1 for the legacy default stream, 2 for the thread's own.",
            )
        if consumer != -1 and self.stream is not None and consumer != self.stream:
            self._order(self.stream, consumer)


def order_streams(first: int, then: int) -> None:
    """Makes the stream ``then`` wait for what ``first`` holds now, through cuda.core; both are handles.

    Raises:
        DependencyError: cuda.core is not installed.
    """
    try:
        from cuda.core import Stream
    except ImportError:
        raise DependencyError("cuda-core", extra="cuda", stage="order between CUDA streams") from None
    Stream.from_handle(then).wait(Stream.from_handle(first))


def _dense(shape: Shape) -> Shape:
    """Returns the strides of contiguous bytes."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
