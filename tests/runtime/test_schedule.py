"""The schedule through its calls, on the CPU: frames in order, videos apart, states where they belong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.errors import SessionError
from rvm_trt.runtime.cpu import CpuDevice
from rvm_trt.runtime.device import Operation, Stream
from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.stages import Stages
from rvm_trt.runtime.verification.serial import SerialRun
from rvm_trt.runtime.verification.stand_in import StandInStages, small_sizes

Bytes = npt.NDArray[np.uint8]
Make = Callable[..., Schedule]
SIZES = small_sizes()


def frame(number: int) -> Bytes:
    return np.random.default_rng(number).integers(0, 256, SIZES.source, np.uint8)


def opened(*, lanes: int = 1, head: bool = False, depth: int = 2) -> Schedule:
    return Schedule(CpuDevice(), StandInStages(small_sizes(lanes=lanes, head=head)), depth=depth)


def serial(*, lanes: int = 1, head: bool = False) -> SerialRun:
    return SerialRun(StandInStages(small_sizes(lanes=lanes, head=head)))


def process(schedule: Schedule, *frames: Bytes) -> list[bytes]:
    schedule.submit(frames)
    slot = schedule.collect()
    return [schedule.output(slot, lane).tobytes() for lane in range(len(frames))]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("head", [False, True])
def test_frames_come_back_in_order_with_the_serial_bytes(depth: int, head: bool) -> None:
    schedule, reference = opened(depth=depth, head=head), serial(head=head)
    got = []
    for number in range(9):
        schedule.submit((frame(number),))
        if schedule.waiting == depth:
            got.append(schedule.output(schedule.collect()).tobytes())
    while schedule.waiting:
        got.append(schedule.output(schedule.collect()).tobytes())
    assert got == [reference.frame((frame(number),))[0] for number in range(9)]
    assert len(set(got)) == 9


def test_no_more_frames_than_the_depth_may_wait() -> None:
    schedule = opened(depth=3)
    for number in range(3):
        schedule.submit((frame(number),))
    with pytest.raises(SessionError, match="3 mattes waiting, expected at most 2"):
        schedule.submit((frame(3),))
    schedule.collect()
    schedule.submit((frame(3),))
    for _ in range(3):
        schedule.collect()
    with pytest.raises(SessionError, match="no matte waiting"):
        schedule.collect()


def test_lanes_are_videos_of_their_own() -> None:
    together, apart = opened(lanes=3), [serial() for _ in range(3)]
    for number in range(5):
        frames = [frame(10 * lane + number) for lane in range(3)]
        if number == 3:
            together.reset(1)
            apart[1].reset()
        assert process(together, *frames) == [
            one.frame((each,))[0] for one, each in zip(apart, frames, strict=True)
        ]


def test_each_lane_has_a_frame() -> None:
    schedule = opened(lanes=2)
    with pytest.raises(ValueError, match="shorter"):
        schedule.submit((frame(0),))


def test_schedules_that_share_stages_are_independent() -> None:
    stages = StandInStages(SIZES)
    one, other = (Schedule(CpuDevice(), stages) for _ in range(2))
    references = serial(), serial()
    for number in range(5):
        assert process(one, frame(number)) == references[0].frame((frame(number),))
        assert process(other, frame(-1 - number % 3 + 9)) == references[1].frame(
            (frame(-1 - number % 3 + 9),)
        )


@pytest.mark.parametrize("frames_before", [0, 1, 2])
def test_reset_begins_again_in_either_turn(frames_before: int) -> None:
    schedule = opened()
    first = process(opened(), frame(7))
    for number in range(frames_before):
        process(schedule, frame(number))
    schedule.reset()
    assert process(schedule, frame(7)) == first


@pytest.mark.parametrize("frames_between", [0, 1, 2])
def test_a_state_is_restored_in_either_turn(frames_between: int) -> None:
    schedule = opened()
    process(schedule, frame(0))
    kept = schedule.state()
    after = process(schedule, frame(1))
    for number in range(frames_between):
        process(schedule, frame(number))
    schedule.restore(kept)
    np.testing.assert_array_equal(schedule.state(), kept)
    assert process(schedule, frame(1)) == after


def test_states_are_kept_and_restored_by_lane() -> None:
    schedule = opened(lanes=2)
    process(schedule, frame(0), frame(1))
    first, second = schedule.state(0), schedule.state(1)
    assert first.size == second.size == sum(SIZES.state)
    assert first.tobytes() != second.tobytes()
    schedule.restore(first, lane=1)
    np.testing.assert_array_equal(schedule.state(1), first)
    np.testing.assert_array_equal(schedule.state(0), first)
    same = process(schedule, frame(5), frame(5))
    assert same[0] == same[1]


def test_states_begin_at_zero() -> None:
    assert not opened().state().any()


def test_what_is_dropped_keeps_its_place_in_the_video() -> None:
    schedule, reference = opened(depth=3), serial()
    for number in range(3):
        schedule.submit((frame(number),))
        reference.frame((frame(number),))
    schedule.discard()
    assert schedule.waiting == 0
    assert process(schedule, frame(3)) == reference.frame((frame(3),))


def test_frames_in_the_callers_memory_and_from_the_host_make_one_video() -> None:
    schedule, reference, stream = opened(lanes=2), serial(lanes=2), Stream("caller")
    outputs = [[np.zeros(size, np.uint8) for size in SIZES.outputs] for _ in range(2)]
    for number in range(6):
        frames = [frame(number), frame(number + 50)]
        if number % 3:
            schedule.enqueue(frames, outputs, stream)
            got = [b"".join(part.tobytes() for part in lane) for lane in outputs]
        else:
            got = process(schedule, *frames)
        assert got == reference.frame(frames)


def test_a_background_belongs_to_a_lane_and_holds_from_the_next_frame_on() -> None:
    schedule, reference = opened(lanes=2), serial(lanes=2)
    image = np.arange(SIZES.background, dtype=np.uint8)
    frames = [frame(0), frame(1)]
    plain = process(schedule, *frames)
    assert plain == reference.frame(frames)
    schedule.submit(frames)
    schedule.set_background(image=image, lane=1)
    slot = schedule.collect()
    assert [schedule.output(slot, lane).tobytes() for lane in range(2)] == reference.frame(frames)
    reference.set_background(image=image, lane=1)
    assert process(schedule, *frames) == reference.frame(frames)
    for each in (schedule, reference):
        each.set_background(colour=(1, 2, 3), lane=0)
    assert process(schedule, *frames) == reference.frame(frames)


class Fallible(CpuDevice):
    """Fails at one operation."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.finished = 0

    def enqueue(self, operation: Operation, stream: Stream) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise MemoryError
        super().enqueue(operation, stream)

    def finish(self) -> None:
        self.finished += 1


@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("frames_before", [0, 1])
def test_a_frame_that_fails_did_not_happen(after: int, frames_before: int) -> None:
    device, reference = Fallible(), serial()
    schedule = Schedule(device, StandInStages(SIZES))
    for number in range(frames_before):
        assert process(schedule, frame(number)) == reference.frame((frame(number),))
    device.left = after
    with pytest.raises(MemoryError):
        schedule.submit((frame(99),))
    assert device.finished == 1  # nothing of it is under way any more
    assert schedule.waiting == 0
    for number in range(3):
        assert process(schedule, frame(number)) == reference.frame((frame(number),))


def test_the_network_is_captured_once_for_each_turn_after_it_has_run() -> None:
    calls: list[str] = []

    class Watched(CpuDevice):
        def enqueue(self, operation: Operation, stream: Stream) -> None:
            calls.append(operation.name)
            super().enqueue(operation, stream)

        def graph(self, name: str, operations: object, stream: Stream) -> Operation:
            names = [each.name for each in operations]  # type: ignore[attr-defined]
            assert set(names) <= set(calls)
            calls.append(f"capture {names}")
            return super().graph(name, operations, stream)  # type: ignore[arg-type]

    stages: Stages = StandInStages(small_sizes(head=True))
    schedule = Schedule(Watched(), stages)
    assert [name for name in calls if "capture" in name] == [
        "capture ['core.0', 'head']",
        "capture ['core.1', 'head']",
    ]
    calls.clear()
    process(schedule, frame(0))
    process(schedule, frame(1))
    assert [name for name in calls if "network" in name] == ["network.0", "network.1"]


def test_closing_finishes_the_streams_before_the_memory_goes() -> None:
    order: list[str] = []

    class Watched(CpuDevice):
        def finish(self) -> None:
            order.append("finish")

        def close(self) -> None:
            order.append("close")

    Schedule(Watched(), StandInStages(SIZES)).close()
    assert order == ["finish", "close"]
