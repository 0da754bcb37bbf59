"""Frames into a video file, with PyAV: encoded in segments, each packet through one door, sound copied beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.audio import AudioCopy
from rvm_trt.runtime.video.codecs import Codec
from rvm_trt.runtime.video.encoding import DecodeTimes, Encoding, SegmentEncoder
from rvm_trt.runtime.video.output import EncodeOptions, OutputFormat, OutputPlan
from rvm_trt.runtime.video.packets import as_kept
from rvm_trt.runtime.video.slot import FrameSlot
from rvm_trt.runtime.video.source import Clip
from rvm_trt.runtime.video.stores import SEGMENT_FRAMES
from rvm_trt.runtime.video.timing import Timeline

_HEADER_BYTES = 1 << 14
# They say how long each packet lasts by when the next is decoded.
_DECODE_TIMED = (OutputFormat.MP4, OutputFormat.MOV)


class PacketStore(Protocol):
    """Keeps the packets of whole segments, so that an interrupted job can go on."""

    def packets(self, *, time_base: Fraction, extradata: bytes | None) -> Iterator[Packet[VideoStream]]:
        """Yields what whole segments hold, in order; raises `VideoError` where that is of another encoder."""

    def append(self, packet: Packet[VideoStream], *, extradata: bytes | None) -> None:
        """Keeps a packet of the segment under way; raises `OSError`."""

    def end_segment(self) -> None:
        """Keeps the segment under way as a whole one; raises `OSError`."""


class VideoWriter:
    """Encodes frames into a container; sound is copied beside them.

    The encoder is opened anew for every segment: what it writes depends on that segment's frames alone, so that a job
    which was interrupted and goes on from packets in a store writes the same file, byte for byte, as one that was not.

    H.264 is written as 4:2:0, 8 bits, BT.709 limited range and tagged so: what every player and browser
    shows. It cannot hold odd sizes: the last row or column is repeated, and a notice says so. (4:4:4 could
    hold them, but most players cannot show it. A PNG folder, ProRes and VP9 keep the size exactly.)

    Args:
        file: where to write.
        plan: the output, for its format, kind, and name in messages.
        clip: size, rate, time base and sound of the source.
        options: how to encode.
        notice: called with each remark for the user.
        segment_frames: frames of a segment, at least 1.
        store: keeps the packets of whole segments. What it holds is written first; frames go on after that.

    Raises:
        VideoError: the encoder or the container cannot be opened.
    """

    def __init__(
        self,
        file: Path,
        *,
        plan: OutputPlan,
        clip: Clip,
        options: EncodeOptions,
        notice: Callable[[str], None],
        segment_frames: int = SEGMENT_FRAMES,
        store: PacketStore | None = None,
    ) -> None:
        self._plan = plan
        self._size = (clip.width, clip.height)
        self._codec = Codec.choose(plan.format, plan.kind, options, depth=plan.depth, colour=clip.colour)
        self._padded = (_even(clip.width), _even(clip.height)) if self._codec.even else self._size
        if self._padded != self._size:
            notice(
                f"H.264 needs even sides: {clip.width}x{clip.height} is written as "
                f"{self._padded[0]}x{self._padded[1]}, the last row or column repeated."
            )
        self._segment_frames = segment_frames
        self._store = store
        self._frames = 0  # of the segment under way
        self._timeline = Timeline(rate=clip.rate, time_base=clip.time_base, start=clip.start)
        self._encoding = Encoding(
            codec=self._codec,
            width=self._padded[0],
            height=self._padded[1],
            rate=clip.rate,
            time_base=self._timeline.time_base,
            pixel_aspect=clip.pixel_aspect,
            threads=options.threads,
        )
        self._from_rgb = self._encoding.converter()
        self._stack = ExitStack()
        with self._errors(), ExitStack() as stack:
            _ask_for_room(file)
            flags = _flags(plan, self._timeline.time_base)
            container = av.open(f"file:{file}", "w", format=plan.format.value, container_options=flags)
            self._container: OutputContainer = stack.enter_context(container)
            self._container.metadata.update(self._codec.metadata)
            self._stream = self._encoding.add_stream(self._container)
            self._audio = self._copy_audio(stack, clip, options, notice)
            self._container.start_encoding()
            self._encoder: SegmentEncoder | None = SegmentEncoder(self._encoding, self._stream)
            self._extradata = self._encoder.extradata
            self._times = DecodeTimes(delay=self._encoder.delay, interval=self._timeline.interval)
            self._held: Packet[VideoStream] | None = None
            self._write_stored()
            self._stack = stack.pop_all()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def make_slot(self) -> FrameSlot:
        """Returns memory for one frame, to be filled and given to `encode`."""
        frame = av.VideoFrame(*self._padded, self._codec.packed)
        return FrameSlot(frame, width=self._size[0], height=self._size[1])

    def encode(self, slot: FrameSlot, pts: int, time_base: Fraction, duration: int) -> None:
        """Encodes a frame and muxes what comes out, sound up to its time included.

        Args:
            slot: the filled frame; it may be used again afterwards.
            pts, time_base, duration: the source's timestamp.

        Raises:
            VideoError: the encoder failed or the disk is full.
        """
        slot.repeat_edges()
        with self._errors():
            converted = self._from_rgb.convert(slot.frame)
            for frame in (slot.frame, converted):
                frame.time_base = self._timeline.time_base
                frame.duration = self._timeline.length(pts, duration, time_base)
            slot.frame.pts = converted.pts = self._timeline.place(pts, time_base)
            for packet in self._open_encoder().encode(slot.frame, converted):
                self._keep(packet)
            self._frames += 1
            if self._frames == self._segment_frames:
                self._end_segment()

    def finish(self) -> None:
        """Flushes the encoder, copies the rest of the sound and completes the file; raises `VideoError`."""
        with self._errors():
            if self._frames:
                self._flush()
            if self._held is not None:
                if self._plan.format in _DECODE_TIMED:
                    self._times.end(self._held)
                self._container.mux_one(self._held)
                self._held = None
            if self._audio is not None:
                self._audio.copy_until(None)
            self._container.close()

    def close(self) -> None:
        """Closes the file, whole or not. May be called twice."""
        # Whoever closes before finish() throws the file away: that its end could not be written is no news.
        with suppress(av.FFmpegError):
            self._stack.close()

    def _open_encoder(self) -> SegmentEncoder:
        if self._encoder is None:
            self._encoder = SegmentEncoder(self._encoding, self._stream)
            if self._encoder.extradata != self._extradata:
                raise VideoError(
                    f"output {str(self._plan.path)!r}",
                    got=f"another header from {self._codec.name} than at the beginning",
                    expected="the same for every segment",
                    todo="Choose another format.",
                )
        return self._encoder

    def _end_segment(self) -> None:
        self._flush()
        if self._store is not None:
            self._store.end_segment()
        self._frames = 0

    def _flush(self) -> None:
        assert self._encoder is not None
        for packet in self._encoder.flush():
            self._keep(packet)
        self._encoder = None

    def _keep(self, packet: Packet[VideoStream]) -> None:
        if self._store is not None:
            self._store.append(packet, extradata=self._extradata)
        self._mux(as_kept(packet))

    def _mux(self, packet: Packet[VideoStream]) -> None:
        # Whatever is written passes here, and nothing but the packets decides how sound lies between them.
        assert packet.pts is not None
        packet.dts = self._times.next(packet.pts, packet.duration or 0)
        packet.stream = self._stream
        # The latest one is held back: only at the end is it known whether it is the last.
        if self._held is not None:
            self._container.mux_one(self._held)
        self._held = packet
        if self._audio is not None:
            self._audio.copy_until(packet.dts * self._timeline.time_base)

    def _write_stored(self) -> None:
        if self._store is None:
            return
        time_base, latest = self._timeline.time_base, None
        for packet in self._store.packets(time_base=time_base, extradata=self._extradata):
            assert packet.pts is not None
            latest = packet.pts if latest is None else max(packet.pts, latest)
            self._mux(packet)
        self._timeline.last = latest

    def _copy_audio(
        self, stack: ExitStack, clip: Clip, options: EncodeOptions, notice: Callable[[str], None]
    ) -> AudioCopy | None:
        if not (clip.has_audio and options.audio):
            return None
        audio = AudioCopy(
            clip.url or clip.path, self._container, start=clip.start, stop=clip.stop, notice=notice
        )
        return stack.enter_context(audio)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            # FFmpeg's last log line says more than its error number: "unsupported channel layout", for one.
            detail = error.log[1] if error.log else None
            raise self._error(
                f"{error.strerror} ({detail[2].strip()})" if detail else f"{error.strerror}"
            ) from error
        except OSError as error:
            raise self._error(f"{error.strerror or error}") from error

    def _error(self, got: str) -> VideoError:
        return VideoError(
            f"output {str(self._plan.path)!r}",
            got=got,
            expected=f"to write {self._plan.format.value} with {self._codec.name}",
            todo="Check the free space, leave the sound out (--no-audio), or choose another format.",
        )


def _ask_for_room(file: Path) -> None:
    """Raises `OSError` where a header has no room: PyAV leaves a file open whose header it could not write."""
    with file.open("wb") as probe:
        probe.write(bytes(_HEADER_BYTES))
        probe.flush()
        os.fsync(probe.fileno())
        probe.truncate(0)


def _flags(plan: OutputPlan, time_base: Fraction) -> dict[str, str]:
    # The index first, so that a browser can start to play before it has the whole file; and a late beginning to the
    # tick, not to the millisecond. Matroska would number itself at random.
    if plan.format in _DECODE_TIMED:
        return {"movflags": "+faststart", "movie_timescale": str(time_base.denominator)}
    return {"fflags": "+bitexact"}


def _even(side: int) -> int:
    return side + side % 2
