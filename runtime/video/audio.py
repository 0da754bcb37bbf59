"""Sound from the source to the output: packets are copied, never encoded again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from rvm_trt.runtime.video.container import open_input

_LAYOUTS: Mapping[int, str] = {1: "mono", 2: "stereo"}


class AudioCopy:
    """Copies the audio streams of a file into an open container, packet by packet.

    Streams that the container cannot hold are left out with a notice.

    Args:
        path: the file with the sound.
        output: the container; its header is not yet written.
        start: source time in seconds that becomes zero.
        notice: called with each remark for the user.

    Raises:
        av.FFmpegError: the file does not open.
    """

    def __init__(
        self, path: Path, output: OutputContainer, *, start: Fraction, notice: Callable[[str], None]
    ) -> None:
        self._output = output
        self._start = start
        self._notice = notice
        self._input = open_input(path)
        self._streams: dict[int, AudioStream] = {}
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
        try:
            copy = self._output.add_stream_from_template(stream)
        except ValueError:
            self._notice(
                f"Sound was left out: a {self._output.format.name} file cannot hold {stream.codec.name}. "
                "Write .mkv to keep it."
            )
            return
        if not stream.layout.name[:1].isalpha() and stream.layout.nb_channels in _LAYOUTS:
            # PCM in Matroska only counts its channels; MP4 wants them named, and says so at the very end.
            copy.codec_context.layout = _LAYOUTS[stream.layout.nb_channels]
        copy.metadata.update({k: v for k, v in stream.metadata.items() if k in ("language", "title")})
        copy.disposition = stream.disposition
        self._streams[stream.index] = copy

    def _read(self) -> Generator[Packet[AudioStream], None, None]:
        if not self._streams:
            return
        packets = self._input.demux(tuple(s for s in self._input.streams.audio if s.index in self._streams))
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._notice(f"The sound is damaged and ends early ({error.strerror}).")
                return
            if packet is None:
                return
            if packet.size:  # Empty packets only flush decoders.
                yield self._moved(packet)

    def _moved(self, packet: Packet[AudioStream]) -> Packet[AudioStream]:
        shift = round(self._start / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = self._streams[packet.stream_index]
        return packet
