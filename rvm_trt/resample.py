"""Bilinear resampling by tables: which two samples each output position reads, and how it weighs them.

Both directions follow ``align_corners=False`` without antialiasing. The tables serve every device's kernels; the
functions on whole frames are the NumPy reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Taps:
    """Where each position of one axis reads: ``(1 − weight) · x[first] + weight · x[second]``.

    Attributes:
        first, second: (n,) uint32, indices into the source axis.
        weight: (n,) float32 in 0..1.
    """

    first: npt.NDArray[np.uint32]
    second: npt.NDArray[np.uint32]
    weight: npt.NDArray[np.float32]


def downsample_taps(size: int, ratio: float) -> Taps:
    """Returns the taps from ``size`` samples to ``floor(size · ratio)``; positions follow the ratio itself."""
    return _taps(size, math.floor(float(size) * ratio), 1.0 / ratio)


def upsample_taps(size: int, target: int) -> Taps:
    """Returns the taps from ``size`` samples to ``target``; positions follow the ratio of the sizes."""
    return _taps(size, target, size / target)


def resample(image: npt.NDArray[np.float32], rows: Taps, columns: Taps) -> npt.NDArray[np.float32]:
    """Returns ``image`` (…, H, W) float32 resampled along both axes."""
    top, bottom = image[..., rows.first, :], image[..., rows.second, :]
    lines = top + rows.weight[:, None] * (bottom - top)
    left, right = lines[..., columns.first], lines[..., columns.second]
    resampled: npt.NDArray[np.float32] = left + columns.weight * (right - left)
    return resampled


def sample_frame(frame: npt.NDArray[np.uint8], ratio: float) -> npt.NDArray[np.float32]:
    """Returns the network's input (3, h, w) float32 in 0..1 from an (H, W, 3) uint8 frame: the reference."""
    planar: npt.NDArray[np.float32] = np.ascontiguousarray(frame.transpose(2, 0, 1)).astype(np.float32)
    planar /= np.float32(255)
    if ratio == 1.0:
        return planar
    height, width = frame.shape[:2]
    return resample(planar, downsample_taps(height, ratio), downsample_taps(width, ratio))


def _taps(size: int, target: int, step: float) -> Taps:
    # In single precision, as PyTorch computes it: in double, odd ratios would differ from the original by 1e-4.
    half = np.float32(0.5)
    position = np.maximum(
        (np.arange(target, dtype=np.float32) + half) * np.float32(step) - half, np.float32(0)
    )
    first = np.minimum(position.astype(np.int64), size - 1)
    second = np.minimum(first + 1, size - 1)
    # At the far edge both taps are the last sample, so the weight has no effect there.
    weight = np.clip(position - first, 0.0, 1.0)
    return Taps(first.astype(np.uint32), second.astype(np.uint32), weight.astype(np.float32))
