"""The checker against programs with faults planted by hand, and against the definition of an order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvm_trt.runtime.verification.checker import Finding, Rule, check
from rvm_trt.runtime.verification.order import HOST, steps
from rvm_trt.runtime.verification.program import Enqueued, HostRead, HostWrote, Program, Region

Host = Any  # of conftest.py


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_two_streams_without_an_event_race(host: Host) -> None:
    a = host.region("a")
    host.run("in", "upload", writes=(a,))
    host.frame = 1
    host.run("net", "core", reads=(a,))
    finding = only(check(host.program))
    assert finding.rule is Rule.RACE
    assert finding.first == "in: upload (frame 0, submit)"
    assert finding.second == "net: core (frame 1, submit)"
    assert finding.where == "a, bytes 0..8"
    assert finding.missing == "no event orders net behind in"


def test_one_stream_keeps_its_order(host: Host) -> None:
    a = host.region("a")
    host.run("in", "upload", writes=(a,))
    host.run("in", "upload", writes=(a,))
    host.run("in", "sample", reads=(a,))
    assert check(host.program) == []


def test_an_event_orders_and_so_does_a_chain_of_them(host: Host) -> None:
    a = host.region("a")
    host.run("in", "upload", writes=(a,))
    host.record("ready", "in")
    host.wait("net", "ready")
    host.record("ran", "net")  # nothing of its own: it passes on what it waited for
    host.wait("out", "ran")
    host.run("out", "compose", reads=(a,))
    assert check(host.program) == []


def test_two_reads_need_no_order(host: Host) -> None:
    a = host.region("a")
    host.run("in", "sample", reads=(a,))
    host.run("out", "compose", reads=(a,))
    assert check(host.program) == []


@pytest.mark.parametrize("record_later", [False, True])
def test_waiting_for_an_event_without_a_record_is_no_wait(host: Host, record_later: bool) -> None:
    a = host.region("a")
    host.run("in", "upload", writes=(a,))
    host.wait("net", "ready")
    if record_later:
        host.record("ready", "in")
    host.run("net", "core", reads=(a,))
    assert only(check(host.program)).rule is Rule.RACE


def test_a_wait_sees_the_last_record_before_it(host: Host) -> None:
    a, b = host.region("a"), host.region("b")
    host.run("in", "first", writes=(a,))
    host.record("ready", "in")
    host.wait("net", "ready")
    host.run("in", "second", writes=(b,))
    host.record("ready", "in")  # moves the event, but not for the wait that was made
    host.run("net", "core", reads=(a, b))
    finding = only(check(host.program))
    assert (finding.first, finding.where) == ("in: second (frame 0, submit)", "b, bytes 0..8")


def test_a_record_does_not_cover_what_is_put_behind_it(host: Host) -> None:
    a, b = host.region("a"), host.region("b")
    host.run("in", "before", writes=(a,))
    host.record("ready", "in")
    host.run("in", "behind", writes=(b,))
    host.wait("net", "ready")
    host.run("net", "core", reads=(a, b))
    assert only(check(host.program)).first == "in: behind (frame 0, submit)"


def test_a_record_moves_the_event_for_later_waits(host: Host) -> None:
    a, b = host.region("a"), host.region("b")
    host.run("in", "upload", writes=(a,))
    host.record("ready", "in")
    host.run("net", "other", writes=(b,))
    host.record("ready", "net")
    host.wait("out", "ready")
    host.run("out", "compose", reads=(b,))
    assert check(host.program) == []
    host.run("out", "compose", reads=(a,))
    assert only(check(host.program)).first == "in: upload (frame 0, submit)"


def test_the_host_overwrites_pinned_memory_before_the_upload_has_ended(host: Host) -> None:
    pinned, a = host.region("pinned"), host.region("a")
    host.write(pinned)
    host.run("in", "upload", reads=(pinned,), writes=(a,))
    host.record("uploaded", "in")
    host.frame = 3
    host.write(pinned)
    finding = only(check(host.program))
    assert finding.rule is Rule.PINNED
    assert finding.second == "host: write pinned (frame 3, submit)"
    assert finding.missing == "no synchronize orders the host behind in"


@pytest.mark.parametrize("how", ["synchronize", "finish"])
def test_pinned_memory_may_be_used_again_after_the_host_waited(host: Host, how: str) -> None:
    pinned, a = host.region("pinned"), host.region("a")
    for _ in range(3):
        host.write(pinned)
        host.run("in", "upload", reads=(pinned,), writes=(a,))
        host.record("uploaded", "in")
        host.synchronize("uploaded") if how == "synchronize" else host.finish("in")
    assert check(host.program) == []


def test_synchronizing_without_a_record_is_no_wait(host: Host) -> None:
    pinned = host.region("pinned")
    host.run("out", "download", writes=(pinned,))
    host.synchronize("ready")
    host.read(pinned)
    assert only(check(host.program)).rule is Rule.PINNED


def test_what_the_host_waited_for_comes_before_all_that_it_enqueues(host: Host) -> None:
    a = host.region("a")
    host.run("in", "upload", writes=(a,))
    host.record("ready", "in")
    host.synchronize("ready")
    host.run("net", "core", reads=(a,))
    assert check(host.program) == []


def test_partly_overlapping_bytes_conflict_and_neighbours_do_not(host: Host) -> None:
    host.run("in", "sample lane 0", writes=(host.region("src", 0, 5),))
    host.run("net", "sample lane 1", writes=(host.region("src", 5, 8),))
    assert check(host.program) == []
    host.run("out", "compose", reads=(host.region("src", 4, 6),))
    assert [finding.where for finding in check(host.program)] == ["src, bytes 4..5", "src, bytes 5..6"]


def test_a_covering_write_does_not_hide_the_rest_of_an_older_one(host: Host) -> None:
    host.run("in", "whole", writes=(host.region("a"),))
    host.record("ready", "in")
    host.wait("net", "ready")
    host.run("net", "half", writes=(host.region("a", 0, 4),))
    host.record("half", "net")
    host.run("out", "compose", reads=(host.region("a", 4, 8),))
    assert only(check(host.program)).first == "in: whole (frame 0, submit)"


def test_a_context_must_not_run_on_two_streams_at_once(host: Host) -> None:
    host.run("net", "core", writes=(host.region("a"),), context="context 1")
    host.run("other", "core", writes=(host.region("b"),), context="context 1")
    finding = only(check(host.program))
    assert (finding.rule, finding.where) == (Rule.CONTEXT, "context 1")
    assert check(host.program[:1] + host.program[:1]) == []


def test_states_must_alternate(host: Host) -> None:
    first, second = (host.region("state 0"),), (host.region("state 1"),)
    for frame, (before, after) in enumerate([(first, second), (second, first), (second, first)]):
        host.frame = frame
        host.run("net", "core", reads=before, writes=after, state=(before, after))
    finding = only(check(host.program))
    assert (finding.rule, finding.second) == (Rule.STATE, "net: core (frame 2, submit)")


def test_the_network_may_be_run_again_for_the_same_frame(host: Host) -> None:
    first, second = (host.region("state 0"),), (host.region("state 1"),)
    for _ in range(2):
        host.run("net", "core", reads=first, writes=second, state=(first, second))
    assert check(host.program) == []


def test_states_must_not_share_memory(host: Host) -> None:
    state = (host.region("state 0"),)
    host.run("net", "core", reads=state, writes=state, state=(state, state))
    assert only(check(host.program)).rule is Rule.OVERLAP


def test_a_ring_of_one_waits_for_itself_when_two_frames_are_under_way(host: Host) -> None:
    host.claim("slot.0")
    host.frame = 1
    host.claim("slot.0")  # before frame 0 is collected, which only this thread would do
    host.release("slot.0")
    finding = only(check(host.program))
    assert finding.rule is Rule.DEADLOCK
    assert "frame 0" in finding.first
    assert "frame 1" in finding.second


def test_a_ring_of_two_does_not(host: Host) -> None:
    for frame in range(6):
        host.claim(f"slot.{frame % 2}")
        if frame:
            host.release(f"slot.{(frame - 1) % 2}")
    assert check(host.program) == []


def test_only_so_many_findings_are_given_as_are_asked_for(host: Host) -> None:
    for _ in range(5):
        host.run("in", "upload", writes=(host.region("a"),))
        host.run("net", "core", reads=(host.region("a"),))
    assert len(check(host.program, limit=3)) == 3


STREAMS, EVENTS = st.sampled_from(("in", "net", "out")), st.sampled_from(("e", "f"))
HALVES = st.sampled_from(((0, 8), (0, 8), (0, 5), (5, 8)))
RUN = st.tuples(st.just("run"), STREAMS, HALVES, st.booleans())
RECORD = st.tuples(st.just("record"), EVENTS, STREAMS)
WAIT = st.tuples(st.just("wait"), STREAMS, EVENTS)
AT_HOST = st.one_of(
    st.tuples(st.just("synchronize"), EVENTS),
    st.tuples(st.just("finish"), STREAMS),
    st.tuples(st.just("touch"), HALVES, st.booleans()),
)
CALLS = st.one_of(RUN, RECORD, WAIT, WAIT, AT_HOST)
# What orders two streams, and what may stand between: few programs at random have an order in them at all.
HAND_OVER = st.tuples(EVENTS, STREAMS, STREAMS, st.lists(CALLS, max_size=2)).map(
    lambda drawn: [("record", drawn[0], drawn[1]), *drawn[3], ("wait", drawn[2], drawn[0])]
)
PROGRAMS = st.lists(
    st.one_of(RUN.map(lambda call: [call]), HAND_OVER, AT_HOST.map(lambda call: [call])), max_size=8
)


def write_program(calls: list[tuple[Any, ...]], host: Host) -> Program:
    for kind, *values in calls:
        if kind == "run":
            stream, (start, stop), writing = values
            host.run(stream, "work", **{"writes" if writing else "reads": (host.region("a", start, stop),)})
        elif kind == "touch":
            (host.write if values[1] else host.read)(host.region("a", *values[0]))
        else:
            getattr(host, kind)(*values)
    return host.program


def unordered_pairs(program: Program) -> set[tuple[int, int]]:
    """Conflicting calls between which there is no chain of orders, by the definition: no clocks, all paths."""
    plan = steps(program)
    before: list[set[int]] = []
    last: dict[str, int] = {}
    for index, step in enumerate(plan):
        direct = {*step.after, *(last[actor] for actor in (step.actor, HOST) if actor in last)}
        before.append(direct.union(*(before[other] for other in direct)))
        last[step.actor] = index
    touched = [(index, *touch) for index, entry in enumerate(program) if (touch := touches(entry))]
    return {
        (first, second)
        for first, region, writing in touched
        for second, other, also in touched
        if first < second
        and region.start < other.stop
        and other.start < region.stop
        and (writing or also)
        and first not in before[second]
    }


def touches(entry: object) -> tuple[Region, bool] | None:
    if isinstance(entry, Enqueued):
        return (entry.writes or entry.reads)[0], bool(entry.writes)
    if isinstance(entry, (HostWrote, HostRead)):
        return entry.region, isinstance(entry, HostWrote)
    return None


@settings(max_examples=600, deadline=None, derandomize=True)
@given(parts=PROGRAMS)
def test_clocks_find_a_race_exactly_where_no_chain_of_orders_leads(
    new_host: Any, parts: list[list[tuple[Any, ...]]]
) -> None:
    program = write_program([call for part in parts for call in part], new_host())
    assert bool(check(program)) == bool(unordered_pairs(program))
