"""Recording a scenario: an application drives schedules on virtual devices, and a serial run says what it must read.

The application is as rude as it may be: it overwrites its own device memory right behind `enqueue`, reads a borrowed
matte when it is collected and again at the last moment before its slot is used, and closes as soon as it is allowed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from rvm_trt.errors import SessionError
from rvm_trt.runtime.device import Bytes
from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.stages import Stages
from rvm_trt.runtime.verification.caller import Caller
from rvm_trt.runtime.verification.executor import Executor
from rvm_trt.runtime.verification.program import Claimed, Program, Released
from rvm_trt.runtime.verification.scenario import Action, Scenario
from rvm_trt.runtime.verification.serial import SerialRun
from rvm_trt.runtime.verification.stand_in import StandInStages, small_sizes
from rvm_trt.runtime.verification.virtual_device import InjectedError, Log, VirtualDevice

MakeStages = Callable[[Scenario], Stages]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recorded scenario.

    Attributes:
        program: every call.
        expected: what the host must read, by key.
    """

    program: Program
    expected: dict[str, bytes] = field(repr=False)

    def mismatch(self, seed: int | None) -> str | None:
        """Carries the program out in the order of a seed; returns the first read that is wrong, or None."""
        read = Executor(self.program).run(seed)
        return first_difference(read, self.expected)


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Planted faults.

    Attributes:
        aliases: memory → other memory that takes its place.
        schedule: the schedule to drive.
        stages: makes the schedule's stages of those of the serial run.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    schedule: type[Schedule] = Schedule
    stages: Callable[[Stages], Stages] | None = None


def stand_ins(scenario: Scenario) -> StandInStages:
    """Returns stand-in stages as a scenario wants them."""
    return StandInStages(small_sizes(lanes=scenario.lanes, head=scenario.head))


def record(
    scenario: Scenario, make_stages: MakeStages = stand_ins, *, faults: Faults | None = None
) -> Recording:
    """Returns what the schedule does in a scenario, and what the application must read.

    Args:
        scenario: what happens.
        make_stages: what with; the caller closes what it returns, after the last use of the recording.
        faults: what to plant.
    """
    faults = faults or Faults()
    log = Log()
    expected: dict[str, bytes] = {}
    stages = make_stages(scenario)
    driven = faults.stages(stages) if faults.stages else stages
    chance = random.Random(scenario.seed)
    videos = [
        _Video(
            f"video {index}" if scenario.videos > 1 else "", log, expected, scenario, faults, driven, stages
        )
        for index in range(scenario.videos)
    ]
    for index, action in scenario.actions:
        videos[index].act(action, chance)
    for video in videos:
        video.close(scenario.collects)
    return Recording(program=log.program, expected=expected)


def first_difference(read: Mapping[str, bytes], expected: Mapping[str, bytes]) -> str | None:
    """Returns the first key whose bytes differ, with how many of them; None where all are equal."""
    for key, wanted in expected.items():
        got = read.get(key)
        if got is None:
            return f"{key} was never read"
        if got != wanted:
            wrong = sum(one != other for one, other in zip(got, wanted, strict=True))
            return f"{key}: {wrong} of {len(wanted)} bytes are wrong"
    return None


class _Video:
    """One application: a schedule, its serial run, and two streams of the caller's own."""

    def __init__(
        self,
        name: str,
        log: Log,
        expected: dict[str, bytes],
        scenario: Scenario,
        faults: Faults,
        driven: Stages,
        stages: Stages,
    ) -> None:
        self._log, self._name, self._expected, self._depth = log, name, expected, scenario.depth
        self._device = VirtualDevice(log, video=name, aliases=faults.aliases)
        with log.calling("start", self._label("start")):
            self._schedule = faults.schedule(
                self._device,
                driven,
                depth=scenario.depth,
                spill_suppression=scenario.spill_suppression,
            )
        self._serial = SerialRun(stages, spill_suppression=scenario.spill_suppression)
        self._lanes = range(stages.sizes.lanes)
        sizes = stages.sizes
        self._callers = [Caller(log, f"{name or 'video'} caller {index}", sizes) for index in range(2)]
        self._frames = 0  # of all kinds
        self._submitted = 0
        self._waiting: list[tuple[int, list[bytes]]] = []
        self._shown: dict[int, tuple[int, list[bytes]]] = {}  # mattes that are still borrowed, by slot
        self._kept: bytes | None = None

    def act(self, action: Action, chance: random.Random) -> None:
        """Does one thing, if it is its turn."""
        fresh = partial(_content, chance, self._serial.sizes.source)
        if action is Action.FAIL:
            self._fail([fresh() for _ in self._lanes], chance.randrange(6))
        elif action is Action.SUBMIT or (action is Action.PROCESS and not self._waiting):
            self._submit([fresh() for _ in self._lanes])
        elif action in (Action.ENQUEUE, Action.ENQUEUE_BESIDE):
            caller = self._callers[action is Action.ENQUEUE_BESIDE]
            self._enqueue(caller, [fresh() for _ in self._lanes])
        elif action is Action.FAIL_ENQUEUE:
            self._fail_enqueue(self._callers[0], [fresh() for _ in self._lanes], chance.randrange(3))
        elif action in (Action.COLOUR, Action.IMAGE):
            self._background(action, chance)
        if action in (Action.COLLECT, Action.PROCESS) and self._waiting:
            self._collect()
        if action is Action.DISCARD:
            with self._calling("discard"):
                self._schedule.discard()
            self._release(len(self._waiting))
            self._waiting.clear()
        elif action in (Action.RESET, Action.RESET_LANE, Action.KEEP, Action.RESTORE):
            self._touch_states(action)

    def close(self, collects: bool) -> None:
        """Ends the video; what is borrowed is read once more."""
        while collects and self._waiting:
            self._collect()
        for slot in list(self._shown):
            self._read_late(slot)
        for caller in self._callers:
            caller.read_results()
        with self._calling("close"):
            self._schedule.close()

    def _submit(self, frames: list[Bytes]) -> None:
        if len(self._waiting) >= self._depth and self._full():
            return
        slot = self._submitted % self._depth
        self._read_late(slot)
        with self._calling("submit"):
            self._log.add(Claimed, place=f"{self._name}/slot.{slot}")
            self._schedule.submit(frames)
        self._submitted += 1
        self._waiting.append((self._frames, self._serial.frame(frames)))
        self._frames += 1

    def _full(self) -> bool:
        """Whether the schedule refuses a frame, as it should by now."""
        try:
            self._schedule.check_room()
        except SessionError:
            return True
        return False

    def _fail(self, frames: list[Bytes], after: int) -> None:
        if len(self._waiting) >= self._depth:
            return
        self._read_late(self._submitted % self._depth)
        self._log.fail_after = after
        try:
            with self._calling("submit"):
                self._schedule.submit(frames)
        except InjectedError:
            return
        self._log.fail_after = None  # the frame had fewer operations
        self._submitted += 1
        self._waiting.append((self._frames, self._serial.frame(frames)))
        self._frames += 1

    def _collect(self) -> None:
        frame, outputs = self._waiting.pop(0)
        with self._log.calling("collect", self._label(f"frame {frame}")):
            slot = self._schedule.collect()
        self._read(slot, frame, outputs, "at once")
        self._shown[slot] = (frame, outputs)
        self._log.add(Released, place=f"{self._name}/slot.{slot}")

    def _read_late(self, slot: int) -> None:
        if slot in self._shown:
            self._read(slot, *self._shown.pop(slot), "late")

    def _read(self, slot: int, frame: int, outputs: list[bytes], when: str) -> None:
        for lane, wanted in enumerate(outputs):
            key = f"{self._label(f'frame {frame}')}, lane {lane}, read {when}"
            with self._log.calling("read", self._label(f"frame {frame}"), key=key):
                self._schedule.output(slot, lane)
            self._expected[key] = wanted

    def _release(self, count: int) -> None:
        for index in range(self._submitted - count, self._submitted):
            self._log.add(Released, place=f"{self._name}/slot.{index % self._depth}")

    def _enqueue(self, caller: Caller, frames: list[Bytes]) -> None:
        label = self._label(f"frame {self._frames}")
        with self._log.calling("enqueue", label):
            caller.give(frames)
            self._schedule.enqueue(caller.sources, caller.outputs, caller.stream)
            caller.take(label)
        self._expected.update(caller.expect(label, self._serial.frame(frames)))
        self._frames += 1

    def _fail_enqueue(self, caller: Caller, frames: list[Bytes], after: int) -> None:
        with self._log.calling("enqueue", self._label(f"frame {self._frames}")):
            caller.give(frames)
            self._log.fail_after = after
            with suppress(InjectedError):
                self._schedule.enqueue(caller.sources, caller.outputs, caller.stream)
            caller.wipe()

    def _background(self, action: Action, chance: random.Random) -> None:
        size, lane = self._serial.sizes.background, chance.choice(self._lanes)
        image = _content(chance, size) if action is Action.IMAGE else None
        colour = None if image is not None else (chance.randrange(256), chance.randrange(256), 7)
        with self._calling("background"):
            self._schedule.set_background(image=image, colour=colour, lane=lane)
        self._serial.set_background(image=image, colour=colour, lane=lane)

    def _touch_states(self, action: Action) -> None:
        last = self._lanes[-1]
        if action is Action.KEEP:
            key = f"{self._label(f'state before frame {self._frames}')}, {len(self._expected)}"
            with self._log.calling("state", self._label(f"frame {self._frames}"), key=key):
                self._schedule.state(last)
            self._kept = self._expected[key] = self._serial.state(last)
            return
        with self._calling(action.value.split()[0]):
            if action is Action.RESTORE and self._kept is not None:
                self._schedule.restore(np.frombuffer(self._kept, np.uint8), last)
                self._serial.restore(self._kept, last)
            elif action is not Action.RESTORE:
                lane = last if action is Action.RESET_LANE else None
                self._schedule.reset(lane)
                self._serial.reset(lane)

    def _calling(self, call: str) -> AbstractContextManager[None]:
        return self._log.calling(call, self._label(f"frame {self._frames}"))

    def _label(self, text: str) -> str:
        return f"{self._name}, {text}" if self._name else text


def _content(chance: random.Random, size: int) -> Bytes:
    return np.frombuffer(chance.randbytes(size), np.uint8)
