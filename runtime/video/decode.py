"""Frames out of a video file, with PyAV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import chain, dropwhile
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video import describe
from rvm_trt.runtime.video.colour import ToRgb
from rvm_trt.runtime.video.container import open_input
from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.orientation import Orientation
from rvm_trt.runtime.video.picture import Picture, lasting
from rvm_trt.runtime.video.reader import Reader
from rvm_trt.runtime.video.source import Clip, Frame, Source
from rvm_trt.runtime.video.timing import on_grid
from rvm_trt.runtime.video.window import Window

# How many seconds before the wanted time to look for a key frame, one attempt after the other.
_BEFORE = (0, 1, 5, 20, 100)
# A deinterlaced frame depends on the one before it.
_DEINTERLACED_BEFORE = Fraction(1, 2)
_FRAMES_BETWEEN_MARKS = 50


class DecodedSource(Source):
    """What decodes with FFmpeg: checks of the first frame, then upright RGB frames with their times.

    Args:
        path: what it is called in `Clip`.
        subject: what errors are about.
        threads: decoder threads; 0 for one per core.
        options: which part to read, and how.
        todo: what to do where it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        subject: str,
        threads: int,
        options: InputOptions,
        todo: str = "Check that the file is a whole, playable video.",
    ) -> None:
        self._path = path
        self._subject = subject
        self._todo = todo
        self._threads = threads
        self._options = options
        self._window: Window | None = None
        self._orientation = Orientation()
        self.skipped_frames = 0
        self.notices = []

    def _begin(self, reader: Reader, first: Picture | None, *, url: str | None, live: bool) -> Picture:
        """Takes what is known from an open input; raises `VideoError` where its first frame is refused."""
        if first is None:
            raise self._error(
                "no frame that decodes",
                f"video that the decoder {reader.stream.codec_context.name!r} can read",
            )
        remark = describe.check_range(first.frame, self._options.hdr, subject=self._subject)
        if remark is not None:
            self.notice(remark)
        sound = bool(reader.container.streams.audio)
        if live and sound:
            self.notice("Sound was left out: the input can be read only once.")
        origin = describe.origin_of(reader.container, first, sound=sound and not live)
        self._window = Window.of(self._options, origin=origin)
        self._orientation = describe.orientation_of(first.frame)
        width, height = self._orientation.size(width=first.frame.width, height=first.frame.height)
        super().__init__(
            Clip(
                path=self._path,
                width=width,
                height=height,
                rate=reader.rate,
                time_base=first.time_base,
                frame_count=describe.frame_count_of(
                    reader.container, reader.stream, reader.rate, self._window, origin
                ),
                start=origin,
                stop=None if self._window is None else self._window.stop,
                pixel_aspect=describe.pixel_aspect(reader.stream, self._orientation),
                has_audio=sound and not live,
                colour=describe.colour_tags(first.frame),
                live=live,
                url=url,
            ),
            notices=self.notices,
        )
        return first

    def _frames(self, pictures: Iterable[Picture], index: int, *, first: int = 0) -> Iterator[Frame]:
        to_rgb = ToRgb(orientation=self._orientation, threads=self._threads)
        for number, picture in enumerate(self._in_window(pictures), start=first):
            self._check_size(picture.frame, number)
            if number % _FRAMES_BETWEEN_MARKS == 0:
                self.mark(number, picture.time)
            if number < index:
                continue
            try:
                image = to_rgb.convert(picture.frame)
            except av.FFmpegError as error:
                raise self._error(
                    f"frame {number} in {picture.frame.format.name}, colour space {picture.frame.colorspace}",
                    "a pixel format that converts to RGB",
                ) from error
            yield self._frame(picture, number, image)

    def _frame(self, picture: Picture, index: int, image: npt.NDArray[np.uint8]) -> Frame:
        pts, duration, warm_up = picture.pts, picture.duration, False
        if self._window is not None:
            pts, duration = self._window.cut(pts, duration, picture.time_base)
            warm_up = not self._window.writes(picture.time, picture.time_base)
        return Frame(
            index=index, image=image, pts=pts, time_base=picture.time_base, duration=duration, warm_up=warm_up
        )

    def _in_window(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        for picture in pictures:
            if self._window is not None:
                if self._window.ends(picture.time, picture.time_base):
                    return
                if not self._window.gives(picture.time, picture.time_base):
                    continue
            yield picture

    def _counted(self, reader: Reader) -> Iterator[Picture]:
        try:
            for picture in reader:
                self.skipped_frames = reader.skipped
                yield picture
        finally:
            self.skipped_frames = reader.skipped
            if reader.damaged:
                self.notice(f"{reader.damaged} damaged frames were mended by the decoder.")

    def _lasting(self, reader: Reader, pictures: Iterable[Picture]) -> Iterator[Picture]:
        return lasting(pictures, trusted=reader.has_durations, end=lambda: reader.end)

    def _reader(self, container: av.container.InputContainer) -> Reader:
        return Reader(
            container,
            subject=self._subject,
            notice=self.notice,
            threads=self._threads,
            deinterlace=self._options.deinterlace,
        )

    def _check_size(self, frame: av.VideoFrame, index: int) -> None:
        size = self._orientation.size(width=frame.width, height=frame.height)
        if size != (self.width, self.height):
            raise self._error(
                f"{size[0]}x{size[1]} at frame {index}",
                f"{self.width}x{self.height} throughout, as at frame 0",
                "Split the video where its size changes.",
            )

    def _error(self, got: str, expected: str, todo: str | None = None) -> VideoError:
        return VideoError(self._subject, got=got, expected=expected, todo=todo or self._todo)


class VideoSource(DecodedSource):
    """A video file, or one behind a URL. Opening decodes its first frame, so that what cannot be read is refused.

    Args:
        address: the file, or a URL as text.
        path: what it is called in `Clip`.
        subject: what errors are about.
        threads: decoder threads; 0 for one per core.
        options: which part to read, and how.

    Raises:
        VideoError: it is no video, has no pictures, is HDR, nothing decodes, or nothing is in the range.
    """

    def __init__(
        self, address: Path | str, *, path: Path, subject: str, threads: int, options: InputOptions
    ) -> None:
        super().__init__(path, subject=subject, threads=threads, options=options)
        self._address = address
        self._origin = Fraction(0)
        self._can_seek = self._may_be_joined = False
        self._marks: dict[int, Fraction] = {}
        with self._opened() as reader:
            url = address if isinstance(address, str) else None
            self._begin(reader, next(iter(reader), None), url=url, live=False)
            self._may_be_joined = reader.may_be_joined
            # To look through a file behind a URL is to fetch all of it.
            self._can_seek = reader.has_times and not (self._may_be_joined and url is not None)
        self._origin = self.clip.start
        if self._window is not None:
            self._start_at_first_written(self._window)

    def frames_from(self, index: int) -> Iterator[Frame]:
        """Yields the frames from one index on.

        A file that ends early gives the frames before the damage and a notice.

        Raises:
            VideoError: the size changes, or a frame's colour space is unknown.
        """
        self.skipped_frames = 0
        with ExitStack() as stack:
            first, pictures = self._near(index, stack)
            yield from self._frames(pictures, index, first=first)

    def mark(self, index: int, time: Fraction) -> None:
        """See `Source.mark`."""
        self._marks[index] = time

    def _start_at_first_written(self, window: Window) -> None:
        unit = self.clip.time_base
        with self._from(window.warm_up) as pictures:
            self._window = window.beginning_with(((p.time, p.end) for p in pictures), unit)
        if self._window is None:
            raise window.nothing_in_it(self._subject, origin=self._origin)
        # Not as it was rounded to the unit, or what follows would be off by twice as much.
        zero = self._origin + on_grid(self._window.zero - self._origin, self.clip.rate, unit)
        self.clip = replace(self.clip, start=zero)

    def _near(self, index: int, stack: ExitStack) -> tuple[int, Iterator[Picture]]:
        """Returns frames from one at or before an index on, and its number in the window, or 0 for those before it."""
        number = max((mark for mark in self._marks if mark <= index), default=0)
        if number:
            time = self._marks[number]
            pictures = dropwhile(lambda p: p.time < time, stack.enter_context(self._from(time)))
            first = next(pictures, None)
            if first is not None and first.time == time:
                return number, chain([first], pictures)
        start = self._origin if self._window is None else self._window.warm_up
        return 0, stack.enter_context(self._from(start))

    @contextmanager
    def _from(self, time: Fraction) -> Iterator[Iterator[Picture]]:
        """Yields the frames from a key frame at or before a time on, from the beginning where none is found."""
        latest = time - (_DEINTERLACED_BEFORE if self._options.deinterlace else 0)
        for before in _BEFORE if latest > self._origin and self._is_searchable() else ():
            if latest - before <= self._origin:
                break
            with self._opened() as reader:
                pictures = self._lasting(reader, self._sought(reader, latest - before))
                first = next(pictures, None)
                if first is not None and first.time <= latest:
                    yield chain([first], pictures)
                    return
        with self._opened() as reader:
            yield self._lasting(reader, self._counted(reader))

    def _is_searchable(self) -> bool:
        if self._can_seek and self._may_be_joined:
            with self._opened() as reader:
                self._can_seek = reader.times_rise()
            self._may_be_joined = False
        return self._can_seek

    def _sought(self, reader: Reader, time: Fraction) -> Iterator[Picture]:
        try:
            reader.seek(time)
        except av.FFmpegError:  # no index, or not made for it: the beginning is always there
            return
        yield from self._counted(reader)

    @contextmanager
    def _opened(self) -> Iterator[Reader]:
        try:
            container = open_input(self._address)
        except (av.FFmpegError, OSError) as error:
            raise self._error(f"a file that does not open ({error.strerror})", "a video file") from error
        with container:
            yield self._reader(container)
