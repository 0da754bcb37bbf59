"""A session whose mattes depend on every frame before, cheap and exact; and what it is used on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.profile import Profile
from rvm_trt.runtime.video.job import matte_video
from rvm_trt.runtime.video.job_options import JobOptions
from rvm_trt.runtime.video.job_report import JobReport
from rvm_trt.runtime.video.source import Source

WIDTH, HEIGHT = 64, 48
SEGMENT, FRAMES = 8, 30


class AveragingSession:
    """Shows a running average of the frames, one frame late, in buffers that it overwrites at the next answer.

    Args:
        before: called with the number of each frame before it is taken, counted over all calls of `run`.
    """

    def __init__(self, before: Callable[[int], None] = lambda _: None) -> None:
        self.profile = Profile(width=WIDTH, height=HEIGHT, ratio=1.0)
        self.resets: list[int] = []
        self._before = before
        self._taken = 0
        self._average = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        self._behind: npt.NDArray[np.uint8] = np.zeros(3, np.uint8)

    def reset(self) -> None:
        self.resets.append(self._taken)
        self._average = np.zeros_like(self._average)

    def state(self) -> tuple[npt.NDArray[np.float32], ...]:
        return (self._average.copy(), np.zeros((0, 2), np.float32))

    def restore(self, state: Sequence[npt.NDArray[np.float32]]) -> None:
        self._average = state[0].copy()

    def set_background(self, background: Any) -> None:
        self._behind = np.array(background, np.uint8)

    def run(self, frames: Any) -> Iterator[Any]:
        memory = np.empty((HEIGHT, WIDTH, 4), np.uint8)
        waiting: npt.NDArray[np.uint8] | None = None
        for frame in frames:
            self._before(self._taken)
            self._taken += 1
            if waiting is not None:
                memory[...] = waiting
                yield _matte(memory)
            waiting = self._mattes(frame)
        if waiting is not None:
            memory[...] = waiting
            yield _matte(memory)

    def _mattes(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        self._average += (frame - self._average) * np.float32(0.1)
        colours = np.where(self._average < 200, self._average, self._behind).astype(np.uint8)
        return np.dstack([colours, self._average[..., 0].astype(np.uint8)])


def _matte(rgba: npt.NDArray[np.uint8]) -> SimpleNamespace:
    rgb = rgba[..., :3]
    return SimpleNamespace(composite=rgb, fgr=rgb, pha=rgba[..., 3], rgba=rgba)


def matte(
    source: Path | Source,
    output: Path,
    *,
    before: Callable[[int], None] = lambda _: None,
    resume: bool = False,
    job: dict[str, Any] | None = None,
    **arguments: Any,
) -> JobReport:
    """Runs a job in segments of eight frames."""
    options = JobOptions(**({"segment_frames": SEGMENT, "resume": resume} | (job or {})))
    return matte_video(source, output, AveragingSession(before), job=options, **arguments)


def stop_at(number: int, error: BaseException | None = None) -> Callable[[int], None]:
    """Returns what raises at a frame: Ctrl-C, or an error."""

    def before(taken: int) -> None:
        if taken == number:
            raise error or KeyboardInterrupt

    return before


def contents(path: Path) -> dict[str, bytes]:
    """What a file or a folder holds."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())
