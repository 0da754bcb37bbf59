"""Colours multiplied by alpha, in the values as they are coded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Rows at a time, so that what lies between stays in the cache.
_ROWS = 32


def premultiply(image: npt.NDArray[Any]) -> None:
    """Multiplies the colours of an ``(H, W, 4)`` RGBA image by its alpha in place, rounded to the nearest level.

    Args:
        image: uint8 or uint16, full range.
    """
    highest = 255 if image.dtype == np.uint8 else 65535
    for start in range(0, len(image), _ROWS):
        rows = image[start : start + _ROWS]
        product = rows[..., :3].astype(np.uint32) * rows[..., 3:]
        rows[..., :3] = (product + highest // 2) // highest
