"""The CPU kernels: ``sample`` (frame → network input) and ``compose`` (frame, A, b → outputs), from and to uint8.

Both work on a band of rows and read every pixel they need once. ``compose`` interpolates the coefficients along x once
per low-resolution row, and along y in registers, where it also makes the output: one pass for each output over blocks
of `BLOCK` pixels. Blocks that cannot hold a person are not computed: there the matte is 0 and the composite is the
background, exactly.

Inner loops run over contiguous slices from 0 on: only then does the compiler drop Python's negative indexing and
vectorise. A block's coefficients lie side by side, one array for all eight, because the compiler gives up where it
would have to compare too many addresses. (What was slower: see benchmarks/LOG.md.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

BLOCK = 256  # pixels
_SLOPE = tuple(channel * BLOCK for channel in range(4))
_INTERCEPT = tuple((4 + channel) * BLOCK for channel in range(4))
# A matte of less than half a level is 0, and moves no composite by half a level either. The rest is for rounding.
_NOTHING = np.float32(0.49)
_FAST = {"contract", "reassoc", "nsz", "arcp"}
Array = Any  # NumPy arrays; the compiler infers what they hold


def compose_scratch(threads: int, width: int) -> tuple[Array, Array]:
    """Returns the two arrays that ``compose`` works in, for frames of this width: coefficients, and what is active."""
    blocks = -(-width // BLOCK)
    return np.empty((threads, 2, blocks, 8 * BLOCK), np.float32), np.empty((threads, blocks), np.bool_)


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
    pha: Array,
    fgr: Array,
    rgba: Array,
    composite: Array,
    scratches: Array,
    active_blocks: Array,
) -> None:
    """Writes rows ``first_row..last_row`` of the requested outputs; an output without rows is left out.

    ``frame``, ``fgr`` and ``composite`` are (H, W·3) uint8, ``rgba`` (H, W·4), ``pha`` (H, W); ``background`` is
    (H, W·3) too, or (1, W·3) for all rows; ``slope`` and ``intercept`` are (4, h, w) float32. Each band works in its
    own part of what `compose_scratch` made.
    """
    upper, lower = scratches[band, 0], scratches[band, 1]
    active = active_blocks[band]
    width = columns.size
    line = np.empty(active.size * BLOCK, np.float32)
    upper_row, lower_row = -1, -1
    for y in range(first_row, last_row):
        row, next_row = np.intp(rows[y]), np.intp(next_rows[y])
        if row != upper_row or next_row != lower_row:
            if row == lower_row and row != upper_row:
                upper, lower = lower, upper
                upper_row, lower_row = row, -1
            if row != upper_row:
                _expand(slope, intercept, row, columns, next_columns, column_weights, line, upper)
                upper_row = row
            if next_row != lower_row:
                _expand(slope, intercept, next_row, columns, next_columns, column_weights, line, lower)
                lower_row = next_row
            _find_active(slope[3], intercept[3], row, next_row, columns, next_columns, active)
        weight = row_weights[y]
        behind = background[y if background.shape[0] > 1 else 0]
        for block in range(active.size):
            x = block * BLOCK
            n = min(BLOCK, width - x)
            pixels, above, below = frame[y, 3 * x : 3 * (x + n)], upper[block], lower[block]
            if pha.shape[0] > 0:
                if active[block]:
                    _matte(pixels, above, below, weight, n, pha[y, x : x + n])
                else:
                    pha[y, x : x + n] = 0
            if fgr.shape[0] > 0:
                _foreground(pixels, above, below, weight, n, fgr[y, 3 * x : 3 * (x + n)])
            if rgba.shape[0] > 0:
                _cut_out(pixels, above, below, weight, n, rgba[y, 4 * x : 4 * (x + n)])
            if composite.shape[0] > 0:
                under, target = behind[3 * x : 3 * (x + n)], composite[y, 3 * x : 3 * (x + n)]
                if active[block]:
                    _blend(pixels, above, below, weight, under, n, target)
                else:
                    for i in range(3 * n):
                        target[i] = under[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _expand(
    slope: Array,
    intercept: Array,
    row: int,
    columns: Array,
    next_columns: Array,
    weights: Array,
    line: Array,
    target: Array,
) -> None:
    for channel in range(8):
        source = slope[channel, row] if channel < 4 else intercept[channel - 4, row]
        scale = np.float32(1) if channel < 4 else np.float32(255)
        if columns.size == 4 * source.size:
            _lerp_4(source, weights[2:6], scale, line)
        elif columns.size == 8 * source.size:
            _lerp_8(source, weights[4:12], scale, line)
        else:
            _lerp(source, columns, next_columns, weights, scale, line)
        for block in range(target.shape[0]):
            part = target[block, channel * BLOCK : (channel + 1) * BLOCK]
            values = line[block * BLOCK : (block + 1) * BLOCK]
            for i in range(BLOCK):
                part[i] = values[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _lerp(
    source: Array, columns: Array, next_columns: Array, weights: Array, scale: float, line: Array
) -> None:
    for i in range(columns.size):
        left = source[columns[i]]
        line[i] = (left + weights[i] * (source[next_columns[i]] - left)) * scale


@njit(nogil=True, cache=True, fastmath=_FAST)
def _lerp_4(source: Array, weights: Array, scale: float, line: Array) -> None:
    """As `_lerp` for four pixels a sample, without gathering: several times as fast."""
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    count = source.size - 1
    following, target = source[1:], line[2 : 2 + 4 * count]
    for i in range(count):
        left = source[i] * scale
        change = following[i] * scale - left
        target[4 * i] = left + w0 * change
        target[4 * i + 1] = left + w1 * change
        target[4 * i + 2] = left + w2 * change
        target[4 * i + 3] = left + w3 * change
    line[:2] = source[0] * scale
    line[2 + 4 * count : 4 + 4 * count] = source[count] * scale


@njit(nogil=True, cache=True, fastmath=_FAST)
def _lerp_8(source: Array, weights: Array, scale: float, line: Array) -> None:
    """As `_lerp_4` for eight pixels a sample."""
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    w4, w5, w6, w7 = weights[4], weights[5], weights[6], weights[7]
    count = source.size - 1
    following, target = source[1:], line[4 : 4 + 8 * count]
    for i in range(count):
        left = source[i] * scale
        change = following[i] * scale - left
        target[8 * i] = left + w0 * change
        target[8 * i + 1] = left + w1 * change
        target[8 * i + 2] = left + w2 * change
        target[8 * i + 3] = left + w3 * change
        target[8 * i + 4] = left + w4 * change
        target[8 * i + 5] = left + w5 * change
        target[8 * i + 6] = left + w6 * change
        target[8 * i + 7] = left + w7 * change
    line[:4] = source[0] * scale
    line[4 + 8 * count : 8 + 8 * count] = source[count] * scale


@njit(nogil=True, cache=True)
def _find_active(
    slope: Array,
    intercept: Array,
    row: int,
    next_row: int,
    columns: Array,
    next_columns: Array,
    active: Array,
) -> None:
    """Marks the blocks that may hold a matte. Between four samples alpha is at most the largest that they give for
    black and for white, whatever the frame shows."""
    for block in range(active.size):
        x = block * BLOCK
        last = min(x + BLOCK, columns.size) - 1
        active[block] = False
        for y in (row, next_row):
            for column in range(columns[x], next_columns[last] + 1):
                black = np.float32(255) * intercept[y, column]
                white = black + np.float32(255) * slope[y, column]
                if not (black < _NOTHING and white < _NOTHING):  # a NaN is active
                    active[block] = True


@njit(nogil=True, cache=True, fastmath=_FAST)
def _between(above: Array, below: Array, weight: float, i: int) -> Any:
    return above[i] + weight * (below[i] - above[i])


@njit(nogil=True, cache=True, fastmath=_FAST)
def _pixel(pixels: Array, i: int) -> Any:
    return np.float32(pixels[3 * i]), np.float32(pixels[3 * i + 1]), np.float32(pixels[3 * i + 2])


@njit(nogil=True, cache=True, fastmath=_FAST)
def _alpha(above: Array, below: Array, weight: float, i: int, red: float, green: float, blue: float) -> Any:
    """Returns alpha of pixel ``i`` in levels, 0..255."""
    slope = _between(above, below, weight, _SLOPE[3] + i)
    intercept = _between(above, below, weight, _INTERCEPT[3] + i)
    value = slope * ((red + green + blue) * np.float32(1 / 3)) + intercept
    return min(max(value, np.float32(0)), np.float32(255))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _colour(above: Array, below: Array, weight: float, slope: int, intercept: int, level: float) -> Any:
    """Returns a channel of the foreground, 0..255, from that of the frame; ``slope`` and ``intercept`` are indices."""
    value = _between(above, below, weight, slope) * level + _between(above, below, weight, intercept) + level
    return min(max(value, np.float32(0)), np.float32(255))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _level(value: float) -> Any:
    return np.uint8(np.int32(value + np.float32(0.5)))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _matte(pixels: Array, above: Array, below: Array, weight: float, n: int, target: Array) -> None:
    for i in range(n):
        red, green, blue = _pixel(pixels, i)
        target[i] = _level(_alpha(above, below, weight, i, red, green, blue))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _foreground(pixels: Array, above: Array, below: Array, weight: float, n: int, target: Array) -> None:
    for i in range(n):
        red, green, blue = _pixel(pixels, i)
        target[3 * i] = _level(_colour(above, below, weight, _SLOPE[0] + i, _INTERCEPT[0] + i, red))
        target[3 * i + 1] = _level(_colour(above, below, weight, _SLOPE[1] + i, _INTERCEPT[1] + i, green))
        target[3 * i + 2] = _level(_colour(above, below, weight, _SLOPE[2] + i, _INTERCEPT[2] + i, blue))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _cut_out(pixels: Array, above: Array, below: Array, weight: float, n: int, target: Array) -> None:
    for i in range(n):
        red, green, blue = _pixel(pixels, i)
        target[4 * i] = _level(_colour(above, below, weight, _SLOPE[0] + i, _INTERCEPT[0] + i, red))
        target[4 * i + 1] = _level(_colour(above, below, weight, _SLOPE[1] + i, _INTERCEPT[1] + i, green))
        target[4 * i + 2] = _level(_colour(above, below, weight, _SLOPE[2] + i, _INTERCEPT[2] + i, blue))
        target[4 * i + 3] = _level(_alpha(above, below, weight, i, red, green, blue))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _blend(
    pixels: Array, above: Array, below: Array, weight: float, under: Array, n: int, target: Array
) -> None:
    for i in range(n):
        red, green, blue = _pixel(pixels, i)
        opacity = _alpha(above, below, weight, i, red, green, blue) * np.float32(1 / 255)
        fore = _colour(above, below, weight, _SLOPE[0] + i, _INTERCEPT[0] + i, red)
        target[3 * i] = _over(fore, np.float32(under[3 * i]), opacity)
        fore = _colour(above, below, weight, _SLOPE[1] + i, _INTERCEPT[1] + i, green)
        target[3 * i + 1] = _over(fore, np.float32(under[3 * i + 1]), opacity)
        fore = _colour(above, below, weight, _SLOPE[2] + i, _INTERCEPT[2] + i, blue)
        target[3 * i + 2] = _over(fore, np.float32(under[3 * i + 2]), opacity)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _over(foreground: float, background: float, opacity: float) -> Any:
    return _level(background + (foreground - background) * opacity)
