"""The file of a head's weights: a few small arrays in NumPy's archive, read without trusting what it claims."""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import EngineError
from rvm_trt.untrusted import read_bounded, shown

HEAD = "head.npz"
# The largest head has 9 arrays and 4 KB.
_MAX_BYTES = 1 << 16
_MAX_ARRAYS = 16
_PREFIX_BYTES = 10  # magic, version, length of the header
# As NumPy writes it. Another spelling would reach NumPy's parser of Python literals.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<f(?P<item_bytes>[248])', 'fortran_order': (?:True|False), "
    rb"'shape': \((?P<shape>\d{1,5}(?:, ?\d{1,5}){0,3},?)\), \} *\n",
    re.DOTALL,
)
_CENTRAL = b"PK\x01\x02"  # starts each entry of a zip archive's directory
# What the zip reader raises on bytes that are no archive.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_head_file(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Returns the arrays in ``head.npz`` by name: at most 16 of at most 4 dimensions, real numbers all.

    Raises:
        EngineError: it cannot be read, is damaged, or claims more than a head holds.
    """
    try:
        return _arrays(read_bounded(path, max_bytes=_MAX_BYTES))
    except _UNREADABLE as error:
        raise EngineError(
            str(path),
            got=f"no weights ({shown(str(error) or type(error).__name__)})",
            expected="the weights of its head",
            todo="Build the engine again.",
        ) from None


def _arrays(content: bytes) -> Mapping[str, npt.NDArray[Any]]:
    if content.count(_CENTRAL) > _MAX_ARRAYS:
        raise ValueError(f"more than {_MAX_ARRAYS} members")
    found: dict[str, npt.NDArray[Any]] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if member.file_size > _MAX_BYTES or name in found:
                raise ValueError(f"{member.filename!r} twice, or of more than {_MAX_BYTES} bytes")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"compression {member.compress_type} of {member.filename!r}")
            found[name] = _array(archive.read(member))
    return found


def _array(content: bytes) -> npt.NDArray[Any]:
    """Returns the array of an ``.npy`` file whose header says what the file holds, no more and no less."""
    start = _PREFIX_BYTES + int.from_bytes(content[_PREFIX_BYTES - 2 : _PREFIX_BYTES], "little")
    header = _HEADER.fullmatch(content[:start])
    if header is None:
        raise ValueError(f"an array that starts with {content[:80]!r}")
    shape = [int(side) for side in header["shape"].split(b",") if side]
    if math.prod(shape) * int(header["item_bytes"]) != len(content) - start:
        raise ValueError(f"{len(content) - start} bytes for an array of {shape}")
    array: npt.NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array
