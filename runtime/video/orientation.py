"""How stored frames must be turned to stand upright, from the display matrix of the container."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_MATRIX = struct.Struct("=9i")


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """One of the eight ways to lay a rectangle on itself: exchange x and y first, then mirror.

    Attributes:
        transpose: whether rows become columns.
        flip_x: whether the result is mirrored left to right.
        flip_y: whether the result is mirrored top to bottom.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def from_matrix(cls, data: bytes) -> Orientation:
        """Returns the orientation that a display matrix asks for, to the nearest quarter turn.

        Args:
            data: nine native 32-bit integers ``a b u, c d v, x y w``; a stored point (p, q) is shown at
                ``(a·p + c·q, b·p + d·q)``. Anything shorter means upright.
        """
        if len(data) < _MATRIX.size:
            return cls()
        a, b, _, c, d, *_ = _MATRIX.unpack(data[: _MATRIX.size])
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(transpose=True, flip_x=c < 0, flip_y=b < 0)
        return cls(flip_x=a < 0, flip_y=d < 0)

    @property
    def is_upright(self) -> bool:
        """Whether there is nothing to do."""
        return self == Orientation()

    def size(self, *, width: int, height: int) -> tuple[int, int]:
        """Returns the upright ``(width, height)`` of a stored size."""
        return (height, width) if self.transpose else (width, height)

    def turned(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Returns a view of ``(H, W, C)`` pixels, turned upright."""
        rows = image.swapaxes(0, 1) if self.transpose else image
        return rows[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]

    @property
    def transposition(self) -> str:
        """What libavfilter's ``transpose`` is told, where rows become columns."""
        # 0 as it is, 1 then mirrored in x, 2 then mirrored in y, 3 then both.
        return str(int(self.flip_x) + 2 * int(self.flip_y))
