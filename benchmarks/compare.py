"""Two documents of ``rvm-trt bench`` side by side: what became slower, and what is noise.

Every time is compared in two ways: raw, and relative to PyTorch eager of the same run. The second divides by the
baseline round by round, so that a machine that is slow today, or another one, drops out; it decides where it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rvm_trt.benchmarks.compare_accuracy import AccuracyChange, Closeness, accuracy_changes
from rvm_trt.benchmarks.compare_conditions import Condition, Document, Figure, conditions_of, spoiled
from rvm_trt.benchmarks.compare_text import comparison_markdown
from rvm_trt.benchmarks.compare_times import OURS, TimeChange, time_rows
from rvm_trt.benchmarks.ratio_interval import Verdict
from rvm_trt.errors import OptionError

SCHEMA = 2
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Absence:
    """What only one of the documents has figures of.

    Attributes:
        profile: its name.
        entrant: its name, or None where the whole profile is missing.
        text: which document, and why.
        lost: whether an engine of this project ran before and cannot now, on the same machine.
    """

    profile: str
    entrant: str | None
    text: str
    lost: bool = False

    def to_json(self) -> dict[str, Any]:
        """The facts as plain JSON values."""
        return {"profile": self.profile, "entrant": self.entrant, "text": self.text, "lost": self.lost}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found.

    Attributes:
        old, new: date, commit and cpu of each document.
        confidence: of each interval; all of this project's together hold with 95 %.
        conditions: what differs besides the code.
        remarks: what else to know before reading on, such as that a run was noisy.
        times, accuracy: every entrant in both documents.
        absences: everything in one.
    """

    old: Mapping[str, Any]
    new: Mapping[str, Any]
    confidence: float
    conditions: tuple[Condition, ...]
    remarks: tuple[str, ...]
    times: tuple[TimeChange, ...]
    accuracy: tuple[AccuracyChange, ...]
    absences: tuple[Absence, ...]

    @property
    def regressions(self) -> tuple[str, ...]:
        """What of this project became slower, less exact, or cannot run any more; one phrase each."""
        slower = (
            f"{row.entrant} at {row.profile} ({row.protocol}): slower"
            for row in self.times
            if row.ours and row.verdict is Verdict.SLOWER
        )
        further = (
            f"{row.entrant} at {row.profile}: alpha further off"
            for row in self.accuracy
            if row.ours and row.verdict is Closeness.FURTHER
        )
        lost = (f"{row.entrant} at {row.profile}: {row.text}" for row in self.absences if row.lost)
        return (*slower, *further, *lost)

    @property
    def regressed(self) -> bool:
        """Whether there is a regression of this project. Other entrants that became slower are none."""
        return bool(self.regressions)

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        return {
            "benchmark": "rvm-trt bench --compare",
            "old": dict(self.old),
            "new": dict(self.new),
            "confidence": round(self.confidence, 5),
            "conditions": [condition.to_json() for condition in self.conditions],
            "remarks": list(self.remarks),
            "times": [row.to_json() for row in self.times],
            "accuracy": [row.to_json() for row in self.accuracy],
            "absences": [row.to_json() for row in self.absences],
            "regressions": list(self.regressions),
            "regressed": self.regressed,
        }

    def markdown(self) -> str:
        """Returns the comparison as Markdown: warnings, a table of times, changes of accuracy, and the result."""
        return comparison_markdown(self)


def compare(old: Document, new: Document) -> Comparison:
    """Compares two documents of schema 2.

    Raises:
        OptionError: one is of another schema, or they have no profile in common.
    """
    for subject, document in (("old document", old), ("new document", new)):
        if document.get("schema") != SCHEMA:
            raise OptionError(
                subject,
                got=f"schema {document.get('schema')}",
                expected=f"schema {SCHEMA}",
                todo="Measure again: rvm-trt bench.",
            )
    pairs = _pairs(old, new)
    conditions = conditions_of(old, new, pairs)
    rows = [row for pair in pairs for row in time_rows(*pair)]
    # All intervals of this project hold together: of 20 at 95 % each, one would miss by chance.
    confidence = 1 - (1 - CONFIDENCE) / max(1, sum(row.ours for row in rows))
    return Comparison(
        old=_identity(old),
        new=_identity(new),
        confidence=confidence,
        conditions=conditions,
        remarks=tuple(_remarks(old, new)),
        times=tuple(
            row.change(confidence=confidence, spoils=spoiled(conditions, row.profile)) for row in rows
        ),
        accuracy=tuple(
            change
            for pair in pairs
            for change in accuracy_changes(*pair, spoils=spoiled(conditions, pair[0]["name"]))
        ),
        absences=tuple(_absences(old, new, pairs, conditions)),
    )


def _pairs(old: Document, new: Document) -> list[tuple[Document, Document]]:
    after = {entry["name"]: entry for entry in new["profiles"]}
    pairs = [(entry, after[entry["name"]]) for entry in old["profiles"] if entry["name"] in after]
    if not pairs:
        names = ["/".join(entry["name"] for entry in document["profiles"]) for document in (old, new)]
        raise OptionError(
            "profiles",
            got=f"{names[0]} in the old document and {names[1]} in the new one",
            expected="at least one in both",
            todo="Measure the same profiles: rvm-trt bench --profile.",
        )
    return pairs


def _identity(document: Document) -> dict[str, Any]:
    environment = document["environment"]
    return {"date": document["date"], "commit": environment["commit"], "cpu": environment["cpu"]}


def _remarks(old: Document, new: Document) -> Iterator[str]:
    for name, document in (("old", old), ("new", new)):
        if document["noise"]["noisy"]:
            yield f"The {name} run was noisy: {document['noise']['text']}"


def _absences(
    old: Document,
    new: Document,
    pairs: Iterable[tuple[Document, Document]],
    conditions: Iterable[Condition],
) -> Iterator[Absence]:
    both = {entry["name"] for entry, _ in pairs}
    for text, document in (("only in the old document", old), ("only in the new document", new)):
        for entry in document["profiles"]:
            if entry["name"] not in both:
                yield Absence(profile=entry["name"], entrant=None, text=text)
    for before, after in pairs:
        same_machine = Figure.RAW not in spoiled(conditions, before["name"])
        yield from _absent_entrants(before, after, same_machine)


def _absent_entrants(old: Document, new: Document, same_machine: bool) -> Iterator[Absence]:
    before, after = ({entrant["name"]: entrant for entrant in entry["entrants"]} for entry in (old, new))
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        lost = False
        if now is None:
            text = "only in the old document"
        elif was is None:
            text = "only in the new document"
        elif now["unavailable"] and not was["unavailable"]:
            text = f"cannot run any more: {now['unavailable']}"
            lost = same_machine and now["group"] == OURS
        elif was["unavailable"] and not now["unavailable"]:
            text = f"could not run before: {was['unavailable']}"
        else:
            continue
        yield Absence(profile=old["name"], entrant=name, text=text, lost=lost)
