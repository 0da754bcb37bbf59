"""Video out: `open_sink` opens a file or folder that appears under its name only when whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import FrameError
from rvm_trt.runtime.video.images_out import ImageForm, ImageWriter
from rvm_trt.runtime.video.output import (
    CodecName,
    EncodeOptions,
    OutputFormat,
    OutputKind,
    OutputPlan,
    plan_output,
)
from rvm_trt.runtime.video.pipe import Worker
from rvm_trt.runtime.video.placing import kept_by_nobody
from rvm_trt.runtime.video.premultiply import premultiply
from rvm_trt.runtime.video.source import Clip, require
from rvm_trt.runtime.video.stores import SEGMENT_FRAMES, OutputStore, PacketFiles

if TYPE_CHECKING:
    from rvm_trt.runtime.video.raw import RawWriter

_DEPTH = 2


class Writer(Protocol):
    """What encodes: video, images or raw frames. Slots are memory for one frame."""

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
        self._is_finished = False
        self._time_base = 1 / clip.rate
        # One slot is being filled and one encoded while the others wait; `put` blocks before a third could be
        # needed.
        self._slots = [writer.make_slot() for _ in range(_DEPTH + 2)]
        self._writer = writer
        self._worker: Worker[_Filled] = Worker(self._encode, depth=_DEPTH, name="rvm-trt-encode")

    def write(
        self,
        image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
        *,
        pts: int | None = None,
        time_base: Fraction | None = None,
        duration: int = 0,
    ) -> None:
        """Takes a frame: copies it, and returns as soon as the encoder has room.

        Args:
            image: ``(H, W, 3)`` RGB, ``(H, W, 4)`` RGBA with straight alpha, or ``(H, W)`` alpha, as the kind asks;
                uint8, or uint16 where the depth is 16. It is the caller's again when this returns.
            pts, time_base: the source's timestamp; the frame's number at the source's rate where None.
            duration: in units of ``time_base``; one interval where 0.

        Raises:
            FrameError: wrong shape or dtype.
            VideoError: an earlier frame could not be written.
            SessionError: the sink is finished.
        """
        slot = self._slots[self.frames % len(self._slots)]
        if image.shape != slot.view.shape or image.dtype != slot.view.dtype:
            raise FrameError(
                f"{self.plan.kind.value} frame",
                got=f"{image.shape} {image.dtype}",
                expected=f"{slot.view.shape} {slot.view.dtype}",
                todo="Give frames of the source's size and the sink's kind.",
            )
        np.copyto(slot.view, image)
        if pts is None or time_base is None:
            pts, time_base = self.frames, self._time_base
        self._worker.put(_Filled(slot, pts, time_base, duration))
        self.frames += 1

    def finish(self) -> None:
        """Waits for the encoder and completes the output; raises `VideoError`. `open_sink` calls it.

        May be called twice: whoever has several sinks completes all of them before the first appears under its name.
        """
        if self._is_finished:
            return
        self._worker.finish()
        start = time.perf_counter()
        self._writer.finish()
        self._finish_s = time.perf_counter() - start
        self._is_finished = True

    def drain(self) -> None:
        """Waits until every frame that was taken is encoded; raises `VideoError`."""
        self._worker.drain()

    @property
    def busy_s(self) -> float:
        """How long the encoder has worked, on its thread and to complete the output."""
        return self._worker.busy_s + self._finish_s

    def close(self) -> None:
        """Drops what waits and joins the thread. May be called twice."""
        self._worker.close()

    def _encode(self, filled: _Filled) -> None:
        # OpenEXR is multiplied in linear light, by its writer.
        if self.plan.premultiplied and self.plan.format is not OutputFormat.EXR_FOLDER:
            premultiply(filled.slot.view)
        self._writer.encode(*filled)


@contextmanager
def open_sink(
    path: str | os.PathLike[str],
    *,
    clip: Clip,
    kind: str | OutputKind | None = None,
    options: EncodeOptions | None = None,
    overwrite: bool = False,
    depth: int = 8,
    store: OutputStore | None = None,
) -> Iterator[Sink]:
    """Opens an output for frames of a source; use it with ``with``.

    The output is written beside its place under a temporary name, and renamed at the end of the block. On any
    error, Ctrl-C included, nothing is left, and what was there before stays. Standard output gets frames at once.

    Args:
        path: see `plan_output`.
        clip: the source's size, rate, time base and sound.
        kind: see `plan_output`.
        options: how to encode.
        overwrite: whether something already there may be replaced.
        depth: bits per value of the images, 8 or 16, see `plan_output`.
        store: keeps whole segments, so that an interrupted job can go on; the frames that it holds come first.

    Raises:
        VideoError: the output cannot be made, or an encoder failed.
        DependencyError: PyAV, Pillow or OpenEXR is not installed.
    """
    options = options or EncodeOptions()
    plan = plan_output(path, kind=kind, source=clip.path, overwrite=overwrite, options=options, depth=depth)
    notices: list[str] = []
    with ExitStack() as stack:
        if plan.format is OutputFormat.RAW:
            raw = _raw_writer(stack, plan, clip, options, notices.append)
            writer: Writer = raw
        else:
            make = _image_writer if plan.format.is_folder else _video_writer
            writer = make(stack, plan, clip, options, notices.append, store)
        sink = Sink(writer, plan=plan, clip=clip, notices=notices)
        stack.callback(sink.close)
        if plan.format is OutputFormat.RAW:
            stack.callback(raw.stop)  # first: the thread may wait for a reader that does not read
        yield sink
        sink.finish()


def _image_writer(
    stack: ExitStack,
    plan: OutputPlan,
    clip: Clip,
    options: EncodeOptions,
    notice: Callable[[str], None],
    store: OutputStore | None,
) -> Writer:
    form = _image_form(plan, clip)
    if clip.has_audio and options.audio:
        notice("Sound was left out: a folder of images cannot hold it.")
    folder = stack.enter_context(kept_by_nobody(plan) if store is None else store.place())
    first = 0 if store is None else store.frames
    return stack.enter_context(ImageWriter(folder, form=form, plan=plan, clip=clip, first=first))


def _image_form(plan: OutputPlan, clip: Clip) -> ImageForm:
    if plan.format is OutputFormat.EXR_FOLDER:
        require("OpenEXR", package="openexr", stage="OpenEXR output")
        from rvm_trt.runtime.video.exr import ExrForm

        return ExrForm(plan, clip)
    require("PIL", package="pillow", stage="image output")
    require("av", package="av", stage="image output")
    require("numba", package="numba", stage="image output")
    from rvm_trt.runtime.video.png import PngForm

    return PngForm(plan)


def _raw_writer(
    stack: ExitStack,
    plan: OutputPlan,
    clip: Clip,
    options: EncodeOptions,
    notice: Callable[[str], None],
) -> RawWriter:
    require("av", package="av", stage="raw output")
    require("numba", package="numba", stage="raw output")
    from rvm_trt.runtime.video.raw import RawWriter

    if clip.has_audio and options.audio:
        notice("Sound was left out: raw frames have no place for it.")
    return stack.enter_context(RawWriter(plan=plan, clip=clip, notice=notice))


def _video_writer(
    stack: ExitStack,
    plan: OutputPlan,
    clip: Clip,
    options: EncodeOptions,
    notice: Callable[[str], None],
    store: OutputStore | None,
) -> Writer:
    require("av", package="av", stage="video output")
    require("numba", package="numba", stage="video output")
    from rvm_trt.runtime.video.encode import VideoWriter

    if plan.codec is CodecName.AV1:
        os.environ.setdefault(
            "SVT_LOG", "1"
        )  # It reports its settings past FFmpeg; errors are all we want of it.
    assert store is None or isinstance(store, PacketFiles)
    file: Path = stack.enter_context(kept_by_nobody(plan) if store is None else store.place())
    writer = VideoWriter(
        file,
        plan=plan,
        clip=clip,
        options=options,
        notice=notice,
        segment_frames=SEGMENT_FRAMES if store is None else store.segment_frames,
        store=store,
    )
    return stack.enter_context(writer)
