"""Opening a media file or stream for reading, the same way for pictures and for sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from rvm_trt.runtime.video.source import LARGEST_SIDE

# Decoders refuse more before they ask for memory. Containers know the name too, and pass it on.
LIMITS = {"max_pixels": str(LARGEST_SIDE**2)}
OPEN_TIMEOUT_S, READ_TIMEOUT_S = 15.0, 10.0
# Over TCP first: an RTSP camera's UDP packets get lost, or do not pass the router.
_NETWORK = {"rtsp_flags": "prefer_tcp"}


class Readable(Protocol):
    """An open file to read from."""

    def read(self, size: int, /) -> bytes:
        """Returns at most ``size`` bytes; none at the end."""


def open_input(address: Path | str | Readable) -> InputContainer:
    """Returns the opened input, which the caller closes.

    Args:
        address: a file's path, a URL as text, or an open file.

    Raises:
        av.FFmpegError, OSError: it does not open; a URL within `OPEN_TIMEOUT_S`.
    """
    # Titles in unknown encodings are no reason to refuse a file.
    if isinstance(address, Path):
        # "file:" keeps FFmpeg from reading a name such as "concat:x" as a protocol.
        return av.open(f"file:{address}", "r", metadata_errors="ignore", options=LIMITS)
    if isinstance(address, str):
        timeout = (OPEN_TIMEOUT_S, READ_TIMEOUT_S)
        return av.open(address, "r", metadata_errors="ignore", options=LIMITS | _NETWORK, timeout=timeout)
    return av.open(address, "r", metadata_errors="ignore", options=LIMITS)


def read_packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Packet[Any]]:
    """Yields the packets of some streams; raises `av.FFmpegError` where the file cannot be read on.

    In a damaged file more streams may seem to begin in the middle; they are passed over.
    """
    packets = container.demux(tuple(streams))
    while True:
        try:
            packet = next(packets, None)
        except IndexError:  # PyAV has no place for the packet of a stream that was not there at first.
            packets = container.demux(tuple(streams))
            continue
        if packet is None:
            return
        yield packet
