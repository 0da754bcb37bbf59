"""The executor: carries a recorded program out in a random order that its events allow, as a GPU might.

The host runs ahead of the streams, or behind them; each stream is fast or slow by chance. Copies take place when their
turn comes, so that memory which the host overwrites too early is seen overwritten. Before each run all memory holds a
pattern: what was never written is not zero.
"""

from __future__ import annotations

import random
from collections import deque

import numpy as np

from rvm_trt.runtime.verification.order import HOST, steps
from rvm_trt.runtime.verification.program import (
    Enqueued,
    Entry,
    Freed,
    HostRead,
    HostWrote,
    Memory,
    Program,
    Region,
)

_PATTERN = 0xA5
_SPEEDS = (0.01, 0.1, 1.0, 10.0)


class Executor:
    """One program, ready to be carried out any number of times."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._steps = steps(program)
        self._memories = _memories(program)

    def run(self, seed: int | None) -> dict[str, bytes]:
        """Returns what the host read, by key.

        Args:
            seed: chooses the order; None is the order of the calls, each ended before the next is made.
        """
        for memory in self._memories:
            memory.array.fill(_PATTERN)
        read: dict[str, bytes] = {}
        for index in range(len(self._program)) if seed is None else self._order(random.Random(seed)):
            _carry_out(self._program[index], read)
        return read

    def order(self, seed: int) -> list[int]:
        """Returns the order of a seed, as indices of the program's calls."""
        return list(self._order(random.Random(seed)))

    def _order(self, chance: random.Random) -> list[int]:
        plan = self._steps
        ended = bytearray(len(plan))
        queues: dict[str, deque[int]] = {step.actor: deque() for step in plan}
        speeds = {actor: chance.choice(_SPEEDS) for actor in (HOST, *queues)}
        made = 0  # calls that the host has made
        order: list[int] = []
        while len(order) < len(plan):
            ready = [
                actor
                for actor, queue in queues.items()
                if queue and all(ended[i] for i in plan[queue[0]].after)
            ]
            if made < len(plan) and (plan[made].actor != HOST or all(ended[i] for i in plan[made].after)):
                ready.append(HOST)
            actor = chance.choices(ready, [speeds[name] for name in ready])[0]
            if actor == HOST:
                made += 1
                if plan[made - 1].actor != HOST:
                    queues[plan[made - 1].actor].append(made - 1)
                    continue
            index = made - 1 if actor == HOST else queues[actor].popleft()
            ended[index] = 1
            order.append(index)
        return order


def _carry_out(entry: Entry, read: dict[str, bytes]) -> None:
    if isinstance(entry, Enqueued):
        entry.work(*entry.arguments)
    elif isinstance(entry, HostWrote):
        np.copyto(_bytes(entry.region), entry.data.reshape(-1))
    elif isinstance(entry, HostRead) and entry.key:
        read[entry.key] = _bytes(entry.region).tobytes()
    elif isinstance(entry, Freed):
        for region in entry.regions:
            _bytes(region).fill(_PATTERN)


def _bytes(region: Region) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    view: np.ndarray[tuple[int], np.dtype[np.uint8]] = region.memory.array[region.start : region.stop]
    return view


def _memories(program: Program) -> list[Memory]:
    found: dict[Memory, None] = {}
    for entry in program:
        if isinstance(entry, Enqueued):
            found.update(dict.fromkeys(region.memory for region in (*entry.reads, *entry.writes)))
        elif isinstance(entry, (HostWrote, HostRead)):
            found[entry.region.memory] = None
    return list(found)
