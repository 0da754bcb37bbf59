"""A session's rules: the order of calls, what is borrowed and until when, states, closing."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt import Engine, Matte, MattingSession, Profile
from rvm_trt.errors import FrameError, SessionError

Image = npt.NDArray[np.uint8]
Frames = Callable[..., list[Image]]
Built = Callable[..., Engine]
ODD = Profile(width=161, height=97, ratio=0.6)
COLOUR = (120, 255, 155)


@pytest.fixture(scope="module")
def expected(engine: Engine, frames: list[Image]) -> list[dict[str, Image]]:
    """The outputs of `frames`, from a session of its own."""
    return mattes(engine, frames, outputs=("pha", "composite"))


def mattes(engine: Engine, frames: list[Image], **options: Any) -> list[dict[str, Image]]:
    with MattingSession(engine, **{"threads": 1, **options}) as session:
        return [session.process(frame).copy() for frame in frames]


def assert_same(got: dict[str, Image], wanted: dict[str, Image]) -> None:
    assert list(got) == list(wanted)
    for name, image in wanted.items():
        np.testing.assert_array_equal(got[name], image, err_msg=name)


def test_run_gives_every_frame_in_order(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    count = 0
    for matte, wanted in zip(session.run(frames), expected, strict=True):
        assert matte.frame == count
        assert_same(matte.copy(), wanted)
        count += 1
    assert count == len(frames)


def test_run_has_one_frame_of_latency(session: MattingSession, frames: list[Image]) -> None:
    taken: list[int] = []

    def source() -> Iterator[Image]:
        for index, frame in enumerate(frames):
            taken.append(index)
            yield frame

    running = session.run(source())
    assert next(running).frame == 0
    assert taken == [0, 1]
    assert next(running).frame == 1
    assert taken == [0, 1, 2]
    assert [matte.frame for matte in running] == [2, 3, 4, 5]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_short_runs(count: int, session: MattingSession, frames: list[Image]) -> None:
    assert [matte.frame for matte in session.run(frames[:count])] == list(range(count))


def test_states_carry_over_from_one_run_to_the_next(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    parts = [*session.run(frames[:2])], [matte.copy() for matte in session.run(frames[2:])]
    for got, wanted in zip(parts[1], expected[2:], strict=True):
        assert_same(got, wanted)


def test_submit_and_collect_in_the_order_of_the_caller(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    session.submit(frames[0])
    assert_same(session.collect().copy(), expected[0])
    session.submit(frames[1])
    session.submit(frames[2])
    assert_same(session.collect().copy(), expected[1])
    session.submit(frames[3])
    assert_same(session.collect().copy(), expected[2])
    assert_same(session.collect().copy(), expected[3])


def test_a_bad_frame_in_a_run_comes_after_the_mattes_before_it(
    session: MattingSession, frames: list[Image]
) -> None:
    given: list[int] = []
    with pytest.raises(FrameError):
        for matte in session.run([frames[0], frames[1], frames[2][:-1]]):
            given.append(matte.frame)
    assert given == [0, 1]


def test_a_refused_frame_leaves_the_session_as_it_was(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    session.process(frames[0])
    for bad in (frames[1][:-1], frames[1].astype(np.float32), None):
        with pytest.raises(FrameError):
            session.process(bad)
    assert_same(session.process(frames[1]).copy(), expected[1])


def test_a_frame_may_be_reused_right_after_submit(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    buffer = np.empty_like(frames[0])
    for frame, wanted in zip(frames[:3], expected, strict=False):
        buffer[:] = frame
        session.submit(buffer)
        buffer[:] = 0
        assert_same(session.collect().copy(), wanted)


def test_a_frame_is_not_held_after_submit(session: MattingSession, frames: list[Image]) -> None:
    frame = frames[0].copy()
    held = weakref.ref(frame)
    session.submit(frame)
    del frame
    assert held() is None


def test_reset_equals_a_fresh_session(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    for frame in frames[3:]:
        session.process(frame)
    session.reset()
    for frame, wanted in zip(frames, expected, strict=True):
        assert_same(session.process(frame).copy(), wanted)


def test_restored_states_go_on_exactly(
    engine: Engine, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    with MattingSession(engine, outputs=("pha", "composite"), threads=1) as first:
        for frame in frames[:3]:
            first.process(frame)
        kept = first.state()
        for frame in frames[:2]:  # what was kept does not follow, in either set of states
            first.process(frame)
    assert [state.shape for state in kept] == list(ODD.state_shapes)
    assert all(state.dtype == np.float32 for state in kept)
    for runs_before in (0, 1):  # each of the two sets of states may be the current one
        with MattingSession(engine, outputs=("pha", "composite"), threads=1) as second:
            for frame in frames[:runs_before]:
                second.process(frame)
            second.restore(kept)
            assert_same(second.process(frames[3]).copy(), expected[3])
            assert_same(second.process(frames[4]).copy(), expected[4])


def test_states_are_zero_at_first_and_after_reset(session: MattingSession, frames: list[Image]) -> None:
    assert not any(state.any() for state in session.state())
    session.process(frames[0])
    assert all(state.any() for state in session.state())
    session.reset()
    assert not any(state.any() for state in session.state())


@pytest.mark.parametrize("kind", ["few", "shape", "dtype", "list", "none"])
def test_unfit_states_change_nothing(kind: str, session: MattingSession, frames: list[Image]) -> None:
    session.process(frames[0])
    before = session.state()
    bad: list[Any] = [state + 1 for state in before]
    if kind == "few":
        bad.pop()
    elif kind == "shape":
        bad[3] = bad[3][..., :-1]
    elif kind == "dtype":
        bad[3] = bad[3].astype(np.float64)
    else:
        bad[3] = bad[3].tolist() if kind == "list" else None
    with pytest.raises(FrameError) as caught:
        session.restore(bad)
    assert caught.value.subject == ("state" if kind == "few" else "r4")
    for got, wanted in zip(session.state(), before, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_two_sessions_of_one_engine_are_independent(
    engine: Engine, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    backwards = mattes(engine, frames[::-1], outputs=("pha", "composite"))
    options: dict[str, Any] = {"outputs": ("pha", "composite"), "threads": 1}
    with MattingSession(engine, **options) as one, MattingSession(engine.path, **options) as other:
        for index, frame in enumerate(frames):
            matte, reverse = one.process(frame), other.process(frames[-1 - index])
            assert_same(matte.copy(), expected[index])
            assert_same(reverse.copy(), backwards[index])


def test_a_borrowed_matte_ends_when_its_slot_is_needed(session: MattingSession, frames: list[Image]) -> None:
    first = session.process(frames[0])
    kept, copy = first.pha.copy(), first.copy()
    session.process(frames[1])
    np.testing.assert_array_equal(first.pha, kept)  # two slots: one frame later it still stands
    session.process(frames[2])
    for read in (lambda: first.pha, lambda: first.composite, first.copy):
        with pytest.raises(SessionError, match="matte of frame 0: got a slot that a later frame uses"):
            read()
    np.testing.assert_array_equal(copy["pha"], kept)


def test_a_frame_that_fails_half_way_ends_the_matte_in_its_slot(
    session: MattingSession, frames: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise MemoryError

    first, second = session.process(frames[0]), session.process(frames[1])
    monkeypatch.setattr("rvm_trt.runtime.cpu.CpuDevice.enqueue", failing)
    with pytest.raises(MemoryError):
        session.submit(frames[2])
    with pytest.raises(SessionError, match="matte of frame 0"):
        _ = first.pha
    assert second.pha.any()


def test_a_matte_of_a_run_lasts_until_the_next_is_asked_for(
    session: MattingSession, frames: list[Image]
) -> None:
    before: Matte | None = None
    for matte in session.run(frames[:4]):
        assert matte.pha.any()
        if before is not None and matte.frame < 3:
            with pytest.raises(SessionError):
                _ = before.pha
        before = matte


def test_calls_out_of_turn_are_refused_and_change_nothing(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    with pytest.raises(SessionError, match="collect: got no matte waiting"):
        session.collect()
    session.submit(frames[0])
    with pytest.raises(SessionError, match=r"process: got 1 mattes? waiting"):
        session.process(frames[1])
    session.submit(frames[1])
    with pytest.raises(SessionError, match="submit: got 2 mattes waiting"):
        session.submit(frames[2])
    assert_same(session.collect().copy(), expected[0])
    assert_same(session.collect().copy(), expected[1])
    with pytest.raises(SessionError, match="collect"):
        session.collect()
    assert_same(session.process(frames[2]).copy(), expected[2])


def test_reset_keeps_the_mattes_that_wait(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    session.submit(frames[0])
    session.reset()
    session.submit(frames[0])
    assert_same(session.collect().copy(), expected[0])
    assert_same(session.collect().copy(), expected[0])


def test_a_closed_session_says_so(engine: Engine, frames: list[Image]) -> None:
    session = MattingSession(engine, outputs=("pha",), threads=1)
    state, matte = session.state(), session.process(frames[0])
    session.submit(frames[1])
    session.close()
    session.close()
    uses: list[Callable[[], Any]] = [
        lambda: session.submit(frames[0]),
        session.collect,
        lambda: session.process(frames[0]),
        lambda: list(islice(session.run(frames), 1)),
        session.reset,
        session.state,
        lambda: session.restore(state),
        lambda: session.set_background(COLOUR),
        lambda: matte.pha,
        matte.copy,
    ]
    for use in uses:
        with pytest.raises(SessionError, match="closed"):
            use()


def test_leaving_the_block_closes_also_after_an_error(engine: Engine, frames: list[Image]) -> None:
    with pytest.raises(ZeroDivisionError), MattingSession(engine, threads=1) as session:
        raise ZeroDivisionError
    with pytest.raises(SessionError, match="closed"):
        session.process(frames[0])
