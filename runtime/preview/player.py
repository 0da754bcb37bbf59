"""Plays a source through a session for whoever watches: the preview's frame loop, on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType

import numpy as np

from rvm_trt.errors import RvmTrtError
from rvm_trt.runtime.preview.clock import Clock
from rvm_trt.runtime.preview.parts import Background, Picture, Session, Status
from rvm_trt.runtime.preview.reel import Reel
from rvm_trt.runtime.preview.sessions import Sessions
from rvm_trt.runtime.preview.stage import Stage
from rvm_trt.runtime.preview.wishes import Step, Wishes
from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.source import Frame, Source

_WARM_UP_S = InputOptions().warm_up_s
_WARMING = "The network sees the second before this place first"


class Player:
    """Plays a source in a loop, no faster than its timestamps say, while somebody watches. Use it with ``with``.

    Every control may be called from any thread and returns at once. An error that a user can cause pauses the
    show and stands in `status`; `play` begins anew.

    Args:
        source: what to play.
        session: mattes it, with outputs ``pha`` and ``composite``; one of ``sessions``, and the player's from now on.
        sessions: where sessions come from, and go when they are done with. It is closed after the player.
        background: what stands behind the composite at first.
        background_name: what the page calls it.

    Attributes:
        clip: what is played.
    """

    def __init__(
        self,
        source: Source,
        session: Session,
        sessions: Sessions,
        *,
        background: Background,
        background_name: str,
    ) -> None:
        self.clip = source.clip
        self._stage = Stage(session)
        self._wishes = Wishes(background=background, background_name=background_name)
        self._changed = threading.Condition()
        self._listener: Callable[[], object] = _nobody
        self._clock = Clock()
        self._source = source
        self._reel = Reel(source)
        self._sessions = sessions
        self._next: Frame | None = None  # read, and not due yet
        self._frames = source.frame_count
        self._warming: str | None = None
        self._ended = False
        sessions.listen(self._wake)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="rvm-trt-preview")
        self._future = self._executor.submit(self._run)

    def listen(self, listener: Callable[[], object] | None) -> None:
        """Has a function called, from any thread, when `update` or `ended` may have changed; None ends that at once."""
        with self._changed:
            self._listener = listener or _nobody

    @property
    def ended(self) -> bool:
        """Whether the show is over: it was closed, or an error ended it, which `close` then raises."""
        return self._ended

    def update(self) -> tuple[Status, Picture | None]:
        """Returns where the show stands, and its latest picture."""
        with self._changed:
            wishes, picture, profile = self._wishes, self._stage.picture, self._stage.session.profile
            status = Status(
                frame=None if picture is None else picture.frame.index,
                frames=self._frames,
                seconds=0.0 if picture is None else self._time_s(picture.frame),
                playing=wishes.playing,
                fps=round(self._stage.meter.fps, 2),
                frame_ms=round(self._stage.meter.frame_ms, 2),
                ratio=profile.ratio,
                network=(profile.low_width, profile.low_height),
                background=wishes.background_name,
                opening=self._sessions.doing or self._warming,
                problem=self._sessions.problem or wishes.problem,
                remarks=self._remarks(wishes.background),
            )
            return status, picture

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Counts somebody who watches; where nobody does, the show waits."""
        self._watch(1)
        try:
            yield
        finally:
            self._watch(-1)

    def play(self) -> None:
        """Goes on from where it was paused."""
        self._wish(playing=True, problem=None)

    def pause(self) -> None:
        """Stops at the frame that is shown."""
        self._wish(playing=False)

    def restart(self) -> None:
        """Goes on from the beginning, as a session that has seen nothing. Does nothing to a live source."""
        if not self.clip.live:
            self._wish(playing=True, seek=0, rough=False, problem=None)

    def seek(self, frame: int, *, rough: bool = False) -> None:
        """Shows a frame, or the last one, and stays paused or playing. Does nothing to a live source.

        Its matte is what ``rvm-trt matte --from`` gives there: the session sees the second before it first.

        Args:
            frame: its index.
            rough: whether to leave that out, while somebody still looks for the place.
        """
        if not self.clip.live:
            last = frame if self._frames is None else min(frame, self._frames - 1)
            self._wish(seek=max(0, last), rough=rough, problem=None)

    def set_background(self, name: str, background: Background) -> None:
        """Changes what stands behind the composite, also of the frame at which it is paused."""
        self._wish(background=background, background_name=name, again=True)

    def use_ratio(self, ratio: float) -> None:
        """Changes to a session with another ratio as soon as there is one; what runs goes on until then."""
        if ratio == self._stage.session.profile.ratio:
            self._sessions.cancel()
        else:
            self._sessions.request(ratio)

    def close(self) -> None:
        """Ends the show and its threads, closes the source, and gives the session back. May be called twice.

        Raises:
            BaseException: what ended the thread, where nobody asked for its end.
        """
        self._wish(stop=True)
        self._source.close()  # the thread may wait for what never comes
        self._executor.shutdown(wait=True)
        self._future.result()

    def __enter__(self) -> Player:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wish(self, **changes: object) -> None:
        with self._changed:
            for name, value in changes.items():
                setattr(self._wishes, name, value)
        self._wake()

    def _watch(self, change: int) -> None:
        with self._changed:
            self._wishes.watchers += change
        self._wake()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
            self._listener()

    def _run(self) -> None:
        steps = {
            Step.SWITCH: self._take_session,
            Step.SEEK: self._go,
            Step.AGAIN: self._show_again,
            Step.READ: self._read,
            Step.SHOW: self._show,
        }
        try:
            with self._reel:
                while (step := self._wait()) is not Step.STOP:
                    try:
                        steps[step]()
                    except RvmTrtError as error:
                        self._fail(error)
                    self._wake()
        finally:
            self._sessions.release(self._stage.session)
            self._ended = True
            self._wake()

    def _wait(self) -> Step:
        """Waits until there is something to do, and says what."""
        with self._changed:
            while True:
                step = self._urgent()
                if step is not None:
                    return step
                if not (self._wishes.playing and self._wishes.watchers):
                    self._clock.restart()
                    self._stage.meter.pause()
                    self._changed.wait()
                    continue
                if self._next is None:
                    return Step.READ
                wait_s = self._clock.wait_s(self._time_s(self._next), now=time.perf_counter())
                if wait_s == 0:
                    return Step.SHOW
                self._changed.wait(wait_s)

    def _urgent(self) -> Step | None:
        wishes = self._wishes
        if wishes.stop:
            return Step.STOP
        self._sessions.check()
        if self._sessions.ready:
            return Step.SWITCH
        if wishes.seek is not None:
            return Step.SEEK
        # While it plays, the next frame shows the change soon enough.
        if wishes.again and self._stage.picture is not None and not wishes.playing:
            return Step.AGAIN
        return None

    def _take_session(self) -> None:
        session = self._sessions.take()
        if session is not None:  # else another wish came in between
            self._clock.restart()
            self._sessions.release(self._stage.change(session))
            shown = self._stage.picture
            if shown is None or self.clip.live or self._wishes.playing:
                self._wish(again=True)
            elif self._wishes.seek is None:
                self.seek(shown.frame.index)  # so that it has seen what is before

    def _go(self) -> None:
        with self._changed:
            index, self._wishes.seek = self._wishes.seek, None
            before = 0 if self._wishes.rough else int(_WARM_UP_S * self.clip.rate)
        assert index is not None
        self._forget()
        self._reel.wind(max(0, index - before))
        self._warming = _WARMING if before else None
        self._wake()
        try:
            frame = self._warmed_up(index)
        finally:
            self._warming = None
        if frame is None:  # there are fewer frames than was thought
            self._stage.forget()
            frame = self._reel.first()
        if self._wishes.seek is None:  # else another place is wanted by now
            self._stage.show(frame, self._background())

    def _warmed_up(self, index: int) -> Frame | None:
        """Returns a frame, or the last one, when the session has seen those before it; None where there is none."""
        frame = self._reel.read()
        while (
            frame is not None and frame.index < index and self._wishes.seek is None and not self._wishes.stop
        ):
            following = self._reel.read()
            if following is None:
                self._frames = frame.index + 1
                break
            self._stage.warm_up(frame)
            frame = following
        return frame

    def _read(self) -> None:
        if self._reel.is_open:
            self._next = self._reel.read()
            if self._next is not None:
                return
            if self.clip.live:
                self._wish(playing=False)
                return
            if self._stage.picture is not None:
                self._frames = self._stage.picture.frame.index + 1
        self._forget()
        self._next = self._reel.first()

    def _forget(self) -> None:
        self._next = None
        self._stage.forget()
        self._clock.restart()

    def _show(self) -> None:
        frame, self._next = self._next, None
        assert frame is not None
        self._stage.show(frame, self._background())

    def _show_again(self) -> None:
        self._stage.show_again(self._background())

    def _background(self) -> Background:
        with self._changed:
            self._wishes.again = False
            return self._wishes.background

    def _fail(self, error: RvmTrtError) -> None:
        self._reel.close()
        self._next = None
        self._wish(playing=False, problem=str(error))

    def _remarks(self, background: Background) -> tuple[str, ...]:
        source, lost = self._source, self._source.skipped_frames
        damage = (f"{lost} damaged pieces of the input were skipped.",) if lost else ()
        behind = () if isinstance(background, (tuple, np.ndarray)) else background.notices
        return tuple(dict.fromkeys((*source.notices, *damage, *source.warnings, *behind)))

    def _time_s(self, frame: Frame) -> float:
        return float(frame.pts * frame.time_base - self.clip.start)


def _nobody() -> None:
    """Hears nothing."""
