"""What can be read only once: standard input and the network."""

from __future__ import annotations

import io
import os
import re
import select
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.container import Readable, open_input
from rvm_trt.runtime.video.decode import DecodedSource, VideoSource
from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.source import STANDARD_INPUT, Frame, Source

SCHEMES = ("http", "https", "rtsp", "rtsps", "udp", "srt")
_FILES = ("http", "https")
_PASSWORD = re.compile(r"(?<=://)[^/@]*@")
_POLL_S = 0.2
_REACHABLE = "Check the address, and that it can be reached from here."
_STREAMABLE = (
    "Send a container that can be streamed: Matroska, MPEG-TS, Y4M, or MP4 written with -movflags +faststart."
)


class StreamSource(DecodedSource):
    """A video that is read once, as it comes. It stays open from here to the end of its iteration.

    Args:
        container: the open input; it becomes the source's.
        path: what it is called in `Clip`.
        subject: what errors are about.
        threads: decoder threads; 0 for one per core.
        options: how to read it. It cannot start later.
        todo: what to do where it cannot be read.
        stop: called by `close`, to end a read that waits.

    Raises:
        VideoError: it is no video, is HDR, or would have to start later.
    """

    def __init__(
        self,
        container: InputContainer,
        *,
        path: Path,
        subject: str,
        threads: int,
        options: InputOptions,
        todo: str,
        stop: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(path, subject=subject, threads=threads, options=options, todo=todo)
        self._stop = stop
        self._taken = threading.Lock()  # once and for all
        with ExitStack() as stack:
            stack.enter_context(container)
            if options.start_s:
                raise self._error(
                    f"a start at {options.start_s:g} s",
                    "to be read from where it is",
                    "Leave out the start, or save the input to a file first.",
                )
            self._reader_now = self._reader(container)
            pictures = self._counted(self._reader_now)
            if not self._reader_now.has_durations:  # all others come without waiting for the next
                pictures = self._lasting(self._reader_now, pictures)
            first = self._begin(self._reader_now, next(pictures, None), url=None, live=True)
            self._pictures = chain([first], pictures)
            self._stack = stack.pop_all()

    def frames_from(self, index: int) -> Iterator[Frame]:
        """Yields the frames from one index on, once.

        A stream that stops gives what came, and a notice.

        Raises:
            VideoError: it was read before, its size changes, or a frame's colour space is unknown.
        """
        if not self._take():
            raise self._error(
                "a second reading",
                "to be read once, as it comes",
                "Open it again, or save it to a file first.",
            )
        with self._stack:
            yield from self._frames(self._pictures, index)
        if self._stop is None and self._options.stop_s is None:
            self.notice("The stream ended.")

    def close(self) -> None:
        """Ends the iteration, also where it waits for standard input; a network read ends by its time-out."""
        self._reader_now.stop()
        if self._stop is not None:
            self._stop()
        if self._take():
            self._stack.close()

    def _take(self) -> bool:
        """Whether it is the caller's from now on; an end and the beginning of a reading may meet.

        It never waits: a signal that ends the reading may come in between, on the same thread.
        """
        return self._taken.acquire(blocking=False)


class StandardInput:
    """Standard input as a file that another thread can end. It stays open.

    Args:
        number: the file's descriptor.
    """

    name = "standard input"

    def __init__(self, number: int) -> None:
        self._number = number
        self._stopped = False
        self.is_empty = True  # until something was read

    def read(self, size: int, /) -> bytes:
        """Returns what is there, at most ``size`` bytes, as soon as there is something; none at the end."""
        while not self._stopped:
            if select.select([self._number], [], [], _POLL_S)[0]:
                data = os.read(self._number, size)
                self.is_empty = self.is_empty and not data
                return data
        return b""

    def seekable(self) -> bool:
        """Whether it is a file, and not a pipe."""
        return stat.S_ISREG(os.fstat(self._number).st_mode)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Goes to an offset in bytes, and returns it from the beginning."""
        return os.lseek(self._number, offset, whence)

    def tell(self) -> int:
        """Returns the offset in bytes."""
        return self.seek(0, os.SEEK_CUR)

    def stop(self) -> None:
        """Ends the file here. Any thread may call it."""
        self._stopped = True


def open_stream(name: str, *, threads: int, options: InputOptions) -> Source:
    """Opens ``-`` for standard input, or a URL.

    A file behind HTTP is a `VideoSource`, which can be read again and has its sound; what is endless is live.

    Raises:
        VideoError: another scheme than `SCHEMES`, nothing on standard input, or see `StreamSource`.
    """
    if name == STANDARD_INPUT:
        file = _standard_input()
        return _made_beside(
            lambda: StreamSource(
                _opened(file, "standard input", todo=_STREAMABLE),
                path=Path(name),
                subject="standard input",
                threads=threads,
                options=options,
                todo=_STREAMABLE,
                stop=file.stop,
            ),
            stop=file.stop,
        )
    scheme = name.partition("://")[0].lower()
    shown = _PASSWORD.sub("", name)
    subject = f"input {shown!r}"
    if scheme not in SCHEMES:
        raise VideoError(
            subject,
            got=f"the scheme {scheme!r}",
            expected=f"one of {', '.join(SCHEMES)}",
            todo="Give such a URL, or a file.",
        )
    container = _opened(name, subject, todo=_REACHABLE)
    path = Path(shown)
    if scheme in _FILES and container.duration:
        container.close()
        return VideoSource(name, path=path, subject=subject, threads=threads, options=options)
    return StreamSource(
        container, path=path, subject=subject, threads=threads, options=options, todo=_REACHABLE
    )


def _made_beside(make: Callable[[], Source], *, stop: Callable[[], None]) -> Source:
    """Opens a source on a thread of its own, so that Ctrl-C calls it off: FFmpeg does not let it through."""
    with ThreadPoolExecutor(1, thread_name_prefix="rvm-trt-open") as executor:
        try:
            return executor.submit(make).result()
        except BaseException:
            stop()
            raise


def _opened(address: Readable | str, subject: str, *, todo: str) -> InputContainer:
    try:
        return open_input(address)
    except (av.FFmpegError, OSError) as error:
        if isinstance(address, StandardInput) and address.is_empty:
            raise VideoError(
                subject,
                got="nothing (0 bytes)",
                expected="a video",
                todo="See why the program that writes it stopped, or whether the file is empty.",
            ) from error
        reason = "no answer in time" if isinstance(error, av.error.ExitError) else error.strerror
        raise VideoError(
            subject, got=f"a stream that does not open ({reason})", expected="a video", todo=todo
        ) from error


def _standard_input() -> StandardInput:
    try:
        number = sys.stdin.fileno()
    except (AttributeError, io.UnsupportedOperation, ValueError):  # none at all, not a file, or closed
        number = -1
    if number < 0 or os.isatty(number):
        raise VideoError(
            "standard input",
            got="no video" if number < 0 else "a terminal",
            expected="a video from a pipe or a file",
            todo="Pipe one in: ffmpeg -i in.mp4 -c copy -f matroska - | rvm-trt matte - -o out.mp4.",
        )
    return StandardInput(number)
