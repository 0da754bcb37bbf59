"""The ratio of two series of times, with the interval that noise leaves it, and what may be said of it.

Rounds are what is drawn again in the bootstrap, not frames: on a shared machine the frames of one round are slow or
fast together, and taking them as independent would make the interval several times too narrow. What changes only from
one start of a process to the next, such as where its memory lies, is not in the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]

THRESHOLD = 0.02  # a smaller change is none, however sure
FEWEST_ROUNDS = 5  # with fewer, the bootstrap of a median finds differences between equals in 1 of 12 tries
_DRAWS = 4000
_SEED = 20108


class Verdict(Enum):
    """What the interval of a ratio of times allows to say."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference to tell from noise"
    TOO_FEW = "too few rounds to tell"
    INCOMPARABLE = "not comparable"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """New time over old time: above 1 is slower.

    Attributes:
        value: ratio of the medians.
        low, high: its interval.
        verdict: what may be said.
    """

    value: float
    low: float
    high: float
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values, rounded."""
        return {
            "ratio": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "verdict": self.verdict.value,
        }


def ratio_of(old: Series, new: Series, *, confidence: float) -> Ratio:
    """Returns the ratio of the medians of two series, with its percentile bootstrap interval; always the same one.

    Args:
        old: one number per round, at least one.
        new: the same of the other run; the number of rounds may differ.
        confidence: share of intervals that hold the true ratio.
    """
    generator = np.random.default_rng(_SEED)
    ratios = _drawn_medians(new, generator) / _drawn_medians(old, generator)
    tail = (1 - confidence) / 2
    low, high = (float(bound) for bound in np.quantile(ratios, (tail, 1 - tail)))
    value = float(np.median(new) / np.median(old))
    if min(len(old), len(new)) < FEWEST_ROUNDS:
        verdict = Verdict.TOO_FEW
    elif low <= 1 <= high or abs(value - 1) < THRESHOLD:
        verdict = Verdict.SAME
    else:
        verdict = Verdict.SLOWER if value > 1 else Verdict.FASTER
    return Ratio(value=value, low=low, high=high, verdict=verdict)


def _drawn_medians(series: Series, generator: np.random.Generator) -> Series:
    count = len(series)
    drawn = np.sort(series[generator.integers(count, size=(_DRAWS, count))], axis=1)
    medians: Series = (drawn[:, (count - 1) // 2] + drawn[:, count // 2]) / 2  # a fifth of np.median's time
    return medians
