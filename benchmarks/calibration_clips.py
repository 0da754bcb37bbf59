"""Clips as calibration footage: known by name and hash, decoded when a search needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.errors import OptionError
from rvm_trt.files import sha256_file

# Of each clip: enough for the GRUs to roll out in each part, few enough for a search within minutes.
_CLIP_FRAMES = 120


def clips_footage(clips: Sequence[Path]) -> CalibrationFootage:
    """Returns clips as calibration footage, known by name and hash; raises `OptionError` where one is no file."""
    for clip in clips:
        if not clip.is_file():
            raise OptionError(
                "--calibration",
                got=str(clip),
                expected="a video file",
                todo="Check the path.",
            )
    words = {
        "clips": [{"name": clip.name, "sha256": sha256_file(clip)} for clip in clips],
        "frames": _CLIP_FRAMES,
    }

    def read(width: int, height: int) -> Iterator[list[npt.NDArray[np.uint8]]]:
        from rvm_trt.runtime.video.scaled import scaled_frames

        for clip in clips:
            yield list(scaled_frames(clip, width=width, height=height, count=_CLIP_FRAMES))

    return CalibrationFootage(words=words, read=read)
