"""A schedule with one fault does not pass; a change that is no fault does."""

from __future__ import annotations

import pytest

from rvm_trt.runtime.device import Operation
from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.verification.checker import Rule, check
from rvm_trt.runtime.verification.mutations import Mutation, judge, mutations
from rvm_trt.runtime.verification.program import Freed, Program
from rvm_trt.runtime.verification.recording import Faults, Recording, record
from rvm_trt.runtime.verification.scenario import Scenario, scenarios


@pytest.fixture(scope="module")
def recordings() -> list[tuple[Scenario, Recording]]:
    return [(scenario, record(scenario)) for scenario in scenarios()]


def test_every_mutation_is_caught(recordings: list[tuple[Scenario, Recording]]) -> None:
    every = mutations()
    names = [mutation.name for mutation in every]
    for needed in (
        "delete in: wait ran",
        "delete net: wait sampled",
        "delete net: wait composed",
        "delete out: wait ran",
        "delete out: record ready",
        "delete host: synchronize ready (collect)",
        "delete net: fill (reset)",
        "delete net: fill (submit)",
        "shrink sources: slot 2 is slot 0",
        "swap the states of turn 1",
    ):
        assert needed in names
    verdicts = [judge(mutation, recordings, seeds=10) for mutation in every]
    assert [verdict.mutation for verdict in verdicts if verdict.caught_by == "nothing"] == []


def test_a_change_that_is_no_fault_is_not_caught(recordings: list[tuple[Scenario, Recording]]) -> None:
    def without_freeing(program: Program) -> Program:
        return tuple(entry for entry in program if not isinstance(entry, Freed))

    verdict = judge(Mutation(name="leak", change=without_freeing), recordings[:3], seeds=3)
    assert verdict.caught_by == "nothing"


def test_findings_name_frames_memory_bytes_and_the_missing_edge(
    recordings: list[tuple[Scenario, Recording]],
) -> None:
    (mutation,) = (each for each in mutations() if each.name == "delete in: wait ran")
    verdict = judge(mutation, recordings, seeds=10)
    assert verdict.checker == (
        "run, three deep: two accesses are not ordered: net: core.0 (frame 0, submit) and in: sample (frame 2, "
        "submit), on src.0.0, bytes 0..8; no event orders in behind net"
    )
    assert "bytes are wrong" in verdict.executor
    assert verdict.caught_by == "both"


class Hurried(Schedule):
    """Lets the streams of the network and of the outputs change places after every frame."""

    def _matte(self, work: object) -> None:
        super()._matte(work)  # type: ignore[arg-type]
        self._out, self._net = self._net, self._out


class Misplaced(Schedule):
    """Resets on the stream of the uploads."""

    def reset(self, lane: int | None = None) -> None:  # noqa: ARG002
        zero: tuple[tuple[Operation, ...], ...] = self._turns[self._turn].zero
        for operation in zero[0]:
            self._device.enqueue(operation, self._in)


@pytest.mark.parametrize("schedule", [Hurried, Misplaced])
def test_other_schedules_with_a_race_are_found_out(schedule: type[Schedule]) -> None:
    found = set()
    for scenario in scenarios():
        recording = record(scenario, faults=Faults(schedule=schedule))
        found |= {finding.rule for finding in check(recording.program)}
    assert Rule.RACE in found
