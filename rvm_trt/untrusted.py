"""Files that others made: read within bounds, and quoted in messages so that a terminal only ever shows text."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_DEPTH = 32
_MAX_INTEGER = 1 << 63
_MAX_BITS = 64


def read_bounded(path: str | os.PathLike[str], *, max_bytes: int) -> bytes:
    """Returns the content of a regular file.

    Raises:
        OSError: it cannot be read, or is a pipe, which would be waited for, or a device, which may never end.
        ValueError: it holds more than ``max_bytes``.
    """
    if not stat.S_ISREG((found := Path(path).stat()).st_mode):
        code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(code, "Is a directory" if code == errno.EISDIR else "Not a regular file", str(path))
    content = b"" if found.st_size > max_bytes else Path(path).read_bytes()
    if max(found.st_size, len(content)) > max_bytes:
        raise ValueError(f"more than {max_bytes} bytes")
    return content


def parse_json(content: bytes) -> Any:
    """Returns the value that a JSON text holds.

    Raises:
        ValueError: it is no JSON, nests deeper than `MAX_DEPTH`, or holds an integer of more than 64 bits.
    """
    try:
        value = json.loads(content, parse_int=_integer)
    except RecursionError:
        raise _too_deep() from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return value
    raise _too_deep()


def shown(text: str, *, limit: int = 160) -> str:
    """Returns a text as a message may quote it: at most ``limit`` characters, and none that steers a terminal."""
    cut = text if len(text) <= limit else f"{text[:limit]}…"
    return cut if cut.isprintable() else cut.encode("unicode_escape").decode("ascii")


def quoted(value: object) -> str:
    """Returns a value's `repr` as a message may quote it; the size of an integer that Python may not write out."""
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return f"an integer of {value.bit_length()} bits"
    return shown(repr(value))


def _integer(digits: str) -> int:
    # Arithmetic on longer ones takes time, and float() of them raises.
    if len(digits) > 20 or abs(int(digits)) >= _MAX_INTEGER:
        raise ValueError("an integer of more than 64 bits")
    return int(digits)


def _children(node: object) -> list[Any]:
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [value for value in values if isinstance(value, (dict, list))]


def _too_deep() -> ValueError:
    return ValueError(f"values nested more than {MAX_DEPTH} deep")
