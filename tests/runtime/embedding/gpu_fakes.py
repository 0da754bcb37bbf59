"""Arrays that claim to lie on a GPU: producers of DLPack and of the CUDA array interface, to the letter of both."""

from __future__ import annotations

import ctypes
from math import prod
from typing import Any

CUDA, MANAGED = 2, 13


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class DLManagedTensor(ctypes.Structure):
    _fields_ = (("dl_tensor", DLTensor), ("manager_ctx", ctypes.c_void_p), ("deleter", DELETER))


class DLManagedTensorVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", DELETER),
        ("flags", ctypes.c_uint64),
        ("dl_tensor", DLTensor),
    )


new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


class DlpackArray:
    """A producer of DLPack.

    Attributes:
        streams: the ``stream`` that each consumer gave.
        deleted: how often a deleter was called.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        address: int = 0x10000,
        byte_offset: int = 0,
        device: tuple[int, int] = (CUDA, 0),
        strides: tuple[int, ...] | None = None,
        dtype: tuple[int, int, int] = (1, 8, 1),
        read_only: bool = False,
        versioned: bool = True,
    ) -> None:
        self.shape, self.strides = shape, strides or _dense(shape)
        self.address, self.byte_offset, self.device, self.dtype = address, byte_offset, device, dtype
        self.read_only, self.versioned = read_only, versioned
        self.streams: list[Any] = []
        self.deleted = 0
        self._exported: list[Any] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None) -> Any:
        self.streams.append(stream)
        if self.device[0] not in (CUDA, MANAGED) and stream is not None:
            raise AssertionError("a stream for memory that has none")
        versioned = self.versioned and max_version is not None and max_version >= (1, 0)
        rank = len(self.shape)
        shape, strides = (ctypes.c_int64 * rank)(*self.shape), (ctypes.c_int64 * rank)(*self.strides)
        tensor = DLTensor(self.address, *self.device, rank, *self.dtype, shape, strides, self.byte_offset)
        deleter = DELETER(self._delete)
        managed: Any
        if versioned:
            managed = DLManagedTensorVersioned(1, 0, None, deleter, int(self.read_only), tensor)
        else:
            managed = DLManagedTensor(tensor, None, deleter)
        self._exported.append((managed, shape, strides, deleter))
        name = b"dltensor_versioned" if versioned else b"dltensor"
        return new_capsule(ctypes.addressof(managed), name, None)

    def _delete(self, _address: int) -> None:
        self.deleted += 1


class CaiArray:
    """A producer of the CUDA array interface; ``changes`` replace or, with Ellipsis, remove entries."""

    def __init__(
        self, shape: tuple[int, ...], *, address: int = 0x10000, stream: int | None = None, **changes: Any
    ) -> None:
        described = {
            "shape": shape,
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
            "strides": None,
            "stream": stream,
            **changes,
        }
        self.__cuda_array_interface__ = {k: v for k, v in described.items() if v is not ...}


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
