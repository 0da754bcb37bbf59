"""The checker: vector clocks over streams and the host find what a program leaves unordered.

Every stream and the host has a clock; a clock holds, for each of them, how many of its steps have certainly ended. An
operation inherits the clock of its stream and that of the host when it was enqueued. A record keeps the stream's clock;
a wait, a synchronize or a finish joins what was kept. Two accesses to the same byte, of which one writes, are ordered
if the later one's clock covers the earlier one's step; else a GPU may run them in either order, or at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from rvm_trt.runtime.verification.program import (
    Claimed,
    Enqueued,
    Entry,
    Finished,
    Freed,
    HostRead,
    HostWrote,
    Memory,
    Program,
    Recorded,
    Region,
    Regions,
    Released,
    Synchronized,
    Waited,
    describe,
)

HOST = "host"
Clock = dict[str, int]


class Rule(str, Enum):
    """What a finding is a breach of."""

    RACE = "two accesses are not ordered"
    PINNED = "page-locked memory is touched before a synchronize"
    CONTEXT = "an execution context runs twice at once"
    STATE = "states do not alternate"
    OVERLAP = "an operation writes what it reads"
    DEADLOCK = "a bounded ring waits for itself"


@dataclass(frozen=True)
class Finding:
    """One breach.

    Attributes:
        rule: of what.
        first, second: the two calls, the one that was made earlier first.
        where: memory and bytes, or what else they share.
        missing: what would have ordered them.
    """

    rule: Rule
    first: str
    second: str
    where: str
    missing: str

    def __str__(self) -> str:
        return f"{self.rule.value}: {self.first} and {self.second}, on {self.where}; {self.missing}"


@dataclass(frozen=True)
class _Access:
    """What one step did to a memory."""

    region: Region
    writes: bool
    actor: str
    step: int
    entry: Entry


def check(program: Program, *, limit: int = 20) -> list[Finding]:
    """Returns the breaches of a program, the first ``limit`` of them, in the order of the later call."""
    findings: list[Finding] = []
    for finding in _Checker().run(program):
        findings.append(finding)
        if len(findings) == limit:
            break
    return findings


class _Checker:
    def __init__(self) -> None:
        self._clocks: dict[str, Clock] = {HOST: {HOST: 0}}
        self._records: dict[str, Clock] = {}
        self._accesses: dict[Memory, list[_Access]] = {}
        self._contexts: dict[str, _Access] = {}
        self._networks: dict[Memory, Enqueued] = {}  # the last that read or wrote a state
        self._places: dict[str, Entry] = {}

    def run(self, program: Program) -> Iterator[Finding]:
        for entry in program:
            yield from self._step(entry)

    def _step(self, entry: Entry) -> Iterator[Finding]:
        if isinstance(entry, Enqueued):
            clock = self._advance(entry.stream)
            yield from self._touch(entry, entry.stream, clock, entry.reads, entry.writes)
            yield from self._exclusive(entry, clock)
            yield from self._states(entry)
        elif isinstance(entry, Recorded):
            clock = self._clock(entry.stream)
            _join(clock, self._clocks[HOST])
            self._records[entry.event] = dict(clock)
        elif isinstance(entry, Waited):
            # Without a record there is nothing to wait for.
            _join(self._clock(entry.stream), self._records.get(entry.event, {}))
        elif isinstance(entry, Synchronized):
            _join(self._clocks[HOST], self._records.get(entry.event, {}))
        elif isinstance(entry, Finished):
            for stream in entry.streams:
                _join(self._clocks[HOST], self._clock(stream))
        elif isinstance(entry, HostWrote):
            yield from self._touch(entry, HOST, self._advance(HOST), (), (entry.region,))
        elif isinstance(entry, HostRead):
            yield from self._touch(entry, HOST, self._advance(HOST), (entry.region,), ())
        elif isinstance(entry, Freed):
            yield from self._touch(entry, HOST, self._advance(HOST), (), entry.regions)
        else:
            yield from self._ring(entry)

    def _clock(self, actor: str) -> Clock:
        return self._clocks.setdefault(actor, {})

    def _advance(self, actor: str) -> Clock:
        """Returns the clock of an actor's next step, which comes after all that the host did so far."""
        clock = self._clock(actor)
        _join(clock, self._clocks[HOST])
        clock[actor] = clock.get(actor, 0) + 1
        return clock

    def _touch(
        self, entry: Entry, actor: str, clock: Clock, reads: Regions, writes: Regions
    ) -> Iterator[Finding]:
        for write in writes:
            for read in reads:
                if _overlap(read, write):
                    where = _where(read, write)
                    yield Finding(Rule.OVERLAP, describe(entry), "itself", where, "give them memory apart")
        for region, writing in [
            *((region, False) for region in reads),
            *((region, True) for region in writes),
        ]:
            access = _Access(region, writing, actor, clock[actor], entry)
            earlier = self._accesses.setdefault(region.memory, [])
            for other in earlier:
                if _conflict(other, access) and not _covers(clock, other):
                    yield _race(other, access)
            if writing:
                # Whoever is ordered behind this write is ordered behind what it covers, or that was a finding.
                earlier[:] = [other for other in earlier if not _hides(access, other)]
            earlier.append(access)

    def _exclusive(self, entry: Enqueued, clock: Clock) -> Iterator[Finding]:
        if not entry.context:
            return
        last = self._contexts.get(entry.context)
        if last is not None and not _covers(clock, last):
            yield Finding(
                Rule.CONTEXT,
                describe(last.entry),
                describe(entry),
                entry.context,
                _missing(last.actor, entry),
            )
        region = Region(entry.writes[0].memory, 0, 0)
        self._contexts[entry.context] = _Access(region, True, entry.stream, clock[entry.stream], entry)

    def _states(self, entry: Enqueued) -> Iterator[Finding]:
        before, after = entry.state
        if not before:
            return
        last = self._networks.get(before[0].memory)
        if last is not None and before != last.state[1]:
            # A frame that failed half-way is run again as if nothing had happened.
            again = last.label == entry.label and last.state == entry.state
            if not again:
                missing = "the second does not read what the first wrote"
                yield Finding(Rule.STATE, describe(last), describe(entry), before[0].memory.name, missing)
        for region in (*before, *after):
            self._networks[region.memory] = entry

    def _ring(self, entry: Entry) -> Iterator[Finding]:
        if isinstance(entry, Claimed):
            holder = self._places.get(entry.place)
            if holder is not None:
                missing = "only a later call of the same thread gives it back"
                yield Finding(Rule.DEADLOCK, describe(holder), describe(entry), entry.place, missing)
            self._places[entry.place] = entry
        elif isinstance(entry, Released):
            self._places.pop(entry.place, None)


def _join(clock: Clock, other: Clock) -> None:
    for actor, step in other.items():
        if step > clock.get(actor, 0):
            clock[actor] = step


def _covers(clock: Clock, access: _Access) -> bool:
    return clock.get(access.actor, 0) >= access.step


def _overlap(one: Region, other: Region) -> bool:
    return one.memory is other.memory and one.start < other.stop and other.start < one.stop


def _conflict(one: _Access, other: _Access) -> bool:
    return (
        one.entry is not other.entry and (one.writes or other.writes) and _overlap(one.region, other.region)
    )


def _hides(write: _Access, other: _Access) -> bool:
    inside = write.region.start <= other.region.start and other.region.stop <= write.region.stop
    return inside and other.entry is not write.entry


def _race(first: _Access, second: _Access) -> Finding:
    at_host = HOST in (first.actor, second.actor)
    return Finding(
        Rule.PINNED if at_host else Rule.RACE,
        describe(first.entry),
        describe(second.entry),
        _where(first.region, second.region),
        _missing(first.actor, second.entry),
    )


def _where(one: Region, other: Region) -> str:
    return f"{one.memory.name}, bytes {max(one.start, other.start)}..{min(one.stop, other.stop)}"


def _missing(first: str, second: Entry) -> str:
    if isinstance(second, Enqueued):
        return f"no event orders {second.stream} behind {first}"
    return f"no synchronize orders the host behind {first}"
