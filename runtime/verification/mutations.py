"""Mutations: one fault at a time is planted in the schedule, and checker or executor must find it.

Deleting a call from a recorded program is deleting its line from the schedule's source: all that it made goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from rvm_trt.errors import SessionError
from rvm_trt.runtime.cpu import CpuOperation
from rvm_trt.runtime.device import Buffer, Operation
from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.stages import Stages, Tensors
from rvm_trt.runtime.verification.checker import check
from rvm_trt.runtime.verification.program import (
    Enqueued,
    Entry,
    Finished,
    Program,
    Recorded,
    Synchronized,
    Waited,
)
from rvm_trt.runtime.verification.recording import Faults, Recording, record
from rvm_trt.runtime.verification.scenario import Scenario, scenarios


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One fault.

    Attributes:
        name: what was done.
        faults: planted before the recording.
        change: done to the recorded program.
    """

    name: str
    faults: Faults | None = None
    change: Callable[[Program], Program] | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a mutation.

    Attributes:
        mutation: its name.
        checker, executor: the first finding of each with the scenario it was found in; empty where there was none.
    """

    mutation: str
    checker: str
    executor: str

    @property
    def caught_by(self) -> str:
        """``checker``, ``executor``, ``both`` or ``nothing``."""
        if self.checker and self.executor:
            return "both"
        return "checker" if self.checker else "executor" if self.executor else "nothing"


def mutations() -> list[Mutation]:
    """Returns every mutation: of each wait, record, synchronize and fill that any scenario needs, and of each ring."""
    programs = [record(scenario).program for scenario in scenarios()]
    sites = {entry.site: entry for program in programs for entry in program if entry.call != "caller"}
    return [
        *(
            Mutation(name=f"delete {site}", change=partial(_delete, site))
            for site, entry in sites.items()
            if _deletable(entry)
        ),
        *(
            Mutation(name=f"too early: {site}", change=partial(_hasten, site))
            for site, entry in sites.items()
            if isinstance(entry, Recorded)
        ),
        *(
            Mutation(name=f"too late: {site}", change=partial(_delay, site))
            for site, entry in sites.items()
            if isinstance(entry, Waited)
        ),
        *_ring_mutations(),
        Mutation(name="one matte more may wait", faults=Faults(schedule=_Roomy)),
        Mutation(name="swap the states of turn 1", faults=Faults(stages=_SwappedStates)),
        Mutation(name="one execution context for all", faults=Faults(stages=_OneContext)),
    ]


def judge(mutation: Mutation, recordings: Sequence[tuple[Scenario, Recording]], *, seeds: int) -> Verdict:
    """Returns what checker and executor find in any scenario.

    Args:
        mutation: the fault.
        recordings: every scenario as it is without the fault.
        seeds: orders to try for each scenario.
    """
    checker = executor = ""
    for scenario, recording in _mutated(mutation, recordings):
        if not checker:
            checker = next(
                (f"{scenario.name}: {finding}" for finding in check(recording.program, limit=1)), ""
            )
        if not executor:
            wrong = (recording.mismatch(seed) for seed in range(seeds))
            executor = next((f"{scenario.name}: {text}" for text in wrong if text), "")
        if checker and executor:
            break
    return Verdict(mutation=mutation.name, checker=checker, executor=executor)


def _mutated(
    mutation: Mutation, recordings: Sequence[tuple[Scenario, Recording]]
) -> Iterator[tuple[Scenario, Recording]]:
    for scenario, recording in recordings:
        faulty = record(scenario, faults=mutation.faults) if mutation.faults else recording
        if mutation.change:
            faulty = replace(faulty, program=mutation.change(faulty.program))
        if faulty is not recording and faulty.program != recording.program:
            yield scenario, faulty


def _deletable(entry: Entry) -> bool:
    if isinstance(entry, Enqueued):
        return entry.name == "fill" and not entry.stream.endswith("/caller")
    return isinstance(entry, (Waited, Recorded, Synchronized, Finished))


def _delete(site: str, program: Program) -> Program:
    return tuple(entry for entry in program if entry.site != site)


def _hasten(site: str, program: Program) -> Program:
    """Moves records before the last operation that they are to be behind."""
    result: list[Entry] = []
    for entry in program:
        place = len(result)
        if entry.site == site and isinstance(entry, Recorded):
            before = (i for i in reversed(range(len(result))) if _works(result[i], entry.stream))
            place = next(before, place)
        result.insert(place, entry)
    return tuple(result)


def _delay(site: str, program: Program) -> Program:
    """Moves waits behind the first operation that is to be behind them."""
    result: list[Entry] = []
    late: dict[str, Entry] = {}
    for entry in program:
        if entry.site == site and isinstance(entry, Waited):
            late[entry.stream] = entry
            continue
        result.append(entry)
        if isinstance(entry, Enqueued) and entry.stream in late:
            result.append(late.pop(entry.stream))
    return tuple(result)


def _works(entry: Entry, stream: str) -> bool:
    return isinstance(entry, Enqueued) and entry.stream == stream


def _ring_mutations() -> Iterator[Mutation]:
    """Shrinks each ring: one member takes the memory of the first."""
    for slot in (1, 2):  # slots that a scenario's depth has not stay as they are
        slots = {
            "sources": {f"source.{slot}.{lane}": f"source.0.{lane}" for lane in range(3)},
            "page-locked sources": {
                f"pinned source.{slot}.{lane}": f"pinned source.0.{lane}" for lane in range(3)
            },
            "page-locked outputs": {
                f"pinned output.{lane}.{slot}": f"pinned output.{lane}.0" for lane in range(3)
            },
        }
        for name, aliases in slots.items():
            yield Mutation(name=f"shrink {name}: slot {slot} is slot 0", faults=Faults(aliases=aliases))
    turns = {
        "network's inputs": {"src.1.0": "src.0.0"},
        "coefficients": {"coefficients.1.0": "coefficients.0.0", "coefficients.1.1": "coefficients.0.1"},
        "states": {f"state.1.{index}": f"state.0.{index}" for index in range(4)},
    }
    for name, aliases in turns.items():
        yield Mutation(name=f"shrink {name}", faults=Faults(aliases=aliases))


class _Roomy(Schedule):
    def check_room(self) -> None:
        if self.waiting > self.depth:
            raise SessionError("submit", got="more", expected="fewer", todo="Collect.")


class _OtherStages:
    """Stages with another ``core``."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self.sizes = stages.sizes
        self.sample, self.head, self.compose = stages.sample, stages.head, stages.compose

    def close(self) -> None:
        """Leaves closing to the owner."""


class _SwappedStates(_OtherStages):
    def core(
        self, name: str, *, src: Buffer, state: Tensors, next_state: Tensors, results: Tensors
    ) -> Operation:
        """Lets turn 1 read what it should write."""
        if name == "core.1":
            state, next_state = next_state, state
        return self._stages.core(name, src=src, state=state, next_state=next_state, results=results)


class _OneContext(_OtherStages):
    def core(
        self, name: str, *, src: Buffer, state: Tensors, next_state: Tensors, results: Tensors
    ) -> Operation:
        """Uses one context again and again."""
        made = self._stages.core(name, src=src, state=state, next_state=next_state, results=results)
        return replace(cast(CpuOperation, made), context="the only context")
