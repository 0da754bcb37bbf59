"""Video out: `open_sink` opens a file or folder that appears under its name only when whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import FrameError
from rvm_trt.files import atomic_dir, atomic_file
from rvm_trt.runtime.video.output import EncodeOptions, OutputFormat, OutputKind, OutputPlan, plan_output
from rvm_trt.runtime.video.pipe import Worker
from rvm_trt.runtime.video.source import Clip, require

_DEPTH = 2


class Writer(Protocol):
    """What encodes: `VideoWriter` or `PngWriter`. Slots are memory for one frame."""

    def make_slot(self) -> Any:
        """Returns memory for one frame, whose ``view`` takes the picture."""

    def encode(self, slot: Any, pts: int, time_base: Fraction, duration: int) -> None:
        """Encodes a filled slot."""

    def finish(self) -> None:
        """Completes the output."""


class _Filled(NamedTuple):
    slot: Any
    pts: int
    time_base: Fraction
    duration: int


class Sink:
    """Takes frames and encodes them on a thread of its own. Made by `open_sink`.

    Attributes:
        plan: what is written, and where.
        notices: one-line remarks for the user.
        frames: how many frames were taken.
    """

    def __init__(self, writer: Writer, *, plan: OutputPlan, clip: Clip, notices: list[str]) -> None:
        self.plan = plan
        self.notices = notices
        self.frames = 0
        self._finish_s = 0.0
        self._time_base = 1 / clip.rate
        # One slot is being filled and one encoded while the others wait; `put` blocks before a third could be
        # needed.
        self._slots = [writer.make_slot() for _ in range(_DEPTH + 2)]
        self._writer = writer
        self._worker: Worker[_Filled] = Worker(
            lambda filled: writer.encode(*filled), depth=_DEPTH, name="rvm-trt-encode"
        )

    def write(
        self,
        image: npt.NDArray[np.uint8],
        *,
        pts: int | None = None,
        time_base: Fraction | None = None,
        duration: int = 0,
    ) -> None:
        """Takes a frame: copies it, and returns as soon as the encoder has room.

        Args:
            image: uint8 ``(H, W, 3)`` RGB, ``(H, W, 4)`` RGBA with straight alpha, or ``(H, W)`` alpha, as
                the kind asks. It is the caller's again when this returns.
            pts, time_base: the source's timestamp; the frame's number at the source's rate where None.
            duration: in units of ``time_base``; one interval where 0.

        Raises:
            FrameError: wrong shape or dtype.
            VideoError: an earlier frame could not be written.
            SessionError: the sink is finished.
        """
        slot = self._slots[self.frames % len(self._slots)]
        if image.shape != slot.view.shape or image.dtype != np.uint8:
            raise FrameError(
                f"{self.plan.kind.value} frame",
                got=f"{image.shape} {image.dtype}",
                expected=f"{slot.view.shape} uint8",
                todo="Give frames of the source's size and the sink's kind.",
            )
        np.copyto(slot.view, image)
        if pts is None or time_base is None:
            pts, time_base = self.frames, self._time_base
        self._worker.put(_Filled(slot, pts, time_base, duration))
        self.frames += 1

    def finish(self) -> None:
        """Waits for the encoder and completes the output; raises `VideoError`. `open_sink` calls it."""
        self._worker.finish()
        start = time.perf_counter()
        self._writer.finish()
        self._finish_s = time.perf_counter() - start

    @property
    def busy_s(self) -> float:
        """How long the encoder has worked, on its thread and to complete the output."""
        return self._worker.busy_s + self._finish_s

    def close(self) -> None:
        """Drops what waits and joins the thread. May be called twice."""
        self._worker.close()


@contextmanager
def open_sink(
    path: str | os.PathLike[str],
    *,
    clip: Clip,
    kind: str | OutputKind | None = None,
    options: EncodeOptions | None = None,
    overwrite: bool = False,
) -> Iterator[Sink]:
    """Opens an output for frames of a source; use it with ``with``.

    The output is written beside its place under a temporary name, and renamed at the end of the block. On any
    error, Ctrl-C included, nothing is left, and what was there before stays.

    Args:
        path: see `plan_output`.
        clip: the source's size, rate, time base and sound.
        kind: see `plan_output`.
        options: how to encode.
        overwrite: whether something already there may be replaced.

    Raises:
        VideoError: the output cannot be made, or an encoder failed.
        DependencyError: PyAV or Pillow is not installed.
    """
    plan = plan_output(path, kind=kind, source=clip.path, overwrite=overwrite)
    notices: list[str] = []
    with ExitStack() as stack:
        make = _png_writer if plan.format is OutputFormat.PNG_FOLDER else _video_writer
        writer = make(stack, plan, clip, options or EncodeOptions(), notices.append)
        sink = Sink(writer, plan=plan, clip=clip, notices=notices)
        stack.callback(sink.close)
        yield sink
        sink.finish()


def _png_writer(
    stack: ExitStack,
    plan: OutputPlan,
    clip: Clip,
    options: EncodeOptions,
    notice: Callable[[str], None],
) -> Writer:
    require("PIL", package="pillow", stage="image output")
    from rvm_trt.runtime.video.png import PngWriter

    if clip.has_audio and options.audio:
        notice("Sound was left out: a folder of images cannot hold it.")
    folder = stack.enter_context(atomic_dir(plan.path))
    return stack.enter_context(PngWriter(folder, plan=plan, clip=clip))


def _video_writer(
    stack: ExitStack,
    plan: OutputPlan,
    clip: Clip,
    options: EncodeOptions,
    notice: Callable[[str], None],
) -> Writer:
    require("av", package="av", stage="video output")
    require("numba", package="numba", stage="video output")
    from rvm_trt.runtime.video.encode import VideoWriter

    file: Path = stack.enter_context(atomic_file(plan.path))
    return stack.enter_context(VideoWriter(file, plan=plan, clip=clip, options=options, notice=notice))
