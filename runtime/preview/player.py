"""Plays a source through a session for whoever watches: the preview's frame loop, on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType

from rvm_trt.errors import RvmTrtError
from rvm_trt.runtime.preview.clock import Clock
from rvm_trt.runtime.preview.parts import Background, Picture, Session, Status
from rvm_trt.runtime.preview.reel import Reel
from rvm_trt.runtime.preview.sessions import Sessions
from rvm_trt.runtime.preview.stage import Stage
from rvm_trt.runtime.video.source import Frame, Source


class _Step(Enum):
    """What the loop does next."""

    SWITCH = auto()  # takes the session that is ready
    SEEK = auto()
    AGAIN = auto()  # shows the same frame, since its background or its session is another
    READ = auto()
    SHOW = auto()
    STOP = auto()


@dataclass(kw_only=True)
class _Wishes:
    """What the controls ask for; under the player's lock."""

    background: Background
    background_name: str
    playing: bool = True
    seek: int | None = None
    again: bool = False
    stop: bool = False
    watchers: int = 0
    problem: str | None = None


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
        self._wishes = _Wishes(background=background, background_name=background_name)
        self._changed = threading.Condition()
        self._listener: Callable[[], object] = _nobody
        self._clock = Clock()
        self._source = source
        self._reel = Reel(source)
        self._sessions = sessions
        self._next: Frame | None = None  # read, and not due yet
        self._frames = source.frame_count
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
                opening=self._sessions.doing,
                problem=self._sessions.problem or wishes.problem,
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
            self._wish(playing=True, seek=0, problem=None)

    def seek(self, frame: int) -> None:
        """Shows a frame, or the last one, and stays paused or playing. Does nothing to a live source."""
        if not self.clip.live:
            last = frame if self._frames is None else min(frame, self._frames - 1)
            self._wish(seek=max(0, last), problem=None)

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
            _Step.SWITCH: self._take_session,
            _Step.SEEK: self._go,
            _Step.AGAIN: self._show_again,
            _Step.READ: self._read,
            _Step.SHOW: self._show,
        }
        try:
            with self._reel:
                while (step := self._wait()) is not _Step.STOP:
                    try:
                        steps[step]()
                    except RvmTrtError as error:
                        self._fail(error)
                    self._wake()
        finally:
            self._sessions.release(self._stage.session)
            self._ended = True
            self._wake()

    def _wait(self) -> _Step:
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
                    return _Step.READ
                wait_s = self._clock.wait_s(self._time_s(self._next), now=time.perf_counter())
                if wait_s == 0:
                    return _Step.SHOW
                self._changed.wait(wait_s)

    def _urgent(self) -> _Step | None:
        wishes = self._wishes
        if wishes.stop:
            return _Step.STOP
        self._sessions.check()
        if self._sessions.ready:
            return _Step.SWITCH
        if wishes.seek is not None:
            return _Step.SEEK
        # While it plays, the next frame shows the change soon enough.
        if wishes.again and self._stage.picture is not None and not wishes.playing:
            return _Step.AGAIN
        return None

    def _take_session(self) -> None:
        session = self._sessions.take()
        if session is not None:  # else another wish came in between
            self._clock.restart()
            self._sessions.release(self._stage.change(session))
            self._wish(again=True)

    def _go(self) -> None:
        with self._changed:
            index, self._wishes.seek = self._wishes.seek, None
        assert index is not None
        self._forget()
        self._reel.wind(index)
        frame = self._reel.read()
        # There may be fewer frames than was thought.
        self._stage.show(self._reel.first() if frame is None else frame, self._background())

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

    def _time_s(self, frame: Frame) -> float:
        return float(frame.pts * frame.time_base - self.clip.start)


def _nobody() -> None:
    """Hears nothing."""
