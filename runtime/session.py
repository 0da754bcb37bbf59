"""The matting session: frames in, mattes out, the recurrent states kept between them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from math import prod
from types import TracebackType

import numpy as np
import numpy.typing as npt

from rvm_trt.engines.artifact import Engine
from rvm_trt.errors import FrameError, OptionError, RvmTrtError, SessionError
from rvm_trt.profile import Profile
from rvm_trt.runtime.bands import available_threads
from rvm_trt.runtime.frames import Image, check_background, check_frame, check_outputs
from rvm_trt.runtime.matte import Matte
from rvm_trt.runtime.opening import open_engine
from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.stages import OUTPUT_CHANNELS

SLOTS = 2
State = tuple[npt.NDArray[np.float32], ...]


class MattingSession:
    """Mattes the frames of one video with a built engine.

    Args:
        engine: a core engine (batch 1), or the path of its folder, which is then verified.
        outputs: any of ``pha``, ``fgr``, ``rgba``, ``composite``; each costs memory and time only if asked for.
        background: for ``composite``: (red, green, blue) in 0..255 or an (H, W, 3) uint8 image, which is copied.
        threads: CPU threads, for a CPU engine; None takes every CPU this process may use.
        gpu: which GPU, for a TensorRT engine, as ``CUDA_VISIBLE_DEVICES`` numbers them.
        spill_suppression: whether ``composite``, ``fgr`` and ``rgba`` show the foreground that the network predicts,
            free of the old background's light; else they show the frame's own colours, unchanged. ``pha`` is the same.

    Frames are (H, W, 3) uint8 RGB arrays of the profile's size, contiguous. They are read during the call only.
    A session belongs to one thread at a time, and is a context manager.

    Raises:
        EngineError: the engine is damaged, foreign, or not one that this session runs.
        OptionError: an output has no such name, the thread count is not positive, or there is no such GPU.
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
        gpu: int = 0,
        spill_suppression: bool = True,
    ) -> None:
        self._schedule: Schedule | None = None
        # Verified here even when it was loaded before: its files may have changed since.
        loaded = Engine.load(engine.path if isinstance(engine, Engine) else engine)
        self.profile: Profile = loaded.profile
        self._state_type = np.dtype(loaded.manifest.dtype)
        self.outputs = check_outputs(outputs)
        behind = check_background(background, self.profile)
        threads = _check_threads(threads)
        self._frames: list[int | None] = [None] * SLOTS  # the frame whose outputs stand in each slot
        self._submitted = 0
        self._owned = ExitStack()
        with self._owned as owned:
            opened = open_engine(loaded, self.outputs, threads=threads, gpu=gpu, owned=owned)
            self._lending = opened.lending
            self._schedule = Schedule(
                opened.device, opened.stages, depth=SLOTS, spill_suppression=spill_suppression
            )
            self._images = [self._divide(self._schedule.output(slot)) for slot in range(SLOTS)]
            self._set_background(*behind)
            self._owned = owned.pop_all()

    def submit(self, frame: object) -> None:
        """Takes the next frame. Its matte is given by the next `collect` whose turn it is.

        Raises:
            FrameError: the frame's shape, dtype or layout is not the profile's; the states stay as they were.
            SessionError: two mattes wait already, or the session is closed.
        """
        schedule = self._open()
        schedule.check_room()
        array = check_frame(frame, self.profile)
        slot = self._submitted % SLOTS
        self._frames[slot] = None
        schedule.submit((array,))
        self._frames[slot] = self._submitted
        self._submitted += 1

    def collect(self) -> Matte:
        """Returns the matte of the oldest submitted frame, borrowed (see `Matte`).

        Raises:
            SessionError: no frame was submitted since the last one collected, or the session is closed.
        """
        schedule = self._open()
        frame = self._submitted - schedule.waiting
        return Matte(self, schedule.collect(), frame)

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
            FrameError: as `submit`; the mattes of all frames before it come first.
            SessionError: as `submit`; also where an earlier matte was not collected.
        """
        schedule = self._require_none_waiting("run")
        try:
            try:
                for frame in frames:
                    self.submit(frame)
                    if schedule.waiting == SLOTS:
                        yield self.collect()
            except RvmTrtError:
                while schedule.waiting:
                    yield self.collect()
                raise
            while schedule.waiting:
                yield self.collect()
        finally:
            if self._schedule is not None:
                schedule.discard()

    def enqueue(self, src: object, outputs: Mapping[str, object], *, stream: object = None) -> None:
        """Mattes a frame that lies in the caller's memory into the caller's memory, in the order of its stream.

        Nothing is copied. On a GPU the host waits for nothing: what ``stream`` holds so far comes first, what is put
        there later finds the outputs written. On the CPU all is done on return. docs/embedding.md says the rest.

        Args:
            src: the frame, (H, W, 3) uint8 RGB, contiguous: an array with DLPack or the CUDA array interface, or its
                address on the GPU; on the CPU a NumPy array or one with DLPack.
            outputs: name → where to write, for every output of the session: writable arrays of the shapes of
                `Matte`'s, or addresses. Nothing may overlap.
            stream: the caller's CUDA stream, of any library, or its handle; None is the legacy default stream.

        Raises:
            FrameError: an array's shape, dtype, layout or device does not fit; nothing was done.
            OptionError: an output has no memory or no such name, or ``stream`` is no stream of the session's device.
            SessionError: the session is closed.
        """
        self._lending.enqueue(self._open(), src, outputs, stream)

    def reset(self) -> None:
        """Forgets the past: the next frame is treated as the first of a video. Waiting mattes stay."""
        self._open().reset()

    def state(self) -> State:
        """Returns r1..r4 after the last submitted frame: copies, (1, C, h, w) float32."""
        state, start = self._open().state(), 0
        tensors = []
        for shape in self.profile.state_shapes:
            stop = start + self._state_type.itemsize * prod(shape)
            tensor = state[start:stop].view(self._state_type).reshape(shape)
            tensors.append(tensor.astype(np.float32, copy=False))
            start = stop
        return tuple(tensors)

    def restore(self, state: Sequence[npt.NDArray[np.float32]]) -> None:
        """Sets the states, as `state` gave them, of this session or another with the same network size.

        Raises:
            FrameError: the number, a shape or a dtype differs; nothing is changed then.
        """
        schedule, shapes = self._open(), self.profile.state_shapes
        if len(state) != len(shapes):
            raise FrameError(
                "state",
                got=f"{len(state)} tensors",
                expected="4, r1 to r4",
                todo="Pass what state() returned.",
            )
        for index, (value, shape) in enumerate(zip(state, shapes, strict=True), start=1):
            if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != np.float32:
                got = (
                    f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
                )
                raise FrameError(
                    f"r{index}",
                    got=got,
                    expected=f"{shape} float32 for profile {self.profile.name!r}",
                    todo="Pass what state() returned on an engine of the same network size.",
                )
        tensors = np.concatenate([value.ravel() for value in state])
        schedule.restore(tensors.astype(self._state_type, copy=False).view(np.uint8))

    def set_background(self, background: tuple[int, int, int] | Image) -> None:
        """Changes the background of ``composite`` from the next frame on; takes what the constructor takes."""
        self._open()
        self._set_background(*check_background(background, self.profile))

    def close(self) -> None:
        """Releases the engine, the threads and the buffers. May be called twice; borrowed mattes end."""
        self._schedule = None
        self._frames = [None] * SLOTS
        self._images = []
        self._owned.close()

    def __enter__(self) -> MattingSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Schedule:
        if self._schedule is None:
            raise SessionError(
                "session", got="closed", expected="open", todo="Make a new MattingSession with the engine."
            )
        return self._schedule

    def _require_none_waiting(self, call: str) -> Schedule:
        schedule = self._open()
        if schedule.waiting:
            raise SessionError(
                call,
                got=f"{schedule.waiting} mattes waiting",
                expected="none",
                todo="Collect them first, or use submit and collect throughout.",
            )
        return schedule

    def _set_background(self, image: Image, colour: npt.NDArray[np.float32]) -> None:
        red, green, blue = (int(value) for value in colour)
        if image.shape[0]:
            self._open().set_background(image=image)
        else:
            self._open().set_background(colour=(red, green, blue))

    def _divide(self, memory: Image) -> dict[str, Image]:
        """Returns the outputs in a slot's memory by name, (H, W) or (H, W, C), read-only."""
        images, start = {}, 0
        for name in self.outputs:
            channels = OUTPUT_CHANNELS[name]
            shape = (self.profile.height, self.profile.width) + ((channels,) if channels > 1 else ())
            image = memory[start : start + prod(shape)].reshape(shape)
            image.flags.writeable = False
            images[name] = image
            start += prod(shape)
        return images

    def _borrow(self, matte: Matte, name: str) -> Image:
        if self._frames[matte._slot] != matte.frame:
            state = "closed session" if self._schedule is None else "slot that a later frame uses"
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
        return self._images[matte._slot][name]


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
