"""Opening a media file or stream for reading, the same way for pictures and for sound."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import av
from av.container import InputContainer

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
