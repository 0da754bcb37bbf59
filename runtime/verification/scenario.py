"""Scenarios: what applications do with schedules, and the recording of it with the bytes that the host must read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Action(str, Enum):
    """One thing that an application does with a video. What is out of turn is left out."""

    SUBMIT = "submit"
    COLLECT = "collect"
    PROCESS = "process"
    DISCARD = "discard"
    ENQUEUE = "enqueue"  # on the caller's first stream
    ENQUEUE_BESIDE = "enqueue beside"  # on its second
    RESET = "reset"
    RESET_LANE = "reset lane"  # the last lane
    KEEP = "keep"
    RESTORE = "restore"  # what was kept last
    COLOUR = "colour"
    IMAGE = "image"
    FAIL = "fail"  # a frame that fails half-way
    FAIL_ENQUEUE = "fail enqueue"  # the same in device memory


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What happens.

    Attributes:
        name: for tables.
        actions: (video, action) in order.
        videos: schedules that share the stages.
        depth: of the schedules.
        lanes: of the stages, where they can be chosen.
        head: whether the stages have a head, where that can be chosen.
        spill_suppression: of the schedules.
        collects: whether the application collects what waits before it closes.
        seed: of the frames' content, and of where frames fail.
    """

    name: str
    actions: tuple[tuple[int, Action], ...]
    videos: int = 1
    depth: int = 2
    lanes: int = 1
    head: bool = False
    spill_suppression: bool = True
    collects: bool = True
    seed: int = 0


def scenarios() -> tuple[Scenario, ...]:
    """Returns one scenario for each way to use a schedule; together they need every line of it."""
    a = Action
    run = [a.SUBMIT] + [a.SUBMIT, a.COLLECT] * 7
    deep = [a.SUBMIT, a.SUBMIT] + [a.SUBMIT, a.COLLECT] * 8
    stored = [
        a.PROCESS,
        a.KEEP,
        a.PROCESS,
        a.KEEP,
        a.RESTORE,
        a.SUBMIT,
        a.RESTORE,
        a.SUBMIT,
        a.RESTORE,
        a.KEEP,
    ]
    shown = [a.SUBMIT, a.IMAGE, a.SUBMIT, a.IMAGE, a.COLLECT, a.SUBMIT, a.COLOUR, a.COLLECT, a.SUBMIT]
    return (
        _one("process", [a.PROCESS] * 6),
        _one("run", run),
        _one("run, three deep", deep, depth=3, head=True),
        _one("run, one deep", [a.SUBMIT, a.COLLECT] * 4, depth=1),
        _one("resets", [a.SUBMIT, a.RESET, *run[:5], a.RESET, *run[:6], a.RESET, a.RESET, *run[:4]]),
        _one("stop early", [*run[:5], a.DISCARD, *run[:6], a.DISCARD, *deep[:4]], depth=3),
        _one("close early", run[:8], collects=False),
        _one("states", [*stored, *run[:5]]),
        _one("backgrounds", [*shown, a.COLLECT, *shown, a.DISCARD, *shown]),
        _one("device memory", [a.ENQUEUE] * 5 + [a.RESET] + [a.ENQUEUE] * 4, head=True),
        _one("two caller's streams", [a.ENQUEUE, a.ENQUEUE_BESIDE] * 6, head=True),
        _one(
            "host and device memory", [a.SUBMIT, a.ENQUEUE, a.ENQUEUE_BESIDE, *run[:6], a.ENQUEUE, *run[:4]]
        ),
        _one(
            "failures",
            [a.FAIL, *run[:2], a.COLLECT, a.FAIL, a.FAIL, a.RESET, *[a.FAIL, a.SUBMIT, a.COLLECT] * 4],
        ),
        _one("failures in device memory", [a.ENQUEUE, *[a.FAIL_ENQUEUE, a.ENQUEUE] * 4]),
        _one("the frame's own colours", run, lanes=2, head=True, spill_suppression=False),
        _one("batch", [a.SUBMIT, a.RESET_LANE, *run[:7], a.RESET_LANE, *run[:6]], lanes=3, head=True),
        Scenario(
            name="two videos",
            actions=tuple((index % 2, action) for action in deep for index in range(2)),
            videos=2,
            depth=3,
        ),
    )


def random_scenario(choose: Callable[[int, int], int]) -> Scenario:
    """Returns any scenario; ``choose(low, high)`` gives a whole number within, both ends included."""
    every = tuple(Action)
    often = (Action.SUBMIT, Action.SUBMIT, Action.SUBMIT, Action.COLLECT, Action.COLLECT)
    pool = every + often
    videos = choose(1, 2)
    return Scenario(
        name="random",
        actions=tuple((choose(0, videos - 1), pool[choose(0, len(pool) - 1)]) for _ in range(choose(1, 24))),
        videos=videos,
        depth=choose(1, 3),
        lanes=choose(1, 2),
        head=bool(choose(0, 1)),
        spill_suppression=bool(choose(0, 1)),
        collects=bool(choose(0, 1)),
        seed=choose(0, 1 << 30),
    )


def _one(
    name: str,
    actions: list[Action],
    *,
    depth: int = 2,
    lanes: int = 1,
    head: bool = False,
    spill_suppression: bool = True,
    collects: bool = True,
    seed: int = 0,
) -> Scenario:
    return Scenario(
        name=name,
        actions=tuple((0, action) for action in actions),
        depth=depth,
        lanes=lanes,
        head=head,
        spill_suppression=spill_suppression,
        collects=collects,
        seed=seed,
    )
