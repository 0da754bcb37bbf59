"""The order that a program leaves open: which calls of it must have ended before each may run."""

from __future__ import annotations

from dataclasses import dataclass

from rvm_trt.runtime.verification.program import (
    Enqueued,
    Finished,
    Program,
    Recorded,
    Synchronized,
    Waited,
)

HOST = "host"


@dataclass(frozen=True)
class Step:
    """One call of a program as it is carried out.

    Attributes:
        actor: the stream that carries it out, or ``host``.
        after: indices of the calls of other actors that must have ended before; an actor's own calls run in order,
            and none runs before the host has made it.
    """

    actor: str
    after: tuple[int, ...] = ()


def steps(program: Program) -> list[Step]:
    """Returns a step for every call, by CUDA's rules for streams and events."""
    records: dict[str, int] = {}
    last: dict[str, int] = {}
    result = []
    for index, entry in enumerate(program):
        if isinstance(entry, (Enqueued, Recorded, Waited)):
            seen = records.get(entry.event) if isinstance(entry, Waited) else None
            result.append(Step(entry.stream, () if seen is None else (seen,)))
            last[entry.stream] = index
            if isinstance(entry, Recorded):
                records[entry.event] = index
        elif isinstance(entry, Synchronized):
            seen = records.get(entry.event)
            result.append(Step(HOST, () if seen is None else (seen,)))
        elif isinstance(entry, Finished):
            result.append(Step(HOST, tuple(last[stream] for stream in entry.streams if stream in last)))
        else:
            result.append(Step(HOST))
    return result
