"""DLPack, the exporting side: capsules that describe memory of ours to other libraries.

What others export is read by ``numpy.from_dlpack`` on the CPU and by cuda.core on a GPU.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from math import prod
from typing import Any

VERSION = (1, 0)
"""The newest version of the protocol that is spoken here."""
_READ_ONLY = 1
_UINT = 1


class DlDevice(IntEnum):
    """Kinds of memory, as dlpack.h numbers them."""

    CPU = 1
    CUDA = 2
    CUDA_MANAGED = 13


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("type_bits", ctypes.c_uint8),
        ("type_lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    """What a capsule named ``dltensor`` holds."""

    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))
    name = b"dltensor"


class _ManagedVersioned(ctypes.Structure):
    """What a capsule named ``dltensor_versioned`` holds."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )
    name = b"dltensor_versioned"


def make_capsule(
    address: int,
    shape: tuple[int, ...],
    *,
    device: tuple[DlDevice, int],
    owner: object,
    read_only: bool = False,
    versioned: bool = True,
) -> Any:
    """Returns a DLPack capsule for contiguous uint8 memory.

    Args:
        address: of the first byte.
        shape: of the array.
        device: kind of memory, and its number.
        owner: what keeps the memory; it is held until the consumer calls the deleter, or drops an unused capsule.
        read_only: whether the consumer must not write; said only by a versioned capsule.
        versioned: whether to make the form of DLPack 1.0, for consumers that ask for it.
    """
    rank = len(shape)
    strides = tuple(prod(shape[axis + 1 :]) for axis in range(rank))
    numbers = (ctypes.c_int64 * (2 * rank))(*shape, *strides)
    start = ctypes.addressof(numbers)
    tensor = _Tensor(
        data=address,
        device_type=device[0],
        device_id=device[1],
        ndim=rank,
        type_code=_UINT,
        type_bits=8,
        type_lanes=1,
        shape=start,
        strides=start + 8 * rank,
    )
    managed: Any
    if versioned:
        managed = _ManagedVersioned(
            major=VERSION[0], minor=VERSION[1], flags=_READ_ONLY if read_only else 0, tensor=tensor
        )
    else:
        managed = _Managed(tensor=tensor)
    # One reference, which the deleter gives back, keeps all of this alive: the struct and the numbers lie in it.
    held = (managed, numbers, owner)
    managed.context = id(held)
    managed.deleter = ctypes.cast(_DELETERS[type(managed)], ctypes.c_void_p)
    capsule = _new_capsule(ctypes.addressof(managed), managed.name, _DESTRUCTOR)
    _keep(held)
    return capsule


def _delete_of(kind: Any) -> Any:
    def delete(address: int) -> None:
        _drop(kind.from_address(address).context)

    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(delete)


def _destroy(capsule: int) -> None:
    """Ends a capsule. A consumer that took its content gave it another name, and calls the deleter itself."""
    for kind in (_Managed, _ManagedVersioned):
        if _is_capsule(capsule, kind.name):
            _drop(kind.from_address(_content(capsule, kind.name)).context)


def _api(name: str, result: Any, *arguments: Any) -> Any:
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


# Constants: foreign code calls the two callbacks for as long as it holds what was exported.
_new_capsule = _api("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_is_capsule = _api("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_content = _api("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_keep = _api("Py_IncRef", None, ctypes.py_object)
_drop = _api("Py_DecRef", None, ctypes.c_void_p)
_DELETERS = {kind: _delete_of(kind) for kind in (_Managed, _ManagedVersioned)}
_DESTRUCTOR = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(_destroy)
