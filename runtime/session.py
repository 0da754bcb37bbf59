"""The matting session: frames in, mattes out, the recurrent states kept between them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.engines.artifact import Engine
from rvm_trt.errors import EngineError, FrameError, OptionError, RvmTrtError, SessionError
from rvm_trt.options import Backend, Graph
from rvm_trt.profile import Profile
from rvm_trt.runtime.bands import available_threads
from rvm_trt.runtime.cpu import CpuPipeline
from rvm_trt.runtime.frames import OUTPUTS, Image, check_background, check_frame, check_outputs
from rvm_trt.runtime.matte import Matte

SLOTS = 2
State = tuple[npt.NDArray[np.float32], ...]


class MattingSession:
    """Mattes the frames of one video with a built engine.

    Args:
        engine: a core engine (batch 1), or the path of its folder, which is then verified.
        outputs: any of ``pha``, ``fgr``, ``rgba``, ``composite``; each costs memory and time only if asked for.
        background: for ``composite``: (red, green, blue) in 0..255 or an (H, W, 3) uint8 image, which is copied.
        threads: CPU threads; None takes every CPU this process may use.

    Frames are (H, W, 3) uint8 RGB arrays of the profile's size, contiguous. They are read during the call only.
    A session belongs to one thread at a time, and is a context manager.

    Raises:
        EngineError: the engine is damaged, foreign, or not one that this session runs.
        OptionError: an output has no such name, or the thread count is not positive.
        FrameError: the background does not fit.
        DependencyError: a library that the engine needs is not installed.
    """

    def __init__(
        self,
        engine: Engine | str | os.PathLike[str],
        *,
        outputs: Sequence[str] = ("composite",),
        background: tuple[int, int, int] | Image = (120, 255, 155),
        threads: int | None = None,
    ) -> None:
        self._pipeline: CpuPipeline | None = None
        # Verified here even when it was loaded before: its files may have changed since.
        loaded = Engine.load(engine.path if isinstance(engine, Engine) else engine)
        _check_engine(loaded)
        self.profile: Profile = loaded.profile
        self.outputs = check_outputs(outputs)
        image, colour = check_background(background, self.profile)
        self._frames: list[int | None] = [None] * SLOTS  # the frame whose outputs stand in each slot
        self._waiting: deque[int] = deque()
        self._submitted = 0
        self._slots = [self._allocate() for _ in range(SLOTS)]
        self._pipeline = CpuPipeline(loaded, threads=_check_threads(threads))
        self._pipeline.background(image, colour)
        self._pipeline.warm_up(self._slots[0])

    def submit(self, frame: object) -> None:
        """Takes the next frame. Its matte is given by the next `collect` whose turn it is.

        Raises:
            FrameError: the frame's shape, dtype or layout is not the profile's; the states stay as they were.
            SessionError: two mattes wait already, or the session is closed.
        """
        pipeline = self._open()
        if len(self._waiting) == SLOTS:
            raise SessionError(
                "submit",
                got=f"{SLOTS} mattes waiting",
                expected=f"at most {SLOTS - 1}",
                todo="Collect a matte before you submit the next frame.",
            )
        array = check_frame(frame, self.profile)
        slot = self._submitted % SLOTS
        self._frames[slot] = None
        pipeline.run(array.reshape(self.profile.height, -1), self._slots[slot])
        self._frames[slot] = self._submitted
        self._waiting.append(self._submitted)
        self._submitted += 1

    def collect(self) -> Matte:
        """Returns the matte of the oldest submitted frame, borrowed (see `Matte`).

        Raises:
            SessionError: no frame was submitted since the last one collected, or the session is closed.
        """
        self._open()
        if not self._waiting:
            raise SessionError(
                "collect", got="no matte waiting", expected="at least one", todo="Submit a frame first."
            )
        frame = self._waiting.popleft()
        return Matte(self, frame % SLOTS, frame)

    def process(self, frame: object) -> Matte:
        """Returns the matte of one frame at once: `submit` and `collect` where nothing else waits.

        Raises:
            FrameError, SessionError: as `submit`; also where an earlier matte was not collected.
        """
        self._require_none_waiting("process")
        self.submit(frame)
        return self.collect()

    def run(self, frames: Iterable[object]) -> Iterator[Matte]:
        """Yields the mattes of a sequence of frames in order, with one frame of latency.

        Each matte is valid until the next one is asked for. The states carry over from earlier frames: call `reset`
        between videos. Where the caller stops early, a matte that still waits is dropped.

        Raises:
            FrameError: as `submit`; the mattes of all frames before it, and before an error of ``frames``, come first.
            SessionError: as `submit`; also where an earlier matte was not collected.
        """
        self._require_none_waiting("run")
        try:
            try:
                for frame in frames:
                    self.submit(frame)
                    if len(self._waiting) == SLOTS:
                        yield self.collect()
            except RvmTrtError:
                while self._waiting:
                    yield self.collect()
                raise
            while self._waiting:
                yield self.collect()
        finally:
            self._waiting.clear()

    def reset(self) -> None:
        """Forgets the past: the next frame is treated as the first of a video. Waiting mattes stay."""
        self._open().reset()

    def state(self) -> State:
        """Returns r1..r4 after the last submitted frame: copies, (1, C, h, w) float32."""
        return tuple(state.copy() for state in self._open().states())

    def restore(self, state: Sequence[npt.NDArray[np.float32]]) -> None:
        """Sets the states, as `state` gave them, of this session or another with the same network size.

        Raises:
            FrameError: the number, a shape or a dtype differs; nothing is changed then.
        """
        targets = self._open().states()
        if len(state) != len(targets):
            raise FrameError(
                "state",
                got=f"{len(state)} tensors",
                expected="4, r1 to r4",
                todo="Pass what state() returned.",
            )
        for index, (value, target) in enumerate(zip(state, targets, strict=True), start=1):
            if not isinstance(value, np.ndarray) or value.shape != target.shape or value.dtype != np.float32:
                got = (
                    f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
                )
                raise FrameError(
                    f"r{index}",
                    got=got,
                    expected=f"{target.shape} float32 for profile {self.profile.name!r}",
                    todo="Pass what state() returned on an engine of the same network size.",
                )
        for value, target in zip(state, targets, strict=True):
            np.copyto(target, value)

    def set_background(self, background: tuple[int, int, int] | Image) -> None:
        """Changes the background of ``composite`` from the next frame on; takes what the constructor takes."""
        self._open().background(*check_background(background, self.profile))

    def close(self) -> None:
        """Releases the engine, the threads and the buffers. May be called twice; borrowed mattes end."""
        if self._pipeline is not None:
            self._pipeline.close()
        self._pipeline = None
        self._frames = [None] * SLOTS
        self._slots = []
        self._waiting.clear()

    def __enter__(self) -> MattingSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> CpuPipeline:
        if self._pipeline is None:
            raise SessionError(
                "session", got="closed", expected="open", todo="Make a new MattingSession with the engine."
            )
        return self._pipeline

    def _require_none_waiting(self, call: str) -> None:
        self._open()
        if self._waiting:
            raise SessionError(
                call,
                got=f"{len(self._waiting)} mattes waiting",
                expected="none",
                todo="Collect them first, or use submit and collect throughout.",
            )

    def _allocate(self) -> dict[str, Image]:
        height, width = self.profile.height, self.profile.width
        shapes = {"pha": (height, width)}
        for name, channels in (("fgr", 3), ("rgba", 4), ("composite", 3)):
            shapes[name] = (height, width * channels)
        # Outputs that nobody asked for have no rows; the kernels leave them out.
        return {
            name: np.zeros(shapes[name] if name in self.outputs else (0, shapes[name][1]), np.uint8)
            for name in OUTPUTS
        }

    def _borrow(self, matte: Matte, name: str) -> Image:
        if self._frames[matte._slot] != matte.frame:
            state = "closed session" if self._pipeline is None else "slot that a later frame uses"
            raise SessionError(
                f"matte of frame {matte.frame}",
                got=f"a {state}",
                expected="a matte that is still borrowed",
                todo="Read the outputs before the next frame, or keep matte.copy().",
            )
        if name not in self.outputs:
            raise OptionError(
                name,
                got=f"a session with outputs {', '.join(self.outputs)}",
                expected=f"one with {name!r} among them",
                todo=f"Make the session with outputs=(…, {name!r}).",
            )
        view: Image = self._slots[matte._slot][name].view()
        view.flags.writeable = False
        if name == "pha":
            return view
        image: Image = view.reshape(self.profile.height, self.profile.width, -1)
        return image


def _check_engine(engine: Engine) -> None:
    manifest = engine.manifest
    facts: dict[str, tuple[Any, Any]] = {
        "backend": (manifest.backend.value, Backend.CPU.value),
        "graph": (manifest.graph.value, Graph.CORE.value),
        "batch": (manifest.profile.batch, 1),
    }
    for name, (got, expected) in facts.items():
        if got != expected:
            raise EngineError(
                f"{engine.path}, {name}",
                got=repr(got),
                expected=repr(expected),
                todo="Build an engine that a CPU session runs: backend 'cpu', graph 'core', batch 1.",
            )


def _check_threads(threads: int | None) -> int:
    if threads is None:
        return available_threads()
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 1024:
        raise OptionError(
            "threads",
            got=repr(threads),
            expected="an integer from 1 to 1024",
            todo="Give a number of CPU threads.",
        )
    return threads
