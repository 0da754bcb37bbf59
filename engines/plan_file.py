"""The file of a TensorRT-RTX plan: where the texts of its programs stand between the binary parts."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from rvm_trt.errors import EngineError

_MAGIC = b"vtrt"
_HEADER = struct.Struct("<4s12xQ")  # magic, bytes of the whole file
_PROGRAM_MAGIC = b"NLYM"
_PROGRAM = struct.Struct("<Q4s4xQ")  # bytes of the program with all it holds, magic, bytes of its text
_FIRST_WORDS = b"header {"
_MAX_TEXT_BYTES = 16 << 20


def read_texts(path: Path) -> tuple[list[str], int]:
    """Returns the texts of the programs in a plan, without those nested in another program, and the file's bytes.

    Raises:
        EngineError: the file cannot be read, is no plan of TensorRT-RTX, or is not whole.
    """
    if path.exists() and not path.is_file():
        raise unreadable(
            path, "a directory" if path.is_dir() else "no regular file"
        )  # a pipe would be waited for
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            _check_header(path, file.read(_HEADER.size), size)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return [text.decode() for text in _texts(path, content)], size
    except OSError as error:
        raise unreadable(path, f"no readable file ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise unreadable(path, f"a program that is no text ({error.reason})") from None


def unreadable(path: Path, got: str) -> EngineError:
    """Returns the error of a file that is not the plan it should be."""
    return EngineError(
        str(path),
        got=got,
        expected="a whole plan of TensorRT-RTX with a readable program",
        todo="Build the engine again with rvm-trt build, or copy the file again.",
    )


def _check_header(path: Path, header: bytes, size: int) -> None:
    if not header.startswith(_MAGIC):
        raise unreadable(path, f"a file that starts with {header[:8]!r}" if header else "an empty file")
    whole = _HEADER.unpack(header)[1] if len(header) == _HEADER.size else None
    if whole != size:
        raise unreadable(path, f"{size} bytes of a plan of {whole or 'more'}")


def _texts(path: Path, content: mmap.mmap) -> Iterator[bytes]:
    start = content.find(_PROGRAM_MAGIC)
    while start >= 0:
        text = start - 8 + _PROGRAM.size
        if start < 8 or content[text : text + len(_FIRST_WORDS)] != _FIRST_WORDS:
            start = content.find(_PROGRAM_MAGIC, start + 1)  # these letters among the weights
            continue
        whole, _, length = _PROGRAM.unpack(content[start - 8 : text])
        # The text is at least the words that were found above: a program of nothing would be read for ever.
        if not len(_FIRST_WORDS) <= length <= min(whole, _MAX_TEXT_BYTES) or start + whole > len(content):
            raise unreadable(path, f"a program of {whole} bytes with {length} bytes of text")
        yield content[text : text + length]
        start = content.find(_PROGRAM_MAGIC, start + whole)
