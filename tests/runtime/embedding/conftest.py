"""What the tests of embedding share: an engine and frames of its size, and the fakes beside this file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rvm_trt import Profile

sys.path.insert(0, str(Path(__file__).parent))

ODD = Profile(width=161, height=97, ratio=0.6)


@pytest.fixture(scope="session")
def engine(built: Callable[..., Any]) -> Any:
    """A core engine of 161x97 for the CPU."""
    return built(ODD)


@pytest.fixture(scope="session")
def frames(moving_frames: Callable[..., list[Any]]) -> list[Any]:
    """Six frames of its size."""
    return moving_frames(161, 97, 6)
