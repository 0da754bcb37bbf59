"""The CPU kernel ``head``: the decoder's hidden features and the low-resolution image → A and b, in single precision.

What it computes is written in kernels/head.cu. It works on a band of rows, plane by plane along x, in memory that fits
the second-level cache; a row's features are converted once and kept for the row below.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rvm_trt.options import Refiner
from rvm_trt.runtime.head_weights import HEAD_LAYOUT

_KINDS = {None: 0, Refiner.FAST: 1, Refiner.DEEP: 2}
_DEEP = _KINDS[Refiner.DEEP]
_HIDDEN = 16
_FEATURES = 24  # cov, var: 4 planes each; the hidden features
_MAPS = 16  # x, y, x², xy: 4 planes each
_FAST = {"contract", "reassoc", "nsz", "arcp"}
Array = Any  # NumPy arrays; the compiler infers what they hold


def head_arguments(packed: Array, refiner: Refiner | None) -> tuple[Any, ...]:
    """Returns the arguments of ``head`` that stay: the kind of refiner, and the weights that `pack_head` returned."""
    parts, start = [], 0
    for shape in HEAD_LAYOUT.values():
        size = int(np.prod(shape))
        parts.append(np.ascontiguousarray(packed[start : start + size].reshape(shape)))
        start += size
    return (_KINDS[refiner], *parts)


def head_scratch(threads: int, width: int) -> tuple[Array, ...]:
    """Returns the arrays that ``head`` works in, for pictures of this width: features, maps, sums, layers."""
    return (
        np.empty((threads, 3, _FEATURES, width), np.float32),
        np.empty((threads, 3, _MAPS, width + 2), np.float32),
        np.empty((threads, _MAPS, width), np.float32),
        np.empty((threads, 3, _HIDDEN, width), np.float32),
    )


@njit(nogil=True, cache=True, fastmath=_FAST)
def head(
    band: int,
    first_row: int,
    last_row: int,
    hidden: Array,
    src: Array,
    refiner: int,
    project_weight: Array,
    project_bias: Array,
    box: Array,
    weight_0: Array,
    bias_0: Array,
    weight_1: Array,
    bias_1: Array,
    weight_2: Array,
    bias_2: Array,
    slope: Array,
    intercept: Array,
    feature_scratch: Array,
    map_scratch: Array,
    sum_scratch: Array,
    layer_scratch: Array,
) -> None:
    """Writes rows ``first_row..last_row`` of ``slope`` and ``intercept``, (4, h, w) float32.

    ``hidden`` is (16, h, w), the bits of bfloat16 (uint16) or float32 (uint32); ``src`` is (3, h, w) float32. The
    other arrays are those of `head_arguments` and `head_scratch`.
    """
    features, maps = feature_scratch[band], map_scratch[band]
    sums, layers = sum_scratch[band], layer_scratch[band]
    weights, biases = (weight_0, weight_1, weight_2), (bias_0, bias_1, bias_2)
    first = first_row - 1 if refiner else first_row  # the box needs the rows around
    for y in range(first, last_row + 1 if refiner else last_row):
        place = (y + 3) % 3
        if 0 <= y < slope.shape[1]:
            _read_features(hidden, y, features[place])
            _dense(features[place, 8:], project_weight, project_bias, False, layers[0])
            if refiner:
                _make_maps(src[:, y], layers[0], maps[place])
            else:
                slope[:, y] = np.float32(0)
                intercept[:, y] = layers[0, :4]
        else:
            maps[place] = np.float32(0)
        if refiner and y > first_row:
            done = (y - 1 + 3) % 3
            for m in range(_MAPS):
                _box(maps[(y + 1) % 3, m], maps[done, m], maps[place, m], box[m % 4], sums[m])
            _make_statistics(sums, features[done])
            if refiner == _DEEP:
                planes = features[done]
                for layer in range(3):  # a loop, so that the function is compiled into one place
                    _dense(planes, weights[layer], biases[layer], layer < 2, layers[layer])
                    planes = layers[layer]
            else:
                _divide(features[done], layers[2])
            _write_row(layers[2], sums, slope[:, y - 1], intercept[:, y - 1])


@njit(nogil=True, cache=True)
def _read_features(hidden: Array, y: int, features: Array) -> None:
    bits = features.view(np.uint32)
    shift = np.uint32(32 - 8 * hidden.itemsize)  # a bfloat16 is the upper half of a float32
    for c in range(_HIDDEN):
        source, target = hidden[c, y], bits[8 + c]
        for i in range(target.size):
            target[i] = np.uint32(source[i]) << shift


@njit(nogil=True, cache=True, fastmath=_FAST)
def _dense(planes: Array, weight: Array, bias: Array, relu: bool, target: Array) -> None:
    """Writes ``weight @ planes + bias``; weight (m, k), m a multiple of 4 and k of 8."""
    for row in range(weight.shape[0]):
        target[row, :] = bias[row]
    for row in range(0, weight.shape[0], 4):
        for column in range(0, weight.shape[1], 8):
            _dense_4_8(
                planes[column : column + 8],
                weight[row : row + 4, column : column + 8],
                target[row],
                target[row + 1],
                target[row + 2],
                target[row + 3],
            )
        if relu:
            for other in range(row, row + 4):
                plane = target[other]
                for i in range(plane.size):
                    plane[i] = max(plane[i], np.float32(0))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _dense_4_8(p: Array, w: Array, t0: Array, t1: Array, t2: Array, t3: Array) -> None:
    """Adds eight planes to four targets: as many as registers hold, so that each is read and written less often."""
    p0, p1, p2, p3, p4, p5, p6, p7 = p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]
    a0, a1, a2, a3, a4, a5, a6, a7 = w[0, 0], w[0, 1], w[0, 2], w[0, 3], w[0, 4], w[0, 5], w[0, 6], w[0, 7]
    b0, b1, b2, b3, b4, b5, b6, b7 = w[1, 0], w[1, 1], w[1, 2], w[1, 3], w[1, 4], w[1, 5], w[1, 6], w[1, 7]
    c0, c1, c2, c3, c4, c5, c6, c7 = w[2, 0], w[2, 1], w[2, 2], w[2, 3], w[2, 4], w[2, 5], w[2, 6], w[2, 7]
    d0, d1, d2, d3, d4, d5, d6, d7 = w[3, 0], w[3, 1], w[3, 2], w[3, 3], w[3, 4], w[3, 5], w[3, 6], w[3, 7]
    for i in range(t0.size):
        x0, x1, x2, x3, x4, x5, x6, x7 = p0[i], p1[i], p2[i], p3[i], p4[i], p5[i], p6[i], p7[i]
        t0[i] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3 + a4 * x4 + a5 * x5 + a6 * x6 + a7 * x7
        t1[i] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3 + b4 * x4 + b5 * x5 + b6 * x6 + b7 * x7
        t2[i] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3 + c4 * x4 + c5 * x5 + c6 * x6 + c7 * x7
        t3[i] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3 + d4 * x4 + d5 * x5 + d6 * x6 + d7 * x7


@njit(nogil=True, cache=True, fastmath=_FAST)
def _make_maps(image: Array, output: Array, maps: Array) -> None:
    """Writes x = [image, its mean], y = output, x² and xy of a row, with a 0 at both ends."""
    width = output.shape[1]
    red, green, blue = image[0], image[1], image[2]
    for c in range(4):
        x, y = maps[c, 1 : width + 1], maps[4 + c, 1 : width + 1]
        square, product = maps[8 + c, 1 : width + 1], maps[12 + c, 1 : width + 1]
        given = output[c]
        if c < 3:
            plane = image[c]
            for i in range(width):
                x[i] = plane[i]
        else:
            for i in range(width):
                x[i] = (red[i] + green[i] + blue[i]) * np.float32(1 / 3)
        for i in range(width):
            y[i] = given[i]
            square[i] = x[i] * x[i]
            product[i] = x[i] * given[i]
    maps[:, 0] = np.float32(0)
    maps[:, width + 1] = np.float32(0)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _box(above: Array, middle: Array, below: Array, weight: Array, target: Array) -> None:
    a0, a1, a2 = weight[0, 0], weight[0, 1], weight[0, 2]
    b0, b1, b2 = weight[1, 0], weight[1, 1], weight[1, 2]
    c0, c1, c2 = weight[2, 0], weight[2, 1], weight[2, 2]
    for i in range(target.size):
        target[i] = (
            a0 * above[i] + a1 * above[i + 1] + a2 * above[i + 2]
            + b0 * middle[i] + b1 * middle[i + 1] + b2 * middle[i + 2]
            + c0 * below[i] + c1 * below[i + 1] + c2 * below[i + 2]
        )  # fmt: skip


@njit(nogil=True, cache=True, fastmath=_FAST)
def _make_statistics(sums: Array, features: Array) -> None:
    for c in range(4):
        x, y, square, product = sums[c], sums[4 + c], sums[8 + c], sums[12 + c]
        covariance, variance = features[c], features[4 + c]
        for i in range(x.size):
            covariance[i] = product[i] - x[i] * y[i]
            variance[i] = square[i] - x[i] * x[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _divide(features: Array, target: Array) -> None:
    for c in range(4):
        covariance, variance, slope = features[c], features[4 + c], target[c]
        for i in range(slope.size):
            slope[i] = covariance[i] / (variance[i] + np.float32(1e-5))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _write_row(slopes: Array, sums: Array, slope: Array, intercept: Array) -> None:
    for c in range(4):
        source, x, y, a, b = slopes[c], sums[c], sums[4 + c], slope[c], intercept[c]
        for i in range(a.size):
            a[i] = source[i]
            b[i] = y[i] - source[i] * x[i]
