"""The alpha errors of two bench documents, entrant by entrant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rvm_trt.benchmarks.compare_conditions import Document, Figure
from rvm_trt.benchmarks.compare_times import OURS

GROWTH, LEAST_GROWTH_E3 = 0.1, 0.02  # a change counts when it is above both


class Closeness(Enum):
    """How an entrant's alpha error changed."""

    CLOSER = "closer"
    FURTHER = "further off"
    SAME = "as close"
    INCOMPARABLE = "not comparable"


@dataclass(frozen=True, kw_only=True)
class AccuracyChange:
    """How the alpha error of one entrant changed, as MAD × 1000 against the baseline of its run."""

    profile: str
    entrant: str
    ours: bool
    old_mad_e3: float
    new_mad_e3: float
    verdict: Closeness

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return {
            "profile": self.profile,
            "entrant": self.entrant,
            "ours": self.ours,
            "old_mad_e3": self.old_mad_e3,
            "new_mad_e3": self.new_mad_e3,
            "verdict": self.verdict.value,
        }


def accuracy_changes(old: Document, new: Document, *, spoils: frozenset[Figure]) -> Iterator[AccuracyChange]:
    """Yields what both of two entries of ``profiles`` have errors of."""
    before = {entrant["name"]: entrant["accuracy"] for entrant in old["entrants"]}
    for entrant in new["entrants"]:
        was, now = before.get(entrant["name"]), entrant["accuracy"]
        if was is None or now is None:
            continue
        same_length = was["frames"] == now["frames"]  # errors grow along a clip
        yield AccuracyChange(
            profile=old["name"],
            entrant=entrant["name"],
            ours=entrant["group"] == OURS,
            old_mad_e3=was["mad_e3"],
            new_mad_e3=now["mad_e3"],
            verdict=Closeness.INCOMPARABLE
            if Figure.ACCURACY in spoils or not same_length
            else _closeness(was["mad_e3"], now["mad_e3"]),
        )


def _closeness(old_e3: float, new_e3: float) -> Closeness:
    smaller, larger = sorted((old_e3, new_e3))
    if larger - smaller <= LEAST_GROWTH_E3 or larger <= smaller * (1 + GROWTH):
        return Closeness.SAME
    return Closeness.FURTHER if new_e3 > old_e3 else Closeness.CLOSER
