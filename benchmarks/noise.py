"""Whether a measurement was too noisy: how far the medians of rounds are apart, and what ran before it began."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from rvm_trt.benchmarks.timings import Timing

# The middle half of the rounds' medians within 10 %: over ten rounds the median of all is then known to about 4 %
# (1.25 · IQR / 1.35 / √10, twice), and a ratio of two to about 6 %. Wider, and the first digit behind the point of
# a ratio such as 6.5 means nothing.
SPREAD_LIMIT = 0.10
# Of a single entrant, among dozens of which one may be unlucky.
ENTRANT_LIMIT = 0.20
# For quartiles.
LEAST_ROUNDS = 4
# Of the processors, taken by others in the minute before.
LOAD_LIMIT = 0.5


def spread(timing: Timing) -> float:
    """Returns the distance between the quartiles of the rounds' medians, over their median."""
    lower, middle, upper = np.percentile([median(turn.samples_ms) for turn in timing.turns], (25, 50, 75))
    return float((upper - lower) / middle)


def verdict(timings: Mapping[str, Timing], *, load_average: float, cpus: int) -> dict[str, Any]:
    """Returns ``noisy``, ``text`` (one sentence on what was seen and what it means) and ``spread`` by key.

    Args:
        timings: of all entrants, by ``profile/protocol/entrant``; fewer than `LEAST_ROUNDS` rounds tell nothing.
        load_average: of the minute before the measurement.
        cpus: that the benchmark may use.
    """
    spreads = {
        key: round(spread(timing), 4) for key, timing in timings.items() if len(timing.turns) >= LEAST_ROUNDS
    }
    if not spreads:
        text = "There were too few rounds to tell noise from speed: this run shows that everything works, no more."
        return {"noisy": True, "text": text, "spread": {}}
    typical, worst = median(spreads.values()), max(spreads, key=lambda key: spreads[key])
    seen = (
        f"The middle half of the rounds' medians lay within {typical:.0%} of each other for a typical entrant and "
        f"within {spreads[worst]:.0%} for the least steady one ({worst})"
    )
    busy = load_average > LOAD_LIMIT * cpus
    if busy:
        seen += f", and the machine had a load of {load_average:.1f} on {cpus} processors before it began"
    noisy = busy or typical > SPREAD_LIMIT or spreads[worst] > ENTRANT_LIMIT
    meaning = (
        "something else ran at the same time, so take the ratios, which come from interleaved rounds, as rough, "
        "and the milliseconds not at all."
        if noisy
        else "quiet enough for the ratios to hold to within a few per cent."
    )
    return {"noisy": noisy, "text": f"{seen}: {meaning}", "spread": spreads}
