"""Footage for calibration: clips of real frames, named by hash, divided into parts that share no frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import OptionError
from rvm_trt.profile import Profile
from rvm_trt.resample import sample_frame

Image = npt.NDArray[np.uint8]
Sequences = Sequence[Sequence[npt.NDArray[np.float32]]]
_FEWEST = 8
_PARTS = (("calibration", 0, 4), ("search", 4, 8), ("held_out", 8, 16))  # in sixteenths of a clip


@dataclass(frozen=True, kw_only=True)
class SearchFootage:
    """Footage in three parts that share no frame. Each sequence holds consecutive low-resolution inputs.

    Attributes:
        calibration: gives the ranges.
        search: ranks the layers and finds how many fit the budget.
        held_out: decides.
        words: what the footage is, for the report.
    """

    calibration: Sequences
    search: Sequences
    held_out: Sequences
    words: Mapping[str, Any]

    @property
    def frames(self) -> int:
        """Frames in all parts."""
        return sum(len(part) for parts in (self.calibration, self.search, self.held_out) for part in parts)


@dataclass(frozen=True, kw_only=True)
class CalibrationFootage:
    """Clips to calibrate on. Nothing is decoded before `divide`.

    Attributes:
        words: what identifies the footage: names and hashes. Part of the key of every engine made with it.
        read: gives each clip's consecutive frames, (height, width, 3) uint8 RGB, at the width and height asked for.
    """

    words: Mapping[str, Any]
    read: Callable[[int, int], Iterable[Sequence[Image]]]

    def divide(self, profile: Profile) -> SearchFootage:
        """Returns the frames at the profile's network size, each clip cut into three runs of consecutive frames.

        The first quarter calibrates, the second serves the search, the second half is held out.

        Raises:
            OptionError: there is no clip, or one has fewer than 8 frames.
        """
        parts: dict[str, list[list[npt.NDArray[np.float32]]]] = {name: [] for name, _, _ in _PARTS}
        for frames in self.read(profile.low_width, profile.low_height):
            if len(frames) < _FEWEST:
                raise _too_short(len(frames))
            inputs = [sample_frame(frame, 1.0)[None] for frame in frames]
            for name, start, stop in _PARTS:
                parts[name].append(inputs[len(inputs) * start // 16 : len(inputs) * stop // 16])
        if not parts["held_out"]:
            raise _too_short(0)
        return SearchFootage(words=self.words, **parts)


def _too_short(frames: int) -> OptionError:
    return OptionError(
        "calibration",
        got=f"{frames} frames",
        expected=f"clips of at least {_FEWEST} frames",
        todo="Give a longer clip of people with --calibration.",
    )
