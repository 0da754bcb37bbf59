"""What is told of a long series of errors: whether it grows, and how it fades behind resets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]

AFTER_RESET = (1, 2, 3, 5, 10, 25, 50, 100, 200)
_CONFIDENCE = 0.95


def growth(means_e3: Series) -> dict[str, float] | None:
    """Returns what MAD × 1000 grows by in 1,000 frames, with a 95 % interval; None for fewer than three means.

    Args:
        means_e3: mean of each 1,000 frames.
    """
    from scipy import stats

    count = len(means_e3)
    if count < 3:
        return None
    places = np.arange(count) - (count - 1) / 2
    slope = float(places @ means_e3 / (places @ places))
    rest = means_e3 - means_e3.mean() - slope * places
    error = math.sqrt(float(rest @ rest) / (count - 2) / float(places @ places))
    reach = float(stats.t.ppf((1 + _CONFIDENCE) / 2, count - 2)) * error
    return {
        "mad_e3_per_1000_frames": round(slope, 6),
        "low": round(slope - reach, 6),
        "high": round(slope + reach, 6),
    }


def after_reset(mad: Series, every: int) -> dict[str, Any]:
    """Returns the mean over all resets of MAD × 1000 in the n-th frame from a reset, and of what is left of it later.

    Args:
        mad: of each frame; frame 0, which is none, counts as undisturbed.
        every: frames from one reset to the next.
    """
    whole = mad[every : len(mad) // every * every].reshape(-1, every)
    settled = whole[:, every // 2 :]
    return {
        "resets": len(whole),
        "after_reset_mad_e3": {
            str(n): round(float(whole[:, n - 1].mean()) * 1e3, 4)
            for n in AFTER_RESET
            if len(whole) and n <= every
        },
        "second_half_mad_e3": round(float(settled.mean()) * 1e3, 4) if settled.size else None,
    }


def blocks(series: Series, block: int) -> Series:
    """Returns the series as rows of ``block`` values; what does not fill one is left out."""
    return series[: len(series) // block * block].reshape(-1, block)


def rounded(values: Any) -> Any:
    """Returns numbers, nested as they are, to five places."""
    return np.round(np.asarray(values, np.float64), 5).tolist()
