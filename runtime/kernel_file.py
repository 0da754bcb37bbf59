"""The file of a compiled kernel in the cache: a digest, what it was compiled from, the compiler's log, the module."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rvm_trt.errors import EngineError
from rvm_trt.files import atomic_file
from rvm_trt.untrusted import parse_json, read_bounded

MAX_BYTES = 64 << 20


def read_kernel_file(path: Path, key: str) -> tuple[bytes, str] | None:
    """Returns module and log, or None where there is no such file, or not as it was written for this key.

    Raises:
        EngineError: the folder cannot be read.
    """
    try:
        digest, _, body = read_bounded(path, max_bytes=MAX_BYTES).partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _disk_error(path, error) from None
    except ValueError:
        return None  # too large to be one of ours
    if digest.decode("ascii", "replace") != hashlib.sha256(body).hexdigest():
        return None
    head, _, cubin = body.partition(b"\n")
    try:
        said = parse_json(head)
    except ValueError:
        return None
    # A digest tells damage, not who wrote it.
    if not isinstance(said, dict) or said.get("key") != key or not isinstance(said.get("log"), str):
        return None
    return cubin, said["log"]


def write_kernel_file(path: Path, key: str, cubin: bytes, log: str) -> None:
    """Writes a kernel's file whole or not at all; raises `EngineError` where the folder has no room for it."""
    body = json.dumps({"key": key, "log": log}).encode() + b"\n" + cubin
    try:
        with atomic_file(path) as temporary:
            temporary.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    except OSError as error:
        raise _disk_error(path, error) from None


def _disk_error(path: Path, error: OSError) -> EngineError:
    return EngineError(
        str(path.parent),
        got=error.strerror or str(error),
        expected="a folder with room to keep compiled kernels",
        todo="Make room, or set XDG_CACHE_HOME to another folder.",
    )
