"""Fair timing: each entrant in a process of its own, and short rounds that take turns while the others sleep."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rvm_trt.benchmarks.child import BenchmarkError, Worker
from rvm_trt.benchmarks.timings import Schedule, Timing, Turn

_T = TypeVar("_T")


class Field:
    """Workers that take turns. Those that are not required may fail: they leave, and the reason is kept.

    Attributes:
        workers: who takes part, by name.
        start_ms: from the start of the process to its being ready: imports, loading, compiling.
        failures: name → why it left, as a sentence.
    """

    def __init__(self, required: Collection[str], owned: ExitStack) -> None:
        self._required = required
        self._owned = owned
        self.workers: dict[str, Worker] = {}
        self.start_ms: dict[str, float] = {}
        self.failures: dict[str, str] = {}

    def start(self, name: str, command: Sequence[str], *, log: Path, timeout_s: float) -> None:
        """Starts a worker and waits until it is ready; it is closed with the field."""
        begin = time.perf_counter()
        self.workers[name] = self._owned.enter_context(Worker(command, name=name, log=log))
        if self.attempt(name, lambda: self.workers[name].answer(timeout_s=timeout_s)) is not None:
            self.start_ms[name] = (time.perf_counter() - begin) * 1e3

    def attempt(self, name: str, work: Callable[[], _T]) -> _T | None:
        """Returns what ``work`` returns; None where a worker that is not required failed, which leaves then.

        Raises:
            BenchmarkError: a required worker failed.
        """
        try:
            return work()
        except BenchmarkError as error:
            if name in self._required:
                raise
            self.failures[name] = error.reason
            self.workers.pop(name).close()
            return None

    def ask(self, name: str, request: dict[str, Any], *, timeout_s: float) -> dict[str, Any] | None:
        """Returns a worker's answer, or None as `attempt`."""
        return self.attempt(name, lambda: self.workers[name].ask(request, timeout_s=timeout_s))


@contextmanager
def started(
    commands: Mapping[str, Sequence[str]],
    *,
    required: Collection[str] | None = None,
    timeout_s: float = 600.0,
) -> Iterator[Field]:
    """Starts workers one after the other, yields them when all are ready, and ends every one of them.

    Args:
        commands: name → program and arguments.
        required: names of those whose failure is an error; None means all.
        timeout_s: longest wait for one to become ready.

    Raises:
        BenchmarkError: a required one does not become ready.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rvm-trt-")))
        runners = Field(commands if required is None else required, stack)
        for index, (name, command) in enumerate(commands.items()):
            runners.start(name, command, log=folder / f"{index}.log", timeout_s=timeout_s)
        yield runners


def interleave(
    field: Field,
    schedule: Schedule,
    *,
    protocol: str = "run",
    tell: Callable[[str], None] | None = None,
) -> dict[str, Timing]:
    """Measures workers in turns and returns their times by name. Only one of them works at a time.

    A worker that has no such protocol, or leaves the field, is not among the results.

    Args:
        field: from `started`.
        schedule: how often and how long.
        protocol: ``run`` for frame to frame, or ``tensor``.
        tell: called with one line of text before each round.

    Raises:
        BenchmarkError: a required worker died, fell silent or told an error.
    """
    timeout_s = schedule.timeout_s

    def run(name: str, count: int) -> Turn | None:
        return field.attempt(
            name, lambda: field.workers[name].run(count, timeout_s=timeout_s, protocol=protocol)
        )

    warm: dict[str, Turn] = {}
    for name in list(field.workers):
        turn = run(name, schedule.warm_up_frames)
        if turn is not None:
            warm[name] = turn
    counts = {name: schedule.turn_frames(min(turn.samples_ms)) for name, turn in warm.items()}
    turns: dict[str, list[Turn]] = {name: [] for name in warm}
    for index in range(schedule.rounds):
        if tell is not None:
            tell(f"Round {index + 1} of {schedule.rounds}")
        names = [name for name in turns if name in field.workers]
        start = index % max(1, len(names))
        for name in names[start:] + names[:start]:
            time.sleep(schedule.rest_s)
            turn = run(name, counts[name])
            if turn is not None:
                turns[name].append(turn)
    return {
        name: Timing(turns=tuple(values), first_ms=warm[name].samples_ms[0])
        for name, values in turns.items()
        if name in field.workers
    }
