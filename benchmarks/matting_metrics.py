"""The matting literature's errors of one frame: Grad, Conn, and the error of the foreground.

Alpha is uint16 over the full range, (H, W), in all functions; equal frames give exactly 0. Grad and Conn are sums over
the whole frame, without a trimap, divided by 1000, as in the tables of RVM: a frame of four times the pixels with the
same error per pixel has four times the error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import DependencyError

Alpha = npt.NDArray[np.uint16]
Image = npt.NDArray[np.uint8]

ONE = 65535  # alpha 1
_SIGMA = 1.4
_REACH = 4  # pixels each side: the Gaussian is below 0.01 further out, where the usual programs cut it
_BLOCK = 128
_STEPS = 10
_STRIP = 64


def gradient_error(reference: Alpha, alpha: Alpha) -> float:
    """Returns Grad: how far the outlines are apart in sharpness and place.

    The sum over all pixels of (|∇a| − |∇r|)², divided by 1000, where ∇ is alpha filtered with the first derivatives of
    a Gaussian of σ 1.4 in x and y. Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting"
    (CVPR 2009), section 3, with exponent 2; the filters of 9 × 9 pixels and norm 1, and edge pixels repeated, as in the
    evaluation of "Deep Image Matting" (CVPR 2017), which the tables since then use. The usual programs first stretch
    alpha to span 0..1; a frame that holds alpha 0 and 1 is the same with and without, and one that does not, such as
    an empty one, would have its noise blown up, so that it is left out here.
    """
    changed = reference != alpha
    total = 0.0
    for block, within in _blocks(changed.shape):
        if changed[block].any():  # elsewhere both gradients are equal
            apart = _gradient(alpha[block])[within] - _gradient(reference[block])[within]
            total += float(np.square(apart, dtype=np.float64).sum())
    return total / 1e3


def connectivity_error(reference: Alpha, alpha: Alpha) -> float:
    """Returns Conn: how much hangs loose that should not, and the other way round.

    The sum over all pixels of |φ(a) − φ(r)|, divided by 1000, with φ(x) = 1 − d·[d ≥ 0.15] and d = x − l: l is the
    highest threshold, in steps of 0.1, up to which a pixel belongs to the largest 4-connected region of
    min(a, r) ≥ threshold; of regions equally large the uppermost, leftmost one counts. Rhemann et al. (CVPR 2009),
    section 3, with exponent 1, θ = 0.15 and the step of the evaluation of "Deep Image Matting" (CVPR 2017).
    """
    changed = reference != alpha
    if not changed.any():
        return 0.0
    level = _connected_level(np.minimum(reference, alpha))[changed]
    # In units of 1/20 of a level of alpha all of this is in whole numbers.
    loose = _looseness(alpha[changed], level) - _looseness(reference[changed], level)
    return int(np.abs(loose).sum(dtype=np.int64)) / (20 * ONE) / 1e3


def foreground_error(reference_alpha: Alpha, reference: Image, foreground: Image) -> float | None:
    """Returns the mean squared error of the foreground in 0..1 over all channels where the reference alpha is above 0.

    Args:
        reference_alpha: (H, W), of any unsigned type.
        reference: (H, W, 3) uint8.
        foreground: (H, W, 3) uint8.

    Returns:
        None for a frame without such pixels.
    """
    seen = reference_alpha > 0
    total = 0.0
    for top in range(0, len(seen), _STRIP):  # strips stay in the cache
        rows = slice(top, top + _STRIP)
        if seen[rows].any():
            apart = np.subtract(foreground[rows], reference[rows], dtype=np.int16).reshape(-1)
            apart *= np.repeat(seen[rows].reshape(-1), 3)
            values = apart.astype(np.float32).reshape(-1, 3 * seen.shape[1])
            total += float(np.vecdot(values, values).sum(dtype=np.float64))
    count = int(np.count_nonzero(seen))
    return total / (255**2 * 3 * count) if count else None


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yields each block with the filter's reach around it, and where the block itself is in that."""
    height, width = shape
    for top in range(0, height, _BLOCK):
        for left in range(0, width, _BLOCK):
            rows, inside_rows = _widened(top, height)
            columns, inside_columns = _widened(left, width)
            yield (rows, columns), (inside_rows, inside_columns)


def _widened(start: int, length: int) -> tuple[slice, slice]:
    stop, first = min(start + _BLOCK, length), max(0, start - _REACH)
    return slice(first, min(stop + _REACH, length)), slice(start - first, stop - first)


def _gradient(alpha: Alpha) -> npt.NDArray[np.float32]:
    ndimage = _ndimage()
    values = np.multiply(alpha, np.float32(1 / ONE), dtype=np.float32)
    smooth, derived = _filters()

    def filtered(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        rows = ndimage.correlate1d(values, first, axis=0, mode="nearest")
        result: npt.NDArray[np.float32] = ndimage.correlate1d(rows, second, axis=1, mode="nearest")
        return result

    magnitude: npt.NDArray[np.float32] = np.hypot(filtered(smooth, derived), filtered(derived, smooth))
    return magnitude


def _filters() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    place = np.arange(-_REACH, _REACH + 1)
    smooth = np.exp(-(place**2) / (2 * _SIGMA**2))
    derived = place * smooth
    return smooth / np.linalg.norm(smooth), derived / np.linalg.norm(derived)


def _connected_level(common: Alpha) -> npt.NDArray[np.int32]:
    """Returns for each pixel the highest step, 0 to 10, up to which it belongs to the largest region."""
    level = np.zeros(common.shape, np.int32)
    rows, columns = (np.flatnonzero((common >= ONE / _STEPS).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return level
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    common, inside = common[box], level[box]
    for step in range(1, _STEPS + 1):
        region = _largest_region(common >= math.ceil(step * ONE / _STEPS))
        if region is None:
            break
        inside += region & (inside == step - 1)
    return level


def _largest_region(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    labels, count = _ndimage().label(mask)
    if count < 2:
        return mask if count else None
    sizes = np.bincount(labels.reshape(-1))
    region: npt.NDArray[np.bool_] = labels == 1 + int(np.argmax(sizes[1:]))
    return region


def _looseness(alpha: Alpha, level: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    distance = 20 * alpha.astype(np.int32) - 2 * ONE * level
    return np.where(distance >= 3 * ONE, distance, 0)


def _ndimage() -> Any:
    try:
        from scipy import ndimage
    except ImportError:
        raise DependencyError("scipy", extra="bench", stage="accuracy of mattes") from None
    return ndimage
