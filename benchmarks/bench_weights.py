"""The weights that every entrant of a benchmark runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rvm_trt.export.download import terminal_progress
from rvm_trt.export.weights import Weights, find_weights
from rvm_trt.options import Variant


def bench_weights(variant: Variant, checkpoint: Path | None, tell: Callable[[str], None]) -> Weights:
    """Returns weights, fetching them where needed, and tells where they are from and their note."""
    with terminal_progress() as progress:
        weights = find_weights(variant=variant, checkpoint=checkpoint, progress=progress)
    tell(f"Weights: {weights.origin}, SHA-256 {weights.sha256[:16]}…")
    if weights.note:
        tell(f"note: {weights.note}")
    return weights


def describe_weights(weights: Weights) -> dict[str, Any]:
    """Returns what is recorded of the weights: the file's name, not its place."""
    return {
        "file": weights.path.name,
        "origin": weights.origin,
        "sha256": weights.sha256,
        "refiner": weights.refiner.value,
    }


def notes_once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Returns a ``tell`` that leaves out notes it has told before: each engine brings those on its weights."""
    told: set[str] = set()

    def tell_new(text: str) -> None:
        if text not in told:
            tell(text)
        if text.startswith("note: "):
            told.add(text)

    return tell_new
