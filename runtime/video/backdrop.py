"""Backgrounds that change from frame to frame, and the video that runs behind the person in a loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.fitting import Fitting
from rvm_trt.runtime.video.input_options import Hdr, InputOptions
from rvm_trt.runtime.video.pipe import Prefetch
from rvm_trt.runtime.video.source import Frame, open_source

_LOOK_AHEAD = 2
# Matroska rounds timestamps to milliseconds: a frame that is due within half of one is shown.
_COARSEST = Fraction(1, 1000)


class Backdrop(Protocol):
    """What is behind each frame of a video. Belongs to one thread at a time; is a context manager."""

    def image(self, frame: Frame) -> tuple[int, int, int] | npt.NDArray[np.uint8] | None:
        """Returns what is behind a frame: (R, G, B), or (H, W, 3) uint8 of the frame's size; None for no change.

        It depends on the frame's time and image alone, not on the frames before. The array is not written to again,
        and may be the same one as for the frame before: then it shows the same.
        """

    @property
    def notices(self) -> tuple[str, ...]:
        """One-line remarks for the user, so far."""
        return ()

    def close(self) -> None:
        """Releases threads and files. May be called twice."""

    def __enter__(self) -> Backdrop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shown:
    """A picture of the loop, and when it is shown: from ``start`` on, in seconds, and at ``stop`` no longer."""

    image: npt.NDArray[np.uint8]
    start: Fraction
    stop: Fraction


class VideoBackdrop(Backdrop):
    """A video in a loop, at the speed at which it was recorded.

    At time t the picture that the video shows at t modulo its length is behind, whatever the two frame rates are. Its
    length is that of its frames; its sound plays no part. A thread decodes and scales a few pictures ahead, once for
    each round; nothing else is kept.

    Args:
        path: a video file, or whatever else `open_source` opens.
        fitting: how its pictures become frames.
        start: time of the frames in seconds at which the video begins; before, its first picture is shown.
        hdr: whether HDR is refused, or its codes used as stored.
        threads: of the decoder; 0 for one per core.

    Raises:
        VideoError: the video cannot be read; also from `image`.
        DependencyError: PyAV or numba is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fitting: Fitting,
        *,
        start: Fraction = Fraction(0),
        hdr: Hdr = Hdr.REFUSE,
        threads: int = 0,
    ) -> None:
        self._path = Path(path)
        self._start = start
        try:
            self._source = open_source(self._path, threads=threads, options=InputOptions(hdr=hdr))
        except VideoError as error:
            raise self._named(error) from error
        self._fitting = fitting
        self._length: Fraction | None = None  # known once the loop has ended for the first time
        self._wanted = Fraction(0)
        self._pictures: Prefetch[_Shown] | None = None
        self._coming: Iterator[_Shown] = iter(())
        self._shown: _Shown | None = None
        self._lost = 0

    def image(self, frame: Frame) -> npt.NDArray[np.uint8]:
        """See `Backdrop.image`."""
        slack = (min(frame.time_base, _COARSEST) + min(self._source.clip.time_base, _COARSEST)) / 2
        time = max(frame.pts * frame.time_base - self._start, Fraction(0)) + slack
        while True:
            self._wanted = time if self._length is None else time % self._length
            if self._shown is None or self._wanted < self._shown.start:
                self._rewind()
            elif self._wanted < self._shown.stop:
                return self._shown.image
            else:
                self._advance(self._shown)

    @property
    def notices(self) -> tuple[str, ...]:
        """See `Backdrop.notices`."""
        lost = max(self._lost, self._source.skipped_frames)
        damage = [f"{lost} damaged pieces were skipped."] if lost else []
        return tuple(f"background {self._path.name}: {text}" for text in (*self._source.notices, *damage))

    def close(self) -> None:
        """See `Backdrop.close`."""
        self._shown = None
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None

    def _rewind(self) -> None:
        """Begins another round."""
        self.close()
        self._pictures = Prefetch(self._round(), depth=_LOOK_AHEAD, name="rvm-trt-background")
        self._coming = iter(self._pictures)
        self._shown = self._next()
        if self._shown is None:
            raise VideoError(
                f"background {str(self._path)!r}",
                got="no frame that decodes any more",
                expected="the video that it was when the job began",
                todo="Leave the file alone until the job has ended.",
            )

    def _advance(self, shown: _Shown) -> None:
        """Goes on to the next picture, or finds that the round is over."""
        following = self._next()
        if following is not None:
            self._shown = following
        else:
            self._length = shown.stop
            self._lost = max(self._lost, self._source.skipped_frames)

    def _next(self) -> _Shown | None:
        """Returns the next picture of the round, None at its end."""
        try:
            return next(self._coming, None)
        except VideoError as error:
            self.close()  # else the next call would take it for the end of the round
            raise self._named(error) from error

    def _round(self) -> Iterator[_Shown]:
        """Yields the pictures of one round, without those that are over before the time that is wanted.

        Runs on the thread that looks ahead. Within a round, what is wanted only grows: a picture that is left out
        because its time is over is not wanted later either.
        """
        origin: Fraction | None = None
        before: tuple[Frame, Fraction] | None = None
        for frame in self._source:
            time = frame.pts * frame.time_base
            origin = time if origin is None else origin
            start = time - origin
            if before is not None:
                start = max(start, before[1])
                if start > self._wanted:
                    yield self._picture(*before, stop=start)
            before = frame, start
        if before is not None:
            frame, start = before
            length = frame.duration * frame.time_base or 1 / self._source.rate
            yield self._picture(frame, start, stop=start + length)

    def _picture(self, frame: Frame, start: Fraction, *, stop: Fraction) -> _Shown:
        image = self._fitting.place(frame.image, pixel_aspect=self._source.clip.pixel_aspect)
        return _Shown(image=image, start=start, stop=stop)

    def _named(self, error: VideoError) -> VideoError:
        """Returns an error of the input as one of the background."""
        subject = f"background {str(self._path)!r}"
        return VideoError(subject, got=error.got, expected=error.expected, todo=error.todo)
