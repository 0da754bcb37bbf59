"""What a fault that is not in the input is made of: a row of the table, its runs, and the command they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rvm_trt.benchmarks.fault_runner import Outcome

TIMEOUT_S = 120.0
# An output of each kind that is written in a way of its own, and its options.
TARGETS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("out.mkv", ()),
    ("out.mp4", ()),
    ("out.webm", ()),
    ("out.mov", ("--output-kind", "rgba")),
    ("images", ()),
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run of a scenario.

    Attributes:
        name: which.
        outcome: how it ended.
        output: what it was to write.
        faults: what the scenario itself found wrong.
        checked: whether it has to meet what every run has to: not if it was killed.
    """

    name: str
    outcome: Outcome
    output: Path
    faults: list[str] = field(default_factory=list)
    checked: bool = True


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A row of the table.

    Attributes:
        name: what happens.
        run: runs it in an empty folder with a folder of engines.
    """

    name: str
    run: Callable[[Path, Path], Iterator[Result]]


def command(clip: Path | str, output: Path | str, engines: Path, *more: str) -> list[str]:
    """Returns the arguments that matte a clip on one thread, without progress."""
    return [
        "matte",
        f"{clip}",
        "-o",
        f"{output}",
        "--engines",
        f"{engines}",
        "--quiet",
        "--threads",
        "1",
        *more,
    ]
