"""What the tests of interrupted jobs share."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

# The tests import the module beside them.
sys.path.insert(0, str(Path(__file__).parent))

from averaging import FRAMES, HEIGHT, WIDTH

# Uneven, so that times of decoding would step back between two segments if they were the encoder's.
TIMES = [40 * index + (7 * index % 13) for index in range(FRAMES)]


@pytest.fixture
def source(tmp_path: Path, video: SimpleNamespace) -> Path:
    """A clip with sound and a varying rate."""
    path: Path = video.write_clip(
        tmp_path / "in.mkv",
        frames=FRAMES,
        width=WIDTH,
        height=HEIGHT,
        pts=TIMES,
        time_base=Fraction(1, 1000),
        sound_s=1,
    )
    return path
