"""The times of two bench documents, entrant by entrant: raw, and relative to the baseline of the same run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rvm_trt.benchmarks.compare_conditions import Document, Figure
from rvm_trt.benchmarks.ratio_interval import Ratio, Series, Verdict, ratio_of

OURS = "rvm-trt"
_PROTOCOLS = ("frame", "tensor")


@dataclass(frozen=True, kw_only=True)
class TimeChange:
    """How the time of one entrant changed, in one profile and protocol.

    Attributes:
        profile, protocol, entrant: what was timed; protocols are frame, tensor and file.
        ours: whether it counts as a regression of this project when it is slower.
        old_ms, new_ms: medians of the rounds' medians; of a file, of the repeats.
        raw: new over old.
        relative: the same with each round divided by the baseline's; None for the baseline, and without one.
    """

    profile: str
    protocol: str
    entrant: str
    ours: bool
    old_ms: float
    new_ms: float
    raw: Ratio
    relative: Ratio | None

    @property
    def verdict(self) -> Verdict:
        """The relative verdict, or the raw one where that cannot be had."""
        if self.relative is None or self.relative.verdict is Verdict.INCOMPARABLE:
            return self.raw.verdict
        return self.relative.verdict

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values, rounded."""
        return {
            "profile": self.profile,
            "protocol": self.protocol,
            "entrant": self.entrant,
            "ours": self.ours,
            "old_ms": round(self.old_ms, 3),
            "new_ms": round(self.new_ms, 3),
            "raw": self.raw.to_json(),
            "relative": None if self.relative is None else self.relative.to_json(),
            "verdict": self.verdict.value,
        }


@dataclass(frozen=True, kw_only=True)
class TimeRow:
    """The rounds of one entrant in two documents, in one profile and protocol.

    Attributes:
        profile, protocol, entrant, ours: as in `TimeChange`.
        raw: one time in ms per round of each document.
        relative: the same divided by the baseline's of the same round.
    """

    profile: str
    protocol: str
    entrant: str
    ours: bool
    raw: tuple[Series, Series]
    relative: tuple[Series, Series] | None

    def change(self, *, confidence: float, spoils: frozenset[Figure]) -> TimeChange:
        """Returns what became of the time; ratios that a difference of conditions spoils get no verdict."""
        raw = _judged(self.raw, confidence, Figure.RAW in spoils)
        relative = self.relative and _judged(self.relative, confidence, Figure.RELATIVE in spoils)
        return TimeChange(
            profile=self.profile,
            protocol=self.protocol,
            entrant=self.entrant,
            ours=self.ours,
            old_ms=float(np.median(self.raw[0])),
            new_ms=float(np.median(self.raw[1])),
            raw=raw,
            relative=relative,
        )


def _judged(series: tuple[Series, Series], confidence: float, incomparable: bool) -> Ratio:
    ratio = ratio_of(*series, confidence=confidence)
    return replace(ratio, verdict=Verdict.INCOMPARABLE) if incomparable else ratio


def time_rows(old: Document, new: Document) -> Iterator[TimeRow]:
    """Yields what both of two entries of ``profiles`` have times of."""
    before, after = _series(old), _series(new)
    base, other_base = old["entrants"][0]["name"], new["entrants"][0]["name"]
    ours = {entrant["name"] for entrant in new["entrants"] if entrant["group"] == OURS}
    for protocol, name in before:
        if (protocol, name) not in after:
            continue
        relative = None
        if name != base == other_base:
            was, now = (_beside(series, protocol, name, base) for series in (before, after))
            relative = None if was is None or now is None else (was, now)
        yield TimeRow(
            profile=old["name"],
            protocol=protocol,
            entrant=name,
            ours=name in ours,
            raw=(before[protocol, name], after[protocol, name]),
            relative=relative,
        )


def _beside(
    series: Mapping[tuple[str, str], Series], protocol: str, name: str, baseline: str
) -> Series | None:
    own, base = series[protocol, name], series.get((protocol, baseline))
    # Without a round of the baseline for each of its own there are no pairs.
    return None if base is None or len(base) != len(own) else own / base


def _series(entry: Document) -> dict[tuple[str, str], Series]:
    """Returns the times in ms of a profile by protocol and entrant, one number per round or repeat."""
    rounds = {
        (protocol, entrant["name"]): np.array([np.median(turn) for turn in entrant[protocol]["samples_ms"]])
        for protocol in _PROTOCOLS
        for entrant in entry["entrants"]
        if entrant[protocol] is not None
    }
    files = {
        ("file", row["entrant"]): 1e3 * np.array(row["samples_s"], float)
        for row in entry["files"]
        if not row["unavailable"]
    }
    return rounds | files
