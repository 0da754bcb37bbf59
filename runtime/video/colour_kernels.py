"""Colour conversion between 8-bit 4:2:0 planes and RGB rows, rounded exactly, a row at a time.

Chroma lies in the middle of its four pixels. Towards RGB it is interpolated between the four nearest samples, the
nearer ones with three times the weight along each axis; from RGB it is the mean of two columns and, weighted 1, 3, 3,
1, of four rows. That is what swscale's accurate path does, in a fifth of the time (see benchmarks/LOG.md).

Two pixels share a sample, so loops go over pairs: 16 bits of which one byte is the left and one the right pixel. That
keeps every access contiguous, and the compiler vectorises it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_FAST = {"contract", "reassoc", "nsz", "arcp"}
Array = Any  # NumPy arrays; the compiler infers what they hold
DECODING_ROWS, ENCODING_ROWS = 2, 8
DECODING_LEVELS, ENCODING_LEVELS = 4, 3


@njit(nogil=True, cache=True, fastmath=_FAST)
def decode_rows(
    luma: Array,
    cb: Array,
    cr: Array,
    height: int,
    width: int,
    colour: Array,
    scratch: Array,
    levels: Array,
    pairs: Array,
    target: Array,
) -> None:
    """Writes ``target`` (H, W·3) uint8 from planes whose rows may be longer than the picture's.

    With w = ⌈W / 2⌉: ``colour`` is (8,) float32: the share of luma, the biases of red, green and blue, and the shares
    of a sixteenth of a chroma code: of Cr in red, of Cb and Cr in green, of Cb in blue. ``scratch`` is
    (`DECODING_ROWS`, w + 2) float32, ``levels`` (`DECODING_LEVELS`, 2·w) uint8, ``pairs`` the same memory as uint16.
    """
    rows, columns = (height + 1) // 2, (width + 1) // 2
    for y in range(height):
        near = y // 2
        far = min(near + 1, rows - 1) if y % 2 else max(near - 1, 0)
        _blend_rows(cb[near], cb[far], columns, scratch[0])
        _blend_rows(cr[near], cr[far], columns, scratch[1])
        _copy(luma[y], width, levels[3])
        _decode(pairs[3], scratch[0], scratch[1], colour, columns, pairs[0], pairs[1], pairs[2])
        _join(levels[0], levels[1], levels[2], width, target[y])


@njit(nogil=True, cache=True, fastmath=_FAST)
def encode_rows(
    source: Array,
    height: int,
    width: int,
    colour: Array,
    scratch: Array,
    levels: Array,
    pairs: Array,
    luma: Array,
    cb: Array,
    cr: Array,
) -> None:
    """Writes planes from ``source`` (H, W·3 or more) uint8; both sides are even, rows of the planes may be longer.

    ``colour`` is (3, 4) float32: the shares of red, green, blue and the bias, of Y, and of Cb and Cr of which eight are
    added up, each of two columns. ``scratch`` is (`ENCODING_ROWS`, W / 2) float32, ``levels`` (`ENCODING_LEVELS`, W)
    uint8, and ``pairs`` the same memory as uint16.
    """
    columns = width // 2
    _encode_row(source, 0, width, colour, scratch, levels, pairs, luma)
    for row in range(height // 2):
        for y in range(2 * row + 1, min(2 * row + 3, height)):
            _encode_row(source, y, width, colour, scratch, levels, pairs, luma)
        # Four rows of chroma are kept, row y at y mod 4, Cb and then Cr.
        above, below = 2 * (max(2 * row - 1, 0) % 4), 2 * (min(2 * row + 2, height - 1) % 4)
        first, second = 2 * (2 * row % 4), 2 * ((2 * row + 1) % 4)
        for plane, index in ((cb, 0), (cr, 1)):
            _narrow(
                scratch[above + index],
                scratch[first + index],
                scratch[second + index],
                scratch[below + index],
                columns,
                plane[row],
            )


@njit(nogil=True, cache=True, fastmath=_FAST)
def _blend_rows(near: Array, far: Array, n: int, target: Array) -> None:
    """Writes three near and one far, from 1 on; what lies beside the picture is as its edge."""
    for i in range(n):
        target[i + 1] = np.float32(np.int32(3) * np.int32(near[i]) + np.int32(far[i]))
    target[0] = target[1]
    target[n + 1] = target[n]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _copy(source: Array, n: int, target: Array) -> None:
    for i in range(n):
        target[i] = source[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _decode(
    luma: Array, cb: Array, cr: Array, colour: Array, n: int, red: Array, green: Array, blue: Array
) -> None:
    share, red_bias, green_bias, blue_bias = colour[0], colour[1], colour[2], colour[3]
    red_cr, green_cb, green_cr, blue_cb = colour[4], colour[5], colour[6], colour[7]
    three = np.float32(3)
    for i in range(n):
        codes = np.uint32(luma[i])
        low, high = np.float32(codes & np.uint32(255)) * share, np.float32(codes >> np.uint32(8)) * share
        u, v = three * cb[i + 1], three * cr[i + 1]
        low_u, low_v, high_u, high_v = u + cb[i], v + cr[i], u + cb[i + 2], v + cr[i + 2]
        red[i] = _pair(low + low_v * red_cr + red_bias, high + high_v * red_cr + red_bias)
        green[i] = _pair(
            low + low_u * green_cb + low_v * green_cr + green_bias,
            high + high_u * green_cb + high_v * green_cr + green_bias,
        )
        blue[i] = _pair(low + low_u * blue_cb + blue_bias, high + high_u * blue_cb + blue_bias)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _pair(low: float, high: float) -> Any:
    least, most = np.float32(0), np.float32(255)
    first = np.uint32(np.int32(min(max(low, least), most)))
    second = np.uint32(np.int32(min(max(high, least), most)))
    return np.uint16(first | (second << np.uint32(8)))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _join(red: Array, green: Array, blue: Array, n: int, pixels: Array) -> None:
    for i in range(n):
        pixels[3 * i] = red[i]
        pixels[3 * i + 1] = green[i]
        pixels[3 * i + 2] = blue[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _encode_row(
    source: Array,
    y: int,
    width: int,
    colour: Array,
    scratch: Array,
    levels: Array,
    pairs: Array,
    luma: Array,
) -> None:
    _split(source[y], width, levels[0], levels[1], levels[2])
    _encode_luma(levels[0], levels[1], levels[2], width, colour[0], luma[y])
    kept = 2 * (y % 4)
    _encode_chroma(pairs[0], pairs[1], pairs[2], width // 2, colour, scratch[kept], scratch[kept + 1])


@njit(nogil=True, cache=True, fastmath=_FAST)
def _split(pixels: Array, n: int, red: Array, green: Array, blue: Array) -> None:
    for i in range(n):
        red[i] = pixels[3 * i]
        green[i] = pixels[3 * i + 1]
        blue[i] = pixels[3 * i + 2]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _encode_luma(red: Array, green: Array, blue: Array, n: int, shares: Array, target: Array) -> None:
    r, g, b, bias = shares[0], shares[1], shares[2], shares[3]
    for i in range(n):
        value = np.float32(red[i]) * r + np.float32(green[i]) * g + np.float32(blue[i]) * b + bias
        target[i] = np.uint8(np.int32(value))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _encode_chroma(
    red: Array, green: Array, blue: Array, n: int, colour: Array, cb: Array, cr: Array
) -> None:
    cb_red, cb_green, cb_blue, cb_bias = colour[1, 0], colour[1, 1], colour[1, 2], colour[1, 3]
    cr_red, cr_green, cr_blue, cr_bias = colour[2, 0], colour[2, 1], colour[2, 2], colour[2, 3]
    for i in range(n):
        r, g, b = _sum(red[i]), _sum(green[i]), _sum(blue[i])
        cb[i] = r * cb_red + g * cb_green + b * cb_blue + cb_bias
        cr[i] = r * cr_red + g * cr_green + b * cr_blue + cr_bias


@njit(nogil=True, cache=True, fastmath=_FAST)
def _sum(pair: int) -> Any:
    return np.float32((np.uint32(pair) & np.uint32(255)) + (np.uint32(pair) >> np.uint32(8)))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _narrow(above: Array, first: Array, second: Array, below: Array, n: int, target: Array) -> None:
    for i in range(n):
        target[i] = np.uint8(np.int32(above[i] + below[i] + np.float32(3) * (first[i] + second[i])))
