"""Raw frames to standard output, for another program."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from types import TracebackType
from typing import Any

import av
import numpy as np

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.codecs import packed_format
from rvm_trt.runtime.video.colour_out import FromRgb, plane
from rvm_trt.runtime.video.output import OutputPlan
from rvm_trt.runtime.video.slot import FrameSlot
from rvm_trt.runtime.video.source import Clip

_STANDARD_OUTPUT = 1
_POLL_S = 0.1


class RawWriter:
    """Writes whole frames, one after the other, without padding: packed pixels, or the planes of YUVA.

    Packed pixels are gray (``pha``), rgb24 or rgba, and with 16 bits gray16le and rgba64le, by FFmpeg's names.
    Timestamps and sound have no place among raw frames.

    Args:
        plan: the output, for its kind, depth and raw format.
        clip: the size.
        notice: called with each remark for the user, such as what FFmpeg must be told to read the frames.
    """

    def __init__(self, *, plan: OutputPlan, clip: Clip, notice: Callable[[str], None]) -> None:
        self._size = (clip.width, clip.height)
        self._packed = packed_format(plan.kind, plan.depth)
        self._from_rgb = None if plan.raw_format is None else FromRgb(plan.raw_format.value)
        self._frames = 0
        # Unbuffered, so that nothing is left to fail when the interpreter ends.
        self._file = open(_without_blocking(_STANDARD_OUTPUT), "wb", buffering=0)  # noqa: SIM115
        self._stopped = False
        pixel_format = self._packed if plan.raw_format is None else plan.raw_format.value
        notice(
            f"Raw frames; for FFmpeg: -f rawvideo -pixel_format {pixel_format} "
            f"-video_size {clip.width}x{clip.height} -framerate {clip.rate}"
        )

    def __enter__(self) -> RawWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def make_slot(self) -> FrameSlot:
        """Returns memory for one frame, to be filled and given to `encode`."""
        width, height = self._size
        return FrameSlot(av.VideoFrame(width, height, self._packed), width=width, height=height)

    def encode(self, slot: FrameSlot, pts: int, time_base: Fraction, duration: int) -> None:  # noqa: ARG002
        """Writes a frame; raises `VideoError` where nobody reads it."""
        frame = slot.frame if self._from_rgb is None else self._from_rgb.convert(slot.frame)
        for index in range(len(frame.planes)):
            self._write(np.ascontiguousarray(plane(frame, index)).data)
        self._frames += 1

    def finish(self) -> None:
        """Every frame is already written."""

    def stop(self) -> None:
        """Lets `encode` return, though nobody takes what it writes. Any thread may call it."""
        self._stopped = True

    def close(self) -> None:
        """Lets go of standard output, which stays open. May be called twice."""
        self._file.close()

    def _write(self, data: Any) -> None:
        rest = memoryview(data).cast("B")
        try:
            while rest and not self._stopped:
                written = self._file.write(rest)
                if written is None:  # the pipe is full
                    select.select([], [self._file], [], _POLL_S)
                else:
                    rest = rest[written:]
        except BrokenPipeError as error:
            raise self._error(
                "a pipe that its reader closed",
                "Keep the program that reads it running, or see why it stopped.",
            ) from error
        except OSError as error:
            raise self._error(f"{error.strerror}", "Check where standard output leads.") from error

    def _error(self, got: str, todo: str) -> VideoError:
        return VideoError(
            "standard output",
            got=f"{got} after {self._frames} whole frames",
            expected="every frame to be taken",
            todo=todo,
        )


def _without_blocking(number: int) -> int:
    """Returns a descriptor of an open file, for the caller to close; of a pipe one that does not wait for its reader.

    It is opened anew for that: other programs that write to the same pipe wait as before.
    """
    if stat.S_ISFIFO(os.fstat(number).st_mode):
        with suppress(OSError):  # nobody reads it, it is another user's, or there is no /proc
            return os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
    return os.dup(number)
