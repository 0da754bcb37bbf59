"""Sound from the source to the output: packets are copied, never encoded again."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from rvm_trt.runtime.video.container import open_input, read_packets

_LEAD_S = 2
# Their edit lists let players begin within a packet, or after those that only prepare a decoder.
_BEGIN_WITHIN = ("mp4", "mov")
# Of what came from Matroska, and of Opus, it is known how much of the beginning players leave out.
_KNOWN_LEAD = "opus"
_HOLDS_MOST = "matroska"
_LAYOUTS: Mapping[int, str] = {1: "mono", 2: "stereo"}


class AudioCopy:
    """Copies the audio streams of a file into an open container, packet by packet.

    Streams that the container cannot hold are left out with a notice.

    Args:
        path: the file with the sound, or a URL as text.
        output: the container; its header is not yet written.
        start: source time in seconds that becomes zero. What ends before it is left out, but for what a decoder
            needs at the very beginning; in Matroska all that begins before it is, since that would delay the pictures.
        stop: source time in seconds at which the sound ends; None for its own end.
        notice: called with each remark for the user.

    Raises:
        av.FFmpegError: the file does not open.
    """

    def __init__(
        self,
        path: Path | str,
        output: OutputContainer,
        *,
        start: Fraction,
        stop: Fraction | None = None,
        notice: Callable[[str], None],
    ) -> None:
        self._output = output
        self._start = start
        self._stop = stop
        self._notice = notice
        self._input = open_input(path)
        self._streams: dict[int, AudioStream] = {}
        self._placed: dict[int, tuple[int, int]] = {}
        for stream in self._input.streams.audio:
            self._add(stream)
        self._packets = self._read()
        self._waiting: Packet[AudioStream] | None = None

    def __enter__(self) -> AudioCopy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def stream_count(self) -> int:
        """Number of streams that are copied."""
        return len(self._streams)

    def copy_until(self, time: Fraction | None) -> None:
        """Muxes the packets up to a time of the output in seconds; all that are left where None.

        Raises:
            av.FFmpegError: the output cannot be written.
        """
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            packet = self._waiting
            if packet is None or (time is not None and (packet.dts or 0) * packet.time_base > time):
                return
            self._output.mux_one(packet)
            self._waiting = None

    def close(self) -> None:
        """Closes the file. May be called twice."""
        self._packets.close()
        self._input.close()

    def _add(self, stream: AudioStream) -> None:
        context: Any = stream.codec_context  # PyAV's type hints leave out that there may be none.
        if context is None:
            self._notice("Sound was left out: FFmpeg does not know what codes it.")
            return
        name = self._output.format.name
        if not _is_held(stream, name):
            other = "" if name == _HOLDS_MOST else " Write .mkv to keep it."
            self._notice(f"Sound was left out: a {name} file cannot hold {stream.codec.name}.{other}")
            return
        copy = _added(stream, self._output)
        copy.metadata.update({k: v for k, v in stream.metadata.items() if k in ("language", "title")})
        copy.disposition = stream.disposition
        self._streams[stream.index] = copy

    def _read(self) -> Generator[Packet[AudioStream], None, None]:
        if not self._streams:
            return
        self._seek()
        open_streams = set(self._streams)
        packets = read_packets(self._input, [s for s in self._input.streams.audio if s.index in open_streams])
        while open_streams:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._notice(f"The sound is damaged and ends early ({error.strerror}).")
                return
            if packet is None:
                return
            time = None if packet.pts is None else packet.pts * packet.time_base
            if self._stop is not None and time is not None and time >= self._stop:
                open_streams.discard(packet.stream_index)
            elif packet.size and packet.stream_index in open_streams and not self._is_before(packet, time):
                yield self._moved(packet)  # Empty packets only flush decoders.

    def _is_before(self, packet: Packet[AudioStream], time: Fraction | None) -> bool:
        if time is None or time >= self._start:
            return False
        if self._output.format.name in _BEGIN_WITHIN:
            return self._start != 0 and time + (packet.duration or 0) * packet.time_base <= self._start
        has_known_lead = _HOLDS_MOST in self._input.format.name or packet.stream.codec.name == _KNOWN_LEAD
        return self._start != 0 or not has_known_lead

    def _seek(self) -> None:
        if self._start - Fraction(self._input.start_time or 0, av.time_base) > _LEAD_S:
            with suppress(av.FFmpegError):  # Then all is read from the beginning.
                self._input.seek(int((self._start - _LEAD_S) * av.time_base))

    def _moved(self, packet: Packet[AudioStream]) -> Packet[AudioStream]:
        index = packet.stream_index
        shift = round(self._start / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        if packet.dts is not None:
            self._join(packet, packet.dts)
        packet.stream = self._streams[index]
        return packet

    def _join(self, packet: Packet[AudioStream], dts: int) -> None:
        # Joined files begin again at their own zero; what comes then follows what was.
        last, end = self._placed.get(packet.stream_index, (dts - 1, dts))
        if dts <= last:
            packet.dts = end
            packet.pts = None if packet.pts is None else packet.pts + end - dts
            dts = end
        self._placed[packet.stream_index] = (dts, dts + max(1, packet.duration or 0))


def _is_held(stream: AudioStream, form: str) -> bool:
    """Whether a container can hold a stream; some say so only when their header is written."""
    try:
        with av.open(io.BytesIO(), "w", format=form) as scratch:
            _added(stream, scratch)
            scratch.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _added(stream: AudioStream, output: OutputContainer) -> AudioStream:
    copy = output.add_stream_from_template(stream)
    if not stream.layout.name[:1].isalpha() and stream.layout.nb_channels in _LAYOUTS:
        # PCM in Matroska only counts its channels; MP4 wants them named, and says so at the very end.
        copy.codec_context.layout = _LAYOUTS[stream.layout.nb_channels]
    return copy
