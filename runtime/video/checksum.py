"""What a file holds, to know it again."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple


class Sum(NamedTuple):
    """Size and CRC-32 of a file."""

    size_bytes: int
    crc32: int

    def plus(self, data: bytes) -> Sum:
        """Returns the sum of the file with data added at its end."""
        return Sum(self.size_bytes + len(data), zlib.crc32(data, self.crc32))


def sum_of(path: Path) -> Sum:
    """Returns the sum of a file; raises `OSError`."""
    total = Sum(0, 0)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            total = total.plus(chunk)
    return total
