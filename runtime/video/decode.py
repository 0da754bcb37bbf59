"""Frames out of a video file, with PyAV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.colour import ToRgb, is_hdr
from rvm_trt.runtime.video.container import open_input
from rvm_trt.runtime.video.orientation import Orientation
from rvm_trt.runtime.video.source import Clip, Frame, Source

# FFmpeg opens plain text as an "ANSI art" video; nobody means that.
_NOT_VIDEO = {"tty"}
_MICROSECONDS = 1_000_000
# Matroska says how long one stream is only in a tag; the length of the file may be that of its sound.
_TAG_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


class VideoSource(Source):
    """A video file. Opening decodes its first frame, so that what cannot be read is refused at once.

    Args:
        path: the file.
        threads: decoder threads; 0 for one per core.

    Raises:
        VideoError: it is no video, has no pictures, or nothing decodes.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self._path = path
        self._threads = threads
        self.skipped_frames = 0
        self.notices = []
        with self._opened() as (container, stream):
            first = next(self._decoded(container, stream), None)
            if first is None:
                raise self._error(
                    "no frame that decodes", f"video that the decoder {stream.codec_context.name!r} can read"
                )
            self._orientation = _orientation(first)
            super().__init__(_clip(path, container, stream, first, self._orientation))
            if is_hdr(first):
                self.notice("The input is HDR: its colours are used as stored, without tone mapping.")

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames; raises `VideoError` where their size changes or a colour space is unknown.

        A file that ends early gives the frames before the damage and a notice.
        """
        self.skipped_frames = 0
        to_rgb = ToRgb(orientation=self._orientation, threads=self._threads)
        with self._opened() as (container, stream):
            for index, frame in enumerate(self._decoded(container, stream)):
                self._check_size(frame, index)
                try:
                    image = to_rgb.convert(frame)
                except av.FFmpegError as error:
                    raise self._error(
                        f"frame {index} in {frame.format.name}, colour space {frame.colorspace}",
                        "a pixel format that converts to RGB",
                    ) from error
                time_base = frame.time_base or self.clip.time_base
                pts = frame.pts if frame.pts is not None else frame.dts
                if pts is None:  # Containers without timestamps: frames follow each other at the rate.
                    pts = round(index / (self.rate * time_base))
                yield Frame(
                    index=index, image=image, pts=pts, time_base=time_base, duration=frame.duration or 0
                )

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        try:
            container = open_input(self._path)
        except (av.FFmpegError, OSError) as error:
            raise self._error(f"a file that does not open ({error.strerror})", "a video file") from error
        with container:
            if container.format.name in _NOT_VIDEO:
                raise self._error("a text file", "a video file")
            pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not pictures:
                kinds = " and ".join(sorted({s.type for s in container.streams}))
                raise self._error(f"only {kinds or 'nothing'}", "a video stream")
            stream = pictures[0]
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = self._threads
            yield container, stream

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                # The demuxer cannot go on; what the decoder still holds is good.
                self.notice(f"The input is damaged and ends early ({error.strerror}).")
                yield from self._decoded_packet(stream, None)
                return
            if packet is None:
                return
            yield from self._decoded_packet(stream, packet)

    def _decoded_packet(self, stream: VideoStream, packet: Packet[VideoStream] | None) -> list[av.VideoFrame]:
        try:
            return stream.decode(packet)
        except av.FFmpegError:
            self.skipped_frames += 1
            return []

    def _check_size(self, frame: av.VideoFrame, index: int) -> None:
        size = self._orientation.size(width=frame.width, height=frame.height)
        if size != (self.width, self.height):
            raise self._error(
                f"{size[0]}x{size[1]} at frame {index}",
                f"{self.width}x{self.height} throughout, as at frame 0",
                "Split the video where its size changes.",
            )

    def _error(
        self, got: str, expected: str, todo: str = "Check that the file is a whole, playable video."
    ) -> VideoError:
        return VideoError(f"input {str(self._path)!r}", got=got, expected=expected, todo=todo)


def _clip(
    path: Path, container: InputContainer, stream: VideoStream, first: av.VideoFrame, orientation: Orientation
) -> Clip:
    width, height = orientation.size(width=first.width, height=first.height)
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    timed = [s for s in (stream, *container.streams.audio) if s.start_time is not None and s.time_base]
    return Clip(
        path=path,
        width=width,
        height=height,
        rate=rate,
        time_base=first.time_base or stream.time_base or 1 / rate,
        frame_count=_frame_count(container, stream, rate),
        start=max(Fraction(0), min((_seconds(s, s.start_time) for s in timed), default=Fraction(0))),
        pixel_aspect=1 / aspect if orientation.transpose else aspect,
        has_audio=bool(container.streams.audio),
    )


def _frame_count(container: InputContainer, stream: VideoStream, rate: Fraction) -> int | None:
    if stream.frames:
        return stream.frames
    if stream.duration:
        return round(_seconds(stream, stream.duration) * rate)
    if match := _TAG_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = match.groups()
        return round((3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)) * rate)
    if container.duration:
        return round(Fraction(container.duration, _MICROSECONDS) * rate)
    return None


def _seconds(stream: Stream, ticks: int | None) -> Fraction:
    return (ticks or 0) * (stream.time_base or Fraction(0))


def _orientation(frame: av.VideoFrame) -> Orientation:
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")  # PyAV's type hints know motion vectors only.
    return Orientation() if matrix is None else Orientation.from_matrix(bytes(matrix))
