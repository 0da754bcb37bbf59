"""Footage without end from a short clip: forward and backward, seen by a camera that wanders, with noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rvm_trt.profile import Profile
from rvm_trt.runtime.video.scaled import scaled_frames

Image = npt.NDArray[np.uint8]

_NOISE = 2.0
_PERIODS = (997, 1499)  # frames in which the camera wanders down and up, and to and fro


def wandering_frames(clip: Path, profile: Profile, count: int) -> Iterator[Image]:
    """Yields ``count`` frames of a clip, forward and backward, none of which is quite as one before.

    Raises:
        VideoError: the clip cannot be read, or has no frames.
    """
    from rvm_trt.benchmarks.half_accuracy import back_and_forth

    width, height = profile.width * 9 // 8, profile.height * 9 // 8
    frames = list(scaled_frames(clip, width=width, height=height))
    for number, index in enumerate(back_and_forth(len(frames), count)):
        top, left = (
            round(slack * (0.5 + 0.5 * math.sin(2 * math.pi * number / period)))
            for slack, period in zip((height - profile.height, width - profile.width), _PERIODS, strict=True)
        )
        part = frames[index][top : top + profile.height, left : left + profile.width]
        noise = _NOISE * np.random.default_rng(number).standard_normal(part.shape, np.float32)
        yield (part + noise).round().clip(0, 255).astype(np.uint8)
