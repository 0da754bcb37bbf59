"""The schedule, in any scenario and any legal order: no finding, and the bytes of the serial run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rvm_trt import Engine, Profile
from rvm_trt.runtime.cpu_stages import CpuStages
from rvm_trt.runtime.verification.checker import check
from rvm_trt.runtime.verification.program import Enqueued, Memory, Program
from rvm_trt.runtime.verification.real_stages import engine_stages, real_stages
from rvm_trt.runtime.verification.recording import Recording, record
from rvm_trt.runtime.verification.scenario import Action, Scenario, scenarios
from rvm_trt.runtime.verification.stand_in import StandInStages, small_sizes

ORDERS = 300
FIXED = scenarios()
SCENARIOS = st.builds(
    Scenario,
    name=st.just("random"),
    actions=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(Action)), max_size=30).map(tuple),
    videos=st.just(2),
    depth=st.integers(1, 4),
    lanes=st.integers(1, 3),
    head=st.booleans(),
    spill_suppression=st.booleans(),
    collects=st.booleans(),
    seed=st.integers(0, 1 << 30),
)


def assert_proved(recording: Recording, seeds: Iterator[int] | range) -> None:
    assert check(recording.program) == []
    for seed in (None, *seeds):
        assert recording.mismatch(seed) is None, f"seed {seed}"


@pytest.mark.parametrize("scenario", FIXED, ids=[scenario.name for scenario in FIXED])
def test_every_way_to_use_a_schedule(scenario: Scenario) -> None:
    recording = record(scenario)
    assert len(recording.expected) >= 6
    assert_proved(recording, range(ORDERS // len(FIXED)))


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(scenario=SCENARIOS, seed=st.integers(0, 1 << 30))
def test_any_scenario_in_any_order(scenario: Scenario, seed: int) -> None:
    assert_proved(record(scenario), iter((seed, seed + 1)))


@pytest.mark.parametrize("scenario", FIXED, ids=[scenario.name for scenario in FIXED])
def test_kernels_and_engine_library_give_the_serial_bytes_in_every_order(scenario: Scenario) -> None:
    recording = record(scenario, real_stages)
    assert len(set(recording.expected.values())) >= len(recording.expected) // 4  # not all alike
    assert_proved(recording, range(5))


@pytest.fixture(scope="module")
def rvm(built: Callable[..., Engine]) -> Iterator[CpuStages]:
    with engine_stages(built(Profile(width=161, height=97, ratio=0.6)).path) as stages:
        yield stages


@pytest.mark.parametrize("name", ["run, three deep", "resets", "two videos"])
def test_the_real_network_gives_the_serial_bytes_in_every_order(name: str, rvm: CpuStages) -> None:
    (scenario,) = (each for each in FIXED if each.name == name)
    assert_proved(record(scenario, lambda _: rvm), range(2))


def test_a_stale_byte_anywhere_shows_in_the_outputs() -> None:
    # The stand-in is only worth something if each byte that an operation reads matters to all that it writes.
    program = record(Scenario(name="one", actions=((0, Action.PROCESS),), lanes=2, head=True)).program
    for entry in operations(program, 8):
        if entry.name.startswith(("core", "head", "sample", "compose")):
            for region in entry.reads[:3]:
                assert changes(entry, region.memory, region.start) > 0
                assert changes(entry, region.memory, region.stop - 1) > 0


@pytest.mark.parametrize("make", [real_stages, lambda _: StandInStages(small_sizes(lanes=2, head=True))])
def test_operations_touch_only_what_they_declare(make: Any) -> None:
    scenario = Scenario(
        name="few", actions=tuple((0, a) for a in (Action.IMAGE, Action.PROCESS, Action.RESET)), lanes=2
    )
    program = record(scenario, make).program
    memories = {region.memory for entry in operations(program) for region in (*entry.reads, *entry.writes)}
    chance = np.random.default_rng(0)
    for entry in operations(program):
        results = []
        for _ in range(2):  # other memory holds something else each time
            for memory in memories:
                memory.array[:] = chance.integers(0, 64, memory.array.size, np.uint8)
            for region in entry.reads:
                region.memory.array[region.start : region.stop] = 7
            before = {memory: memory.array.copy() for memory in memories}
            entry.work(*entry.arguments)
            results.append([r.memory.array[r.start : r.stop].tobytes() for r in entry.writes])
            for region in entry.writes:
                before[region.memory][region.start : region.stop] = region.memory.array[
                    region.start : region.stop
                ]
            for memory, kept in before.items():
                np.testing.assert_array_equal(
                    memory.array, kept, err_msg=f"{entry.name} writes {memory.name}"
                )
        assert results[0] == results[1], f"{entry.name} reads what it does not declare"


def operations(program: Program, limit: int | None = None) -> list[Enqueued]:
    found = {entry.name: entry for entry in program if isinstance(entry, Enqueued)}
    return list(found.values())[:limit]


def changes(entry: Enqueued, memory: Memory, byte: int) -> int:
    """How many bytes that an operation writes change with one that it reads."""
    results: list[npt.NDArray[np.uint8]] = []
    for value in (1, 2):
        memory.array[byte] = value
        entry.work(*entry.arguments)
        results.append(np.concatenate([r.memory.array[r.start : r.stop] for r in entry.writes]))
    return int((results[0] != results[1]).sum())
