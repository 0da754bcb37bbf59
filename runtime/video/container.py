"""Opening a media file for reading, the same way for pictures and for sound."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer


def open_input(path: Path) -> InputContainer:
    """Returns the opened file, which the caller closes; raises `av.FFmpegError` or `OSError`."""
    # "file:" keeps FFmpeg from reading a name such as "concat:x" as a protocol; titles in unknown encodings are no
    # reason to refuse a file.
    return av.open(f"file:{path}", "r", metadata_errors="ignore")
