"""What the session tests share: one odd engine, a moving sequence of its size, and a session on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt import Engine, MattingSession, Profile

ODD = Profile(width=161, height=97, ratio=0.6)
Image = npt.NDArray[np.uint8]
Frames = Callable[..., list[Image]]
Built = Callable[..., Engine]


@pytest.fixture(scope="module")
def frames(moving_frames: Frames) -> list[Image]:
    return moving_frames(161, 97, 6)


@pytest.fixture(scope="module")
def engine(built: Built) -> Engine:
    return built(ODD)


@pytest.fixture
def session(engine: Engine) -> Iterator[MattingSession]:
    with MattingSession(engine, outputs=("pha", "composite"), threads=1) as opened:
        yield opened
