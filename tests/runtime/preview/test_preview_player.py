"""The preview's player: what is shown when, and what each control does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rvm_trt.runtime.preview.player import Player
from rvm_trt.runtime.preview.sessions import Sessions

Start = Callable[..., Any]


def place(player: Any) -> Any:
    return player.update()[0].frame


def shown(player: Any) -> Any:
    return player.update()[1]


def paused(player: Any, session: Any, until: Callable[..., Any], *, at: int = 4) -> int:
    """Pauses a player at a frame."""
    until(lambda: shown(player))
    player.pause()
    resets = session.seen.count(-1)
    player.seek(at)
    until(lambda: session.seen.count(-1) > resets and place(player) == at)
    return at


def test_frames_come_in_order_and_begin_anew_at_the_end(start: Start, fakes: SimpleNamespace) -> None:
    session = fakes.Session()
    player = start(fakes.Source(4, said=None), session)
    fakes.until(lambda: len(session.seen) >= 11)
    player.pause()
    once = [-1, *(fakes.grey_of(index) for index in range(4))]
    assert session.seen[:11] == (once * 3)[:11]
    assert player.update()[0].frames == 4  # not known before


def test_the_pictures_are_those_of_one_frame(start: Start, fakes: SimpleNamespace) -> None:
    session = fakes.Session()
    player = start(None, session)
    frame = paused(player, session, fakes.until)
    picture = shown(player)
    assert (picture.frame.image[:32] == fakes.grey_of(frame)).all()
    assert (picture.alpha[:, :32] == 0).all()
    assert (picture.alpha[:, 32:] == 255).all()
    assert (picture.composite[:, :32] == fakes.GREEN).all()
    assert (picture.composite[:32, 32:] == fakes.grey_of(frame)).all()


def test_nothing_runs_while_nobody_watches(start: Start, fakes: SimpleNamespace) -> None:
    session = fakes.Session()
    player = start(None, session, watched=False)
    with player.watched():
        fakes.until(lambda: shown(player))
    player.seek(7)  # a control still works
    fakes.until(lambda: place(player) == 7)
    seen = len(session.seen)
    assert player.update()[0].playing
    time.sleep(0.1)  # ten frames' time
    assert len(session.seen) == seen
    with player.watched():
        fakes.until(lambda: len(session.seen) > seen)


def test_pause_stays_and_play_goes_on_from_there(start: Start, fakes: SimpleNamespace) -> None:
    session = fakes.Session()
    player = start(fakes.Source(1000, said=1000), session)
    fakes.until(lambda: len(session.seen) > 3)
    player.pause()
    seen, looks = len(session.seen), []

    def is_still() -> bool:
        looks.append(len(session.seen))
        return looks[-30:] == [looks[-1]] * 30

    fakes.until(is_still)
    assert len(session.seen) <= seen + 1  # one may have been on its way
    assert not player.update()[0].playing
    player.play()
    fakes.until(lambda: len(session.seen) > seen + 5)
    assert session.seen == [-1, *(fakes.grey_of(index) for index in range(len(session.seen) - 1))]


def test_seeking_shows_the_frame_also_where_it_is_paused(start: Start, fakes: SimpleNamespace) -> None:
    session = fakes.Session()
    player = start(None, session)
    paused(player, session, fakes.until)
    for wanted, found in ((7, 7), (3, 3), (99, 11)):
        player.seek(wanted, rough=True)
        fakes.until(lambda found=found: place(player) == found)
        assert session.seen[-2:] == [-1, fakes.grey_of(found)]
    assert not player.update()[0].playing


def test_seeking_behind_the_end_of_an_unknown_length_shows_the_last_frame_or_begins_anew(
    start: Start, fakes: SimpleNamespace
) -> None:
    session = fakes.Session()
    player = start(fakes.Source(4, said=500), session)
    paused(player, session, fakes.until, at=2)
    player.seek(400)  # of which not even the warm-up is there
    fakes.until(lambda: place(player) == 0)
    player.seek(40)
    fakes.until(lambda: place(player) == 3)
    assert player.update()[0].frames == 4


def test_after_seeking_the_session_has_seen_what_the_render_lets_it_see(
    start: Start, fakes: SimpleNamespace
) -> None:
    """The second before, and a cut in it: as ``rvm-trt matte --from`` does."""
    session = fakes.Session()
    player = start(fakes.Source(40, said=40, rate=8, cut_at=14), session)
    paused(player, session, fakes.until)
    session.seen.clear()
    player.seek(16)
    fakes.until(lambda: place(player) == 16)
    greys = [fakes.grey_of(index) for index in range(8, 17)]
    assert session.seen == [-1, *greys[:6], -1, *greys[6:]]
    player.seek(3)
    fakes.until(lambda: place(player) == 3)
    assert session.seen[11:] == [-1, *(fakes.grey_of(index) for index in range(4))]


def test_remarks_on_the_input_are_told_as_they_come(start: Start, fakes: SimpleNamespace) -> None:
    source = fakes.Source()
    source.notice("The input is interlaced.")
    player = start(source)
    assert player.update()[0].remarks == ("The input is interlaced.",)
    source.skipped_frames = 2
    source.warnings = ("The camera went away.",)
    assert player.update()[0].remarks[1:] == (
        "2 damaged pieces of the input were skipped.",
        "The camera went away.",
    )


def test_restart_plays_from_the_beginning(start: Start, fakes: SimpleNamespace) -> None:
    session = fakes.Session()
    player = start(fakes.Source(1000, said=1000), session)
    paused(player, session, fakes.until)
    session.seen.clear()
    player.restart()
    fakes.until(lambda: len(session.seen) > 3)
    assert session.seen[:3] == [-1, fakes.grey_of(0), fakes.grey_of(1)]
    assert player.update()[0].playing


def test_a_cut_is_the_beginning_of_a_video(start: Start, fakes: SimpleNamespace) -> None:
    session = fakes.Session()
    start(fakes.Source(6, cut_at=4), session)
    fakes.until(lambda: len(session.seen) >= 8)
    assert session.seen[4:8] == [fakes.grey_of(3), -1, fakes.grey_of(4), fakes.grey_of(5)]


def test_another_background_shows_at_once_where_it_is_paused(start: Start, fakes: SimpleNamespace) -> None:
    session = fakes.Session()
    player = start(None, session)
    paused(player, session, fakes.until)
    steps, serial = session.steps, shown(player).serial
    player.set_background("blue", fakes.BLUE)
    fakes.until(lambda: shown(player).serial > serial)
    assert (shown(player).composite[:, :32] == fakes.BLUE).all()
    assert player.update()[0].background == "blue"
    # As if the frame had been seen once.
    fakes.until(lambda: session.steps == steps)


def test_a_colour_is_set_once_and_a_backdrop_for_every_frame(start: Start, fakes: SimpleNamespace) -> None:
    class Backdrop:
        notices = ()

        def image(self, frame: Any) -> Any:
            return None if frame.index % 2 else np.full((48, 64, 3), frame.index, np.uint8)

        def close(self) -> None:
            pass

    session = fakes.Session()
    player = start(None, session)
    fakes.until(lambda: len(session.seen) > 4)
    assert session.dressed == [fakes.GREEN]
    player.pause()
    player.set_background("blur", Backdrop())
    for wanted, behind in ((4, 4), (5, 4), (6, 6)):
        player.seek(wanted)
        fakes.until(lambda wanted=wanted: place(player) == wanted)
        assert (shown(player).composite[0, 0] == behind).all()


def test_an_error_of_the_video_is_told_and_play_begins_anew(start: Start, fakes: SimpleNamespace) -> None:
    source = fakes.Source(6, fail_at=2)
    player = start(source)
    problem = fakes.until(lambda: player.update()[0].problem)
    assert "damage" in problem
    assert not player.update()[0].playing
    assert place(player) == 1
    source.fail_at = None
    player.play()
    fakes.until(lambda: place(player) == 5)
    assert player.update()[0].problem is None


def test_a_video_without_frames_is_an_error(start: Start, fakes: SimpleNamespace) -> None:
    player = start(fakes.Source(0))
    assert "no frames" in fakes.until(lambda: player.update()[0].problem)


def test_a_live_source_ends_and_is_read_once(start: Start, fakes: SimpleNamespace) -> None:
    source = fakes.Source(3, said=None, live=True)
    player = start(source)
    fakes.until(lambda: not player.update()[0].playing)
    player.seek(0)
    player.restart()
    player.play()
    fakes.until(lambda: not player.update()[0].playing)
    assert source.wound == [0]
    assert place(player) == 2


def test_another_ratio_is_opened_beside_what_runs(start: Start, fakes: SimpleNamespace) -> None:
    session, maker = fakes.Session(), fakes.Maker()
    maker.may_finish.clear()
    player = start(None, session, maker)
    fakes.until(lambda: shown(player))
    player.use_ratio(0.5)
    fakes.until(lambda: player.update()[0].opening == "Building for 0.5")
    seen = len(session.seen)
    fakes.until(lambda: len(session.seen) > seen + 3)  # the old one goes on
    assert player.update()[0].ratio == 1
    maker.may_finish.set()
    fakes.until(lambda: player.update()[0].ratio == 0.5)
    status = player.update()[0]
    assert (status.opening, status.network) == (None, (32, 24))
    fakes.until(lambda: maker.made[0].seen and session.closed == 1)
    assert maker.made[0].dressed == [fakes.GREEN]


def test_another_ratio_shows_where_it_is_paused(start: Start, fakes: SimpleNamespace) -> None:
    session, maker = fakes.Session(), fakes.Maker()
    player = start(None, session, maker)
    frame = paused(player, session, fakes.until)
    player.use_ratio(0.5)
    fakes.until(lambda: maker.made and len(maker.made[0].seen) > 1 + frame)
    assert maker.made[0].seen == [-1, *(fakes.grey_of(index) for index in range(frame + 1))]
    assert not player.update()[0].playing


def test_the_latest_ratio_counts(start: Start, fakes: SimpleNamespace) -> None:
    maker = fakes.Maker()
    maker.may_finish.clear()
    player = start(None, None, maker)
    for ratio in (0.5, 0.6, 0.75):
        player.use_ratio(ratio)
    fakes.until(lambda: 0.75 in maker.asked)
    maker.may_finish.set()
    fakes.until(lambda: player.update()[0].ratio == 0.75)
    assert [session.profile.ratio for session in maker.made] == [0.75]


def test_asking_for_the_ratio_in_use_takes_the_wish_back(start: Start, fakes: SimpleNamespace) -> None:
    maker = fakes.Maker()
    maker.may_finish.clear()
    player = start(None, None, maker)
    player.use_ratio(0.5)
    fakes.until(lambda: maker.asked)
    player.use_ratio(1.0)
    maker.may_finish.set()
    assert player.update()[0].opening is None
    assert player.update()[0].ratio == 1


def test_a_ratio_that_cannot_be_had_is_told(start: Start, fakes: SimpleNamespace) -> None:
    from rvm_trt.errors import OptionError

    session, maker = fakes.Session(), fakes.Maker()
    maker.error = OptionError("ratio", got="0.01", expected="more", todo="Use a larger ratio.")
    player = start(None, session, maker)
    player.use_ratio(0.01)
    assert "larger ratio" in fakes.until(lambda: player.update()[0].problem)
    seen = len(session.seen)
    fakes.until(lambda: len(session.seen) > seen)
    maker.error = None
    player.use_ratio(0.5)
    fakes.until(lambda: player.update()[0].ratio == 0.5)
    assert player.update()[0].problem is None


def test_closing_calls_off_what_is_being_built_and_closes_every_session(fakes: SimpleNamespace) -> None:
    maker = fakes.Maker()
    with (
        Sessions(maker) as sessions,
        Player(
            fakes.Source(),
            sessions.open(1.0, tell=print),
            sessions,
            background=fakes.GREEN,
            background_name="green",
        ) as player,
        player.watched(),
    ):
        fakes.until(lambda: shown(player))
        player.use_ratio(0.5)
        fakes.until(lambda: player.update()[0].ratio == 0.5)
        maker.may_finish.clear()
        player.use_ratio(0.6)
        fakes.until(lambda: 0.6 in maker.asked)
        player.close()
        assert player.ended
    assert [session.closed for session in maker.made] == [1, 1]


def test_sessions_are_closed_on_the_thread_that_made_them_which_is_not_the_main_one(
    fakes: SimpleNamespace,
) -> None:
    maker = fakes.Maker()
    with Sessions(maker) as sessions:
        sessions.release(sessions.open(1.0, tell=print))
        sessions.request(0.5)
        fakes.until(lambda: sessions.ready)
    for session in maker.made:
        assert session.closed == 1
        assert session.made_on is session.closed_on
        assert session.made_on is not threading.main_thread()
    assert len(maker.made) == 2


@pytest.mark.parametrize("part", ["session", "maker"])
def test_an_error_of_ours_ends_the_show_and_is_raised(
    start: Start, fakes: SimpleNamespace, part: str
) -> None:
    session, maker = fakes.Session(), fakes.Maker()
    player = start(None, session, maker)
    fakes.until(lambda: shown(player))
    {"session": session, "maker": maker}[part].error = ZeroDivisionError("ours")
    if part == "maker":
        player.use_ratio(0.5)
    fakes.until(lambda: player.ended)
    with pytest.raises(ZeroDivisionError, match="ours"):
        player.close()
    player.close = lambda: None  # the fixture's own
