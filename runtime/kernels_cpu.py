"""The CPU kernels: ``sample`` (frame → network input) and ``compose`` (frame, A, b → outputs), from and to uint8.

Both work on a band of rows and read every pixel they need once. ``compose`` goes row by row with its planes in the
second-level cache: coefficients are interpolated along x once per low-resolution row, and along y for each frame row
by contiguous multiply-adds. Inner loops run over contiguous rows with positive or unsigned indices: only then does the
compiler drop Python's negative indexing and vectorise. (Tiles along x were slower: see benchmarks/LOG.md.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SCRATCH_ROWS = 26  # 16 rows of coefficients; 3 planes each of frame, background and foreground; alpha
_FAST = {"contract", "reassoc", "nsz", "arcp"}
Array = Any  # NumPy arrays; the compiler infers what they hold


@njit(nogil=True, cache=True, fastmath=_FAST)
def sample(
    band: int,  # noqa: ARG001 - as every kernel that `Bands` runs
    first_row: int,
    last_row: int,
    frame: Array,
    rows: Array,
    next_rows: Array,
    row_weights: Array,
    columns: Array,
    next_columns: Array,
    column_weights: Array,
    target: Array,
) -> None:
    """Writes rows ``first_row..last_row`` of ``target`` (3, h, w) float32 in 0..1 from ``frame`` (H, W·3) uint8."""
    scale = np.float32(1 / 255)
    for y in range(first_row, last_row):
        top, bottom = frame[rows[y]], frame[next_rows[y]]
        wy = row_weights[y]
        for x in range(columns.size):
            left, right, wx = columns[x] * np.uint32(3), next_columns[x] * np.uint32(3), column_weights[x]
            for c in range(3):
                i, j = left + np.uint32(c), right + np.uint32(c)
                a = np.float32(top[i]) + wx * (np.float32(top[j]) - np.float32(top[i]))
                b = np.float32(bottom[i]) + wx * (np.float32(bottom[j]) - np.float32(bottom[i]))
                target[c, y, x] = (a + wy * (b - a)) * scale


@njit(nogil=True, cache=True, fastmath=_FAST)
def compose(
    band: int,
    first_row: int,
    last_row: int,
    frame: Array,
    slope: Array,
    intercept: Array,
    rows: Array,
    next_rows: Array,
    row_weights: Array,
    columns: Array,
    next_columns: Array,
    column_weights: Array,
    background: Array,
    colour: Array,
    pha: Array,
    fgr: Array,
    rgba: Array,
    composite: Array,
    scratches: Array,
    byte_scratches: Array,
) -> None:
    """Writes rows ``first_row..last_row`` of the requested outputs; an output without rows is left out.

    ``frame``, ``fgr``, ``composite`` and ``background`` are (H, W·3) uint8, ``rgba`` (H, W·4), ``pha`` (H, W);
    ``slope`` and ``intercept`` (4, h, w) float32; ``background`` without rows means the ``colour`` (3,) float32.
    Each band works in its own ``scratches`` (`SCRATCH_ROWS`, W) float32 and ``byte_scratches`` (4, W) uint8.
    """
    work, levels = scratches[band], byte_scratches[band]
    upper, lower = work[0:8], work[8:16]
    pixels, behind, fore, alpha = work[16:19], work[19:22], work[22:25], work[25]
    n = alpha.size
    wants_colour = fgr.shape[0] > 0 or rgba.shape[0] > 0 or composite.shape[0] > 0
    upper_row, lower_row = -1, -1
    for c in range(3):
        behind[c, :] = colour[c]
    for y in range(first_row, last_row):
        row, next_row = np.intp(rows[y]), np.intp(next_rows[y])
        if row == lower_row and row != upper_row:
            upper, lower = lower, upper
            upper_row, lower_row = row, -1
        if row != upper_row:
            _expand(slope, intercept, row, columns, next_columns, column_weights, upper)
            upper_row = row
        if next_row != lower_row:
            _expand(slope, intercept, next_row, columns, next_columns, column_weights, lower)
            lower_row = next_row
        weight = row_weights[y]
        _split(frame[y], n, pixels[0], pixels[1], pixels[2])
        _alpha(upper[3], lower[3], upper[7], lower[7], weight, pixels[0], pixels[1], pixels[2], n, alpha)
        if pha.shape[0] > 0:
            _quantise(alpha, n, pha[y])
        if not wants_colour:
            continue
        for c in range(3):
            _foreground(upper[c], lower[c], upper[4 + c], lower[4 + c], weight, pixels[c], n, fore[c])
        if fgr.shape[0] > 0 or rgba.shape[0] > 0:
            for c in range(3):
                _quantise(fore[c], n, levels[c])
        if fgr.shape[0] > 0:
            _join(levels[0], levels[1], levels[2], n, fgr[y])
        if rgba.shape[0] > 0:
            _quantise(alpha, n, levels[3])
            _join_alpha(levels[0], levels[1], levels[2], levels[3], n, rgba[y])
        if composite.shape[0] > 0:
            if background.shape[0] > 0:
                _split(background[y], n, behind[0], behind[1], behind[2])
            for c in range(3):
                _blend(fore[c], behind[c], alpha, n, levels[c])
            _join(levels[0], levels[1], levels[2], n, composite[y])


@njit(nogil=True, cache=True, fastmath=_FAST)
def _expand(
    slope: Array,
    intercept: Array,
    row: int,
    columns: Array,
    next_columns: Array,
    weights: Array,
    target: Array,
) -> None:
    for channel in range(4):
        _lerp_row(slope[channel, row], columns, next_columns, weights, np.float32(1), target[channel])
        _lerp_row(
            intercept[channel, row], columns, next_columns, weights, np.float32(255), target[4 + channel]
        )


@njit(nogil=True, cache=True, fastmath=_FAST)
def _lerp_row(
    source: Array, columns: Array, next_columns: Array, weights: Array, scale: float, target: Array
) -> None:
    for i in range(columns.size):
        left = source[columns[i]]
        target[i] = (left + weights[i] * (source[next_columns[i]] - left)) * scale


@njit(nogil=True, cache=True, fastmath=_FAST)
def _split(pixels: Array, n: int, red: Array, green: Array, blue: Array) -> None:
    for i in range(n):
        red[i] = pixels[3 * i]
        green[i] = pixels[3 * i + 1]
        blue[i] = pixels[3 * i + 2]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _alpha(
    slope_0: Array,
    slope_1: Array,
    intercept_0: Array,
    intercept_1: Array,
    weight: float,
    red: Array,
    green: Array,
    blue: Array,
    n: int,
    target: Array,
) -> None:
    for i in range(n):
        slope = slope_0[i] + weight * (slope_1[i] - slope_0[i])
        intercept = intercept_0[i] + weight * (intercept_1[i] - intercept_0[i])
        value = slope * ((red[i] + green[i] + blue[i]) * np.float32(1 / 3)) + intercept
        target[i] = min(max(value, np.float32(0)), np.float32(255))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _foreground(
    slope_0: Array,
    slope_1: Array,
    intercept_0: Array,
    intercept_1: Array,
    weight: float,
    source: Array,
    n: int,
    target: Array,
) -> None:
    for i in range(n):
        slope = slope_0[i] + weight * (slope_1[i] - slope_0[i])
        intercept = intercept_0[i] + weight * (intercept_1[i] - intercept_0[i])
        value = slope * source[i] + intercept + source[i]
        target[i] = min(max(value, np.float32(0)), np.float32(255))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _blend(foreground: Array, background: Array, alpha: Array, n: int, target: Array) -> None:
    for i in range(n):
        over = (foreground[i] - background[i]) * (alpha[i] * np.float32(1 / 255))
        target[i] = np.uint8(np.int32(background[i] + over + np.float32(0.5)))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _quantise(values: Array, n: int, target: Array) -> None:
    for i in range(n):
        target[i] = np.uint8(np.int32(values[i] + np.float32(0.5)))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _join(red: Array, green: Array, blue: Array, n: int, pixels: Array) -> None:
    for i in range(n):
        pixels[3 * i] = red[i]
        pixels[3 * i + 1] = green[i]
        pixels[3 * i + 2] = blue[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _join_alpha(red: Array, green: Array, blue: Array, alpha: Array, n: int, pixels: Array) -> None:
    for i in range(n):
        pixels[4 * i] = red[i]
        pixels[4 * i + 1] = green[i]
        pixels[4 * i + 2] = blue[i]
        pixels[4 * i + 3] = alpha[i]
