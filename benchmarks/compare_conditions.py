"""What differs between two bench documents besides the code, and which of their figures that spoils."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

Document = Mapping[str, Any]


class Figure(Enum):
    """The kinds of figures that are compared."""

    RAW = "raw times"
    RELATIVE = "times relative to PyTorch"
    ACCURACY = "accuracy"


_EVERY = (Figure.RAW, Figure.RELATIVE, Figure.ACCURACY)
# Name, place in the document, and the figures that cannot be compared where it differs.
_OF_THE_RUN: tuple[tuple[str, tuple[str, ...], tuple[Figure, ...]], ...] = (
    ("processor", ("environment", "cpu"), (Figure.RAW,)),
    ("processor's family and model", ("environment", "cpu_family_model"), (Figure.RAW,)),
    ("usable cores", ("environment", "cores_usable"), (Figure.RAW,)),
    ("threads per entrant", ("environment", "threads_per_entrant"), (Figure.RAW, Figure.RELATIVE)),
    ("PyTorch", ("environment", "packages", "torch"), (Figure.RELATIVE,)),
    ("weights (SHA-256)", ("weights", "sha256"), (Figure.RAW, Figure.ACCURACY)),
    ("refiner", ("weights", "refiner"), _EVERY),
)
_OF_A_PROFILE: tuple[tuple[str, tuple[str, ...], tuple[Figure, ...]], ...] = (
    ("profile", ("profile",), _EVERY),
    ("clip", ("footage", "clip"), (Figure.RAW, Figure.ACCURACY)),
    ("clip's size", ("footage", "native_size"), (Figure.RAW, Figure.ACCURACY)),
    ("clip's frames", ("footage", "frames"), (Figure.RAW, Figure.ACCURACY)),
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Something that differs.

    Attributes:
        subject: its name.
        profile: where it differs; None everywhere.
        old, new: its values, as text.
        spoils: the figures that cannot be compared because of it.
    """

    subject: str
    profile: str | None
    old: str
    new: str
    spoils: tuple[Figure, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts as plain JSON values."""
        return {
            "subject": self.subject,
            "profile": self.profile,
            "old": self.old,
            "new": self.new,
            "spoils": [figure.value for figure in self.spoils],
        }


def conditions_of(
    old: Document, new: Document, pairs: Iterable[tuple[Document, Document]]
) -> tuple[Condition, ...]:
    """Returns what differs.

    Args:
        old, new: the documents.
        pairs: their entries of ``profiles`` that have a name in common.
    """
    found = list(_differing(old, new, _OF_THE_RUN, None))
    for before, after in pairs:
        found += _differing(before, after, _OF_A_PROFILE, before["name"])
    return tuple(found)


def spoiled(conditions: Iterable[Condition], profile: str) -> frozenset[Figure]:
    """Returns the figures of a profile that cannot be compared."""
    return frozenset(
        figure
        for condition in conditions
        if condition.profile in (None, profile)
        for figure in condition.spoils
    )


def _differing(
    old: Document,
    new: Document,
    places: Sequence[tuple[str, tuple[str, ...], tuple[Figure, ...]]],
    profile: str | None,
) -> Iterator[Condition]:
    for subject, place, spoils in places:
        was, now = _at(old, place), _at(new, place)
        if was != now:
            yield Condition(subject=subject, profile=profile, old=_text(was), new=_text(now), spoils=spoils)


def _at(document: Document, place: Sequence[str]) -> Any:
    value: Any = document
    for key in place:
        value = value[key]
    return value


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return "×".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
