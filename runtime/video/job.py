"""From a file to a file: reads, mattes and writes at once, on three threads."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import FrameError, RvmTrtError, VideoError
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.output import EncodeOptions, OutputKind, plan_output
from rvm_trt.runtime.video.pipe import Prefetch
from rvm_trt.runtime.video.sink import Sink, open_sink
from rvm_trt.runtime.video.source import Frame, Source, open_source

_READ_AHEAD = 2


class Session(Protocol):
    """What mattes frames, such as `rvm_trt.MattingSession`.

    Its mattes have an attribute per requested kind (``composite``, ``pha``, ``rgba``, ``fgr``), a uint8 array
    that is valid until the next matte.
    """

    @property
    def profile(self) -> Profile:
        """The profile, for its frame size."""

    def run(self, frames: Iterable[npt.NDArray[np.uint8]]) -> Iterator[Any]:
        """Yields one matte per frame, in order; it may read frames ahead."""


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """What a job did.

    Attributes:
        output: what was written.
        kind: which picture.
        frames: frames written.
        skipped_frames: pieces of the input that did not decode.
        width, height: frame size in pixels.
        rate: the source's frames per second.
        seconds: wall time from the first read to the finished file.
        fps: frames per second of that.
        decode_wait_ms, session_ms, encode_wait_ms: where that time went, in total: waiting for the decoder,
            in the session, and handing over to the encoder. The largest names the bottleneck.
        decode_ms, encode_ms: how long decoder and encoder worked in total, each on a thread of its own beside the
            session; conversion from and to RGB, reading and writing included.
        notices: one-line remarks for the user.
    """

    output: Path
    kind: OutputKind
    frames: int
    skipped_frames: int
    width: int
    height: int
    rate: Fraction
    seconds: float
    fps: float
    decode_wait_ms: float
    session_ms: float
    encode_wait_ms: float
    decode_ms: float
    encode_ms: float
    notices: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {**asdict(self), "output": str(self.output), "kind": self.kind.value, "rate": str(self.rate)}


def matte_video(
    source_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    session: Session,
    *,
    kind: str | OutputKind | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
    options: EncodeOptions | None = None,
    rate: Fraction | int | str | None = None,
) -> JobReport:
    """Mattes a video or a folder of images into a video or a folder of PNG images.

    The output has the source's frames, timestamps and sound, upright. It appears under its name only when
    whole.

    Args:
        source_path: what to read, see `open_source`.
        output_path: what to write, see `plan_output`.
        session: what mattes; its profile must have the source's size, and its outputs the kind.
        kind: ``composite``, ``pha``, ``rgba`` or ``fgr``; by the output where None.
        overwrite: whether something already there may be replaced.
        progress: called with the frames done and their expected number, after each frame.
        options: how to encode; ``threads`` holds for the decoder too.
        rate: frames per second of an image folder.

    Raises:
        VideoError: the input or the output is not usable; says how many frames were done.
        FrameError: the source's size is not the profile's.
        KeyboardInterrupt: Ctrl-C, with how many frames were done.
    """
    options = options or EncodeOptions()
    source = open_source(source_path, rate=rate, threads=options.threads)
    plan = plan_output(output_path, kind=kind, source=source_path, overwrite=overwrite)
    _check_size(source, session.profile)
    job = _Job(source, plan.kind, progress)
    start = time.perf_counter()
    with (
        _told_how_far(job),
        open_sink(
            output_path, clip=source.clip, kind=plan.kind, options=options, overwrite=overwrite
        ) as sink,
    ):
        job.run(session, sink)
        if sink.frames == 0:
            raise VideoError(
                f"input {str(source_path)!r}",
                got="no frames",
                expected="at least one",
                todo="Check the file.",
            )
    return job.report(
        plan.path,
        seconds=time.perf_counter() - start,
        encode_s=sink.busy_s,
        notices=[*source.notices, *sink.notices],
    )


class _Job:
    """The frame loop and its clocks."""

    def __init__(
        self, source: Source, kind: OutputKind, progress: Callable[[int, int | None], None] | None
    ) -> None:
        self.source = source
        self.kind = kind
        self.done = 0
        self._progress = progress
        self._decode_s = self._session_s = self._encode_s = self._decoder_s = 0.0

    def run(self, session: Session, sink: Sink) -> None:
        # Frames stay referenced until their matte has come: the session may read them up to then.
        pending: deque[Frame] = deque()
        with Prefetch(self.source, depth=_READ_AHEAD, name="rvm-trt-decode") as frames:
            mattes = iter(session.run(self._images(frames, pending)))
            while True:
                start, decode_s = time.perf_counter(), self._decode_s
                matte = next(mattes, None)
                self._session_s += time.perf_counter() - start - (self._decode_s - decode_s)
                if matte is None:
                    break
                start = time.perf_counter()
                frame = pending.popleft()
                image = getattr(matte, self.kind.value)
                sink.write(image, pts=frame.pts, time_base=frame.time_base, duration=frame.duration)
                self._encode_s += time.perf_counter() - start
                self._advance()
        self._decoder_s = frames.busy_s
        if pending:
            raise VideoError(
                "session",
                got=f"{self.done} mattes for {self.done + len(pending)} frames",
                expected="one each",
                todo="Use a session whose run() gives one matte per frame.",
            )

    def _images(self, frames: Iterable[Frame], pending: deque[Frame]) -> Iterator[npt.NDArray[np.uint8]]:
        iterator = iter(frames)
        while True:
            start = time.perf_counter()
            frame = next(iterator, None)
            self._decode_s += time.perf_counter() - start
            if frame is None:
                return
            pending.append(frame)
            yield frame.image

    def _advance(self) -> None:
        self.done += 1
        if self._progress is not None:
            self._progress(self.done, self.source.frame_count)

    def report(self, output: Path, *, seconds: float, encode_s: float, notices: list[str]) -> JobReport:
        return JobReport(
            output=output,
            kind=self.kind,
            frames=self.done,
            skipped_frames=self.source.skipped_frames,
            width=self.source.width,
            height=self.source.height,
            rate=self.source.rate,
            seconds=seconds,
            fps=self.done / seconds,
            decode_wait_ms=self._decode_s * 1e3,
            session_ms=self._session_s * 1e3,
            encode_wait_ms=self._encode_s * 1e3,
            decode_ms=self._decoder_s * 1e3,
            encode_ms=encode_s * 1e3,
            notices=tuple(notices),
        )


@contextmanager
def _told_how_far(job: _Job) -> Iterator[None]:
    try:
        yield
    except (RvmTrtError, KeyboardInterrupt) as error:
        total = job.source.frame_count
        far = f"Stopped after {job.done} of {total or 'an unknown number of'} frames; nothing was written."
        # The same exception, so that its type and its fields stay; only what it prints is longer.
        error.args = (f"{error} {far}".strip(),)
        raise


def _check_size(source: Source, profile: Profile) -> None:
    if (source.width, source.height) != (profile.width, profile.height):
        raise FrameError(
            f"input {str(source.clip.path)!r}",
            got=f"{source.width}x{source.height}",
            expected=f"{profile.width}x{profile.height} for profile {profile.name!r}",
            todo=f"Build an engine for {source.width}x{source.height}, or resize the video.",
        )
