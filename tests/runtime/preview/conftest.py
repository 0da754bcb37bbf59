"""A cheap stand-in for a video and for the network, and a player of both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.errors import EngineError, VideoError
from rvm_trt.profile import Profile
from rvm_trt.runtime.preview.player import Player
from rvm_trt.runtime.preview.sessions import Sessions
from rvm_trt.runtime.video.source import Clip, Frame, Source

WIDTH, HEIGHT = 64, 48
GREEN, BLUE = (120, 255, 155), (0, 0, 255)
BACKGROUNDS = {"green": GREEN, "blue": BLUE, "picture": np.full((HEIGHT, WIDTH, 3), 9, np.uint8)}
PLAIN = 32  # rows of a frame that are grey; below are stripes, by which neighbours are alike
STRIPES = np.where(np.arange(WIDTH) // 8 % 2, 255, 0).astype(np.uint8)[:, None]
Image = npt.NDArray[np.uint8]


def grey_of(index: int) -> int:
    """The grey of a frame: neighbours are alike, so that there is no cut between them."""
    return 60 + 5 * (index % 30)


class FakeSource(Source):
    """Frames that tell their number by their grey.

    Args:
        frames: how many there are.
        said: how many it says there are.
        fail_at: the frame that cannot be read.
        cut_at: from this frame on it is another picture.
    """

    def __init__(
        self,
        frames: int = 12,
        *,
        said: int | None = 12,
        fail_at: int | None = None,
        cut_at: int | None = None,
        live: bool = False,
        rate: int = 100,
    ) -> None:
        super().__init__(
            Clip(
                path=Path("talk.mp4"),
                width=WIDTH,
                height=HEIGHT,
                rate=Fraction(rate),
                time_base=Fraction(1, rate),
                frame_count=said,
                live=live,
            )
        )
        self.count, self.fail_at, self.cut_at = frames, fail_at, cut_at
        self.wound: list[int] = []

    def frames_from(self, index: int) -> Iterator[Frame]:
        self.wound.append(index)
        for number in range(index, self.count):
            if number == self.fail_at:
                raise VideoError(
                    "input 'talk.mp4'", got="damage", expected="a whole video", todo="Copy it again."
                )
            image = np.full((HEIGHT, WIDTH, 3), grey_of(number), np.uint8)
            image[PLAIN:] = STRIPES
            if self.cut_at is not None and number >= self.cut_at:
                image[:, WIDTH // 2 :] = 255
                image[PLAIN:] = 255 - STRIPES
            yield Frame(index=number, image=image, pts=number, time_base=self.clip.time_base, duration=1)


class FakeSession:
    """Takes the right half of each frame for the person, and counts what it is asked."""

    def __init__(self, ratio: float = 1.0) -> None:
        self.profile = Profile(width=WIDTH, height=HEIGHT, ratio=ratio)
        self.background: Any = (0, 0, 0)  # until another is set
        self.dressed: list[Any] = []
        self.seen: list[int] = []  # the grey of each frame, and -1 for each reset
        self.steps = 0
        self.closed = 0
        self.made_on: threading.Thread | None = None
        self.closed_on: threading.Thread | None = None
        self.error: BaseException | None = None

    def process(self, frame: Any) -> Any:
        assert not self.closed
        if self.error is not None:
            raise self.error
        self.seen.append(int(frame[0, 0, 0]))
        self.steps += 1
        composite = np.empty_like(frame)
        composite[:] = self.background
        composite[:, WIDTH // 2 :] = frame[:, WIDTH // 2 :]
        alpha = np.zeros(frame.shape[:2], np.uint8)
        alpha[:, WIDTH // 2 :] = 255
        return SimpleNamespace(pha=alpha, composite=composite)

    def set_background(self, background: Any) -> None:
        self.background = background
        self.dressed.append(background)

    def reset(self) -> None:
        self.seen.append(-1)
        self.steps = 0

    def state(self) -> Any:
        return self.steps

    def restore(self, state: Any) -> None:
        self.steps = state

    def close(self) -> None:
        self.closed += 1
        self.closed_on = threading.current_thread()


class FakeMaker:
    """Makes fake sessions, when it is let; keeps them all."""

    def __init__(self) -> None:
        self.made: list[FakeSession] = []
        self.asked: list[float] = []
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.error: BaseException | None = None

    def __call__(self, ratio: float, *, tell: Any, cancelled: threading.Event) -> FakeSession:
        self.asked.append(ratio)
        tell(f"Building for {ratio:g}")
        while not self.may_finish.wait(0.01):
            if cancelled.is_set():
                raise EngineError("engine", got="a wish that was taken back", expected="one", todo="Wish.")
        if self.error is not None:
            raise self.error
        self.made.append(FakeSession(ratio))
        self.made[-1].made_on = threading.current_thread()
        return self.made[-1]


def until(condition: Callable[[], Any], *, seconds: float = 20) -> Any:
    """Waits until a condition holds, and returns what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.002)
    return found


@pytest.fixture
def fakes() -> SimpleNamespace:
    """What is above; test folders are no packages that could be imported from."""
    return SimpleNamespace(
        Source=FakeSource,
        Session=FakeSession,
        Maker=FakeMaker,
        until=until,
        grey_of=grey_of,
        GREEN=GREEN,
        BLUE=BLUE,
        BACKGROUNDS=BACKGROUNDS,
    )


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    """``start(source, session, maker, watched=True)``: a player that is closed at the end."""
    with ExitStack() as owned:

        def make(
            source: Any = None, session: Any = None, maker: Any = None, *, watched: bool = True
        ) -> Player:
            sessions = owned.enter_context(Sessions(maker or FakeMaker()))
            player = owned.enter_context(
                Player(
                    source or FakeSource(),
                    session or FakeSession(),
                    sessions,
                    background=GREEN,
                    background_name="green",
                )
            )
            if watched:
                owned.enter_context(player.watched())
            return player

        yield make


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Every test must leave the threads as it found them."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
