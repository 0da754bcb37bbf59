"""The blur of a frame: shrunk by areas, blurred where it is small, enlarged again. Each kernel takes a band of rows.

Rows hold three channels side by side, so inner loops run over contiguous slices and the compiler vectorises them. What
lies beside the picture is as its edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_FAST = {"contract", "reassoc", "nsz", "arcp"}
Array = Any  # NumPy arrays; the compiler infers what they hold


@njit(nogil=True, cache=True, fastmath=_FAST)
def shrink(
    band: int,
    first_row: int,
    last_row: int,
    frame: Array,
    factor: int,
    sums: Array,
    small: Array,
) -> None:
    """Writes rows of ``small`` (h, w·3) float32: the mean of each cell of ``factor`` by ``factor`` pixels of ``frame``.

    ``frame`` is (H, W·3) uint8, ``sums`` (bands, W·3) uint32.
    """
    line, height, width = sums[band], frame.shape[0], sums.shape[1] // 3
    share = np.float32(1) / np.float32(factor * factor)
    for y in range(first_row, last_row):
        _begin(frame[y * factor], line)
        for row in range(y * factor + 1, (y + 1) * factor):
            _add(frame[min(row, height - 1)], line)
        for x in range(small.shape[1] // 3):
            red = green = blue = np.uint32(0)
            for i in range(x * factor, (x + 1) * factor):
                pixel = 3 * min(i, width - 1)
                red += line[pixel]
                green += line[pixel + 1]
                blue += line[pixel + 2]
            small[y, 3 * x] = np.float32(red) * share
            small[y, 3 * x + 1] = np.float32(green) * share
            small[y, 3 * x + 2] = np.float32(blue) * share


@njit(nogil=True, cache=True, fastmath=_FAST)
def smooth_rows(
    band: int, first_row: int, last_row: int, small: Array, taps: Array, padded: Array, target: Array
) -> None:
    """Writes rows of ``target`` (h, w·3): those of ``small`` weighted along x with ``taps`` (2·r + 1,) float32.

    ``padded`` is (bands, (w + 2·r)·3) float32.
    """
    line, width = padded[band], small.shape[1]
    radius = taps.size // 2
    for y in range(first_row, last_row):
        line[3 * radius : 3 * radius + width] = small[y]
        for i in range(radius):
            line[3 * i : 3 * i + 3] = small[y, :3]
            line[3 * (radius + i) + width : 3 * (radius + i) + width + 3] = small[y, width - 3 :]
        target[y] = np.float32(0)
        for tap in range(taps.size):
            _add_weighted(line[3 * tap : 3 * tap + width], taps[tap], target[y])


@njit(nogil=True, cache=True, fastmath=_FAST)
def smooth_columns(
    band: int,  # noqa: ARG001 - as every kernel that `Bands` runs
    first_row: int,
    last_row: int,
    small: Array,
    taps: Array,
    target: Array,
) -> None:
    """Writes rows of ``target`` (h, w·3): those of ``small`` weighted along y with ``taps`` (2·r + 1,) float32."""
    radius, last = taps.size // 2, small.shape[0] - 1
    for y in range(first_row, last_row):
        target[y] = np.float32(0)
        for tap in range(taps.size):
            _add_weighted(small[min(max(y + tap - radius, 0), last)], taps[tap], target[y])


@njit(nogil=True, cache=True, fastmath=_FAST)
def enlarge(
    band: int,
    first_row: int,
    last_row: int,
    small: Array,
    rows: Array,
    next_rows: Array,
    row_weights: Array,
    columns: Array,
    next_columns: Array,
    column_weights: Array,
    lines: Array,
    target: Array,
) -> None:
    """Writes rows of ``target`` (H, W·3) uint8: ``small`` (h, w·3) float32 interpolated between its samples.

    ``lines`` is (bands, 2, W·3) float32.
    """
    upper, lower = lines[band, 0], lines[band, 1]
    upper_row, lower_row = -1, -1
    for y in range(first_row, last_row):
        row, next_row = np.intp(rows[y]), np.intp(next_rows[y])
        if row == lower_row and row != upper_row:
            upper, lower = lower, upper
            upper_row, lower_row = row, -1
        if row != upper_row:
            _widen(small[row], columns, next_columns, column_weights, upper)
            upper_row = row
        if next_row != lower_row:
            _widen(small[next_row], columns, next_columns, column_weights, lower)
            lower_row = next_row
        _between(upper, lower, row_weights[y], target[y])


@njit(nogil=True, cache=True, fastmath=_FAST)
def _begin(pixels: Array, sums: Array) -> None:
    for i in range(sums.size):
        sums[i] = pixels[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _add(pixels: Array, sums: Array) -> None:
    for i in range(sums.size):
        sums[i] += pixels[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _add_weighted(values: Array, weight: float, sums: Array) -> None:
    for i in range(sums.size):
        sums[i] += weight * values[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _widen(values: Array, columns: Array, next_columns: Array, weights: Array, line: Array) -> None:
    for x in range(columns.size):
        left, right, weight = columns[x] * np.uint32(3), next_columns[x] * np.uint32(3), weights[x]
        for c in range(3):
            value = values[left + np.uint32(c)]
            line[3 * x + c] = value + weight * (values[right + np.uint32(c)] - value)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _between(above: Array, below: Array, weight: float, target: Array) -> None:
    for i in range(target.size):
        target[i] = np.uint8(np.int32(above[i] + weight * (below[i] - above[i]) + np.float32(0.5)))
