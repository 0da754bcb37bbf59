"""The frame loop of a job: reads ahead, mattes, writes, and keeps what is done at the end of each segment."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.checkpoint import Checkpoint
from rvm_trt.runtime.video.job_options import JobOptions, Session
from rvm_trt.runtime.video.journal import Journal
from rvm_trt.runtime.video.pipe import Prefetch
from rvm_trt.runtime.video.sink import Sink
from rvm_trt.runtime.video.source import Frame, Source

_READ_AHEAD = 2


class FrameLoop:
    """Runs the frames of a source through a session into sinks.

    Args:
        source: what is read.
        session: what mattes.
        options: what happens between the frames.
        journal: keeps the whole segments, and says where to begin; None keeps nothing.
        progress: called with the frames done and their expected number, after each frame.

    Attributes:
        done: frames written, those that were kept included.
        cuts: the source's numbers of the frames at which a cut was found.
        decode_wait_s, session_s, encode_wait_s: where the time of `run` went.
        decode_s: how long the decoder worked.
    """

    def __init__(
        self,
        source: Source,
        session: Session,
        *,
        options: JobOptions,
        journal: Journal | None,
        progress: Callable[[int, int | None], None] | None,
    ) -> None:
        start = None if journal is None else journal.checkpoint
        self.done = 0 if start is None else start.frames
        self.cuts: list[int] = [] if start is None else [*start.cuts]
        self.decode_wait_s = self.session_s = self.encode_wait_s = self.decode_s = 0.0
        self._source = source
        self._session = session
        self._options = options
        self._journal = journal
        self._progress = progress
        self._start = start
        self._next_index = 0 if start is None else start.next_index
        self._last_time = None if start is None else start.last_time
        self._given = self.done  # frames to be written that the session was given
        self._matted = 0
        self._behind: object = None
        # Frames stay referenced until their matte has come: the session may read them up to then.
        self._pending: deque[Frame] = deque()
        self._is_over = False

    def run(self, sinks: Sequence[Sink]) -> None:
        """Runs all frames from where the journal stands; raises what source, session and sinks raise."""
        self._restore()
        frames = Prefetch(
            self._source.frames_from(self._next_index), depth=_READ_AHEAD, name="rvm-trt-decode"
        )
        with frames:
            try:
                reader = iter(frames)
                while not self._is_over:
                    self._run_segment(reader, sinks)
                    self._commit(sinks)
            finally:
                self._source.close()
        self.decode_s = frames.busy_s

    def _restore(self) -> None:
        if self._start is None:
            self._session.reset()
            return
        if self._last_time is not None:
            self._source.mark(self._next_index - 1, self._last_time)
        self._session.restore(self._start.states)
        if self._options.cuts is not None and self._start.detector is not None:
            self._options.cuts.restore(self._start.detector)

    def _run_segment(self, reader: Iterator[Frame], sinks: Sequence[Sink]) -> None:
        mattes = iter(self._session.run(self._images(reader)))
        while True:
            start, waited = time.perf_counter(), self.decode_wait_s
            matte = next(mattes, None)
            self.session_s += time.perf_counter() - start - (self.decode_wait_s - waited)
            if matte is None:
                break
            frame = self._pending.popleft()
            self._matted += 1
            if not frame.warm_up:
                self._write(matte, frame, sinks)
        if self._pending:
            raise VideoError(
                "session",
                got=f"{self._matted} mattes for {self._matted + len(self._pending)} frames",
                expected="one each",
                todo="Use a session whose run() gives one matte per frame.",
            )

    def _images(self, reader: Iterator[Frame]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yields the images of one segment; of all frames where nothing is kept."""
        end = None if self._journal is None else self._given + self._journal.segment_frames
        while self._given != end:
            start = time.perf_counter()
            frame = next(reader, None)
            self.decode_wait_s += time.perf_counter() - start
            if frame is None:
                self._is_over = True
                return
            self._prepare(frame)
            self._pending.append(frame)
            self._given += not frame.warm_up
            self._next_index = frame.index + 1
            self._last_time = frame.pts * frame.time_base
            yield frame.image

    def _prepare(self, frame: Frame) -> None:
        """Does what comes before a frame; the session has every frame before it, and not this one."""
        options = self._options
        if options.cuts is not None and options.cuts.is_cut(frame.image):
            self._session.reset()
            if not frame.warm_up:
                self.cuts.append(frame.index)
        elif (
            options.reset_every
            and self._given
            and not frame.warm_up
            and not self._given % options.reset_every
        ):
            self._session.reset()
        if options.backdrop is not None and not frame.warm_up:
            behind = options.backdrop.image(frame)
            if behind is not None and behind is not self._behind:
                self._session.set_background(behind)
                self._behind = behind

    def _write(self, matte: object, frame: Frame, sinks: Sequence[Sink]) -> None:
        start = time.perf_counter()
        for sink in sinks:
            image = getattr(matte, sink.plan.kind.value)
            sink.write(image, pts=frame.pts, time_base=frame.time_base, duration=frame.duration)
        self.encode_wait_s += time.perf_counter() - start
        self.done += 1
        if self._progress is not None:
            self._progress(self.done, self._source.frame_count)

    def _commit(self, sinks: Sequence[Sink]) -> None:
        journal = self._journal
        if journal is None or self.done < journal.frames + journal.segment_frames:
            return
        start = time.perf_counter()
        for sink in sinks:
            sink.drain()
        cuts = self._options.cuts
        checkpoint = Checkpoint(
            frames=self.done,
            next_index=self._next_index,
            last_time=self._last_time,
            cuts=tuple(self.cuts),
            states=tuple(self._session.state()),
            detector=None if cuts is None else cuts.state(),
        )
        journal.commit(checkpoint)
        self.encode_wait_s += time.perf_counter() - start
