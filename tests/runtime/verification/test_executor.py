"""Orders that are legal, all of them, and copies that take place when their turn comes."""

from __future__ import annotations

from typing import Any

import pytest

from rvm_trt.runtime.verification.executor import Executor
from rvm_trt.runtime.verification.order import HOST, steps
from rvm_trt.runtime.verification.recording import record
from rvm_trt.runtime.verification.scenario import scenarios

Host = Any  # of conftest.py


def results(host: Host, seeds: int = 60) -> set[bytes]:
    executor = Executor(host.program)
    return {executor.run(seed)["result"] for seed in range(seeds)}


def upload(host: Host, value: int) -> None:
    host.write(host.region("pinned"), value)
    host.run("in", "upload", reads=(host.region("pinned"),), writes=(host.region("a"),))


def read_back(host: Host, stream: str = "in") -> None:
    host.run(stream, "download", reads=(host.region("a"),), writes=(host.region("back"),))
    host.record("back", stream)
    host.synchronize("back")
    host.read(host.region("back"), "result")


@pytest.mark.parametrize("scenario", scenarios()[1:4], ids=lambda scenario: scenario.name)
def test_every_order_is_one_that_the_events_allow(scenario: Any) -> None:
    program = record(scenario).program
    plan, executor = steps(program), Executor(program)
    for seed in range(20):
        order = executor.order(seed)
        assert sorted(order) == list(range(len(program)))
        place = {index: at for at, index in enumerate(order)}
        last: dict[str, int] = {}
        for index, step in enumerate(plan):
            assert all(place[other] < place[index] for other in step.after)
            for actor in (step.actor, HOST):
                assert actor not in last or place[last[actor]] < place[index]
            last[step.actor] = index


def test_seeds_give_different_orders_and_the_same_one_again() -> None:
    executor = Executor(record(scenarios()[1]).program)
    assert len({tuple(executor.order(seed)) for seed in range(30)}) > 20
    assert executor.order(7) == executor.order(7)


def test_both_orders_of_two_streams_are_found(host: Host) -> None:
    host.write(host.region("one"), 1)
    host.write(host.region("two"), 2)
    host.run("in", "first", reads=(host.region("one"),), writes=(host.region("a"),))
    host.run("net", "second", reads=(host.region("two"),), writes=(host.region("a"),))
    host.finish("in", "net")
    read_back(host)
    assert results(host) == {b"\1" * 8, b"\2" * 8}


def test_an_event_leaves_one_order(host: Host) -> None:
    upload(host, 1)
    host.record("uploaded", "in")
    host.wait("net", "uploaded")
    read_back(host, "net")
    assert results(host) == {b"\1" * 8}


def test_the_host_may_overwrite_what_an_upload_has_not_read_yet(host: Host) -> None:
    upload(host, 1)
    host.write(host.region("pinned"), 9)
    read_back(host)
    assert results(host) == {b"\1" * 8, b"\x09" * 8}


def test_a_synchronize_keeps_the_host_from_it(host: Host) -> None:
    upload(host, 1)
    host.record("uploaded", "in")
    host.synchronize("uploaded")
    host.write(host.region("pinned"), 9)
    read_back(host)
    assert results(host) == {b"\1" * 8}


def test_waiting_for_an_event_without_a_record_is_no_wait(host: Host) -> None:
    upload(host, 1)
    host.wait("net", "uploaded")
    host.record("uploaded", "in")
    read_back(host, "net")
    assert len(results(host)) == 2


def test_memory_that_nobody_wrote_is_not_zero_and_not_of_the_run_before(host: Host) -> None:
    read_back(host)
    executor = Executor(host.program)
    assert executor.run(0)["result"] == executor.run(1)["result"] == b"\xa5" * 8


def test_without_a_seed_calls_are_carried_out_as_they_were_made(host: Host) -> None:
    host.write(host.region("one"), 1)
    host.write(host.region("two"), 2)
    host.run("net", "second", reads=(host.region("two"),), writes=(host.region("a"),))
    host.run("in", "first", reads=(host.region("one"),), writes=(host.region("a"),))
    read_back(host)
    assert Executor(host.program).run(None)["result"] == b"\1" * 8
