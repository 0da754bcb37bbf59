"""What an open video says of itself before it is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.input_options import Hdr
from rvm_trt.runtime.video.orientation import Orientation
from rvm_trt.runtime.video.picture import Picture
from rvm_trt.runtime.video.source import ClipColour
from rvm_trt.runtime.video.window import Window

_MICROSECONDS = 1_000_000
# Matroska says how long one stream is only in a tag; the length of the file may be that of its sound.
_TAG_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
_HDR_CURVES = {16: "PQ", 18: "HLG"}
_BT709, _BT2020, _UNKNOWN = 1, 9, (0, 2, 3)
_TONE_MAP = (
    "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Returns how a frame must be turned, by its display matrix."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")  # PyAV's type hints know motion vectors only.
    return Orientation() if matrix is None else Orientation.from_matrix(bytes(matrix))


def colour_tags(frame: av.VideoFrame) -> ClipColour:
    """Returns what is written as the colours' meaning: the frame's own tags, BT.709 where it has none.

    The matrix is the writer's choice, since frames are RGB in between: that of BT.2020 for its primaries,
    and BT.709 for all others.
    """
    primaries, transfer = (
        _BT709 if tag in _UNKNOWN else int(tag) for tag in (frame.color_primaries, frame.color_trc)
    )
    return ClipColour(
        primaries=primaries, transfer=transfer, matrix=_BT2020 if primaries == _BT2020 else _BT709
    )


def check_range(frame: av.VideoFrame, hdr: Hdr, *, subject: str) -> str | None:
    """Returns a remark where HDR is used as it is stored; raises `VideoError` where it is refused."""
    curve = _HDR_CURVES.get(frame.color_trc)
    if curve is None:
        return None
    if hdr is Hdr.REFUSE:
        raise VideoError(
            subject,
            got=f"HDR video ({curve})",
            expected="SDR video, which is what the network knows",
            todo=f'Map its tones first: ffmpeg -i INPUT -vf "{_TONE_MAP}" -c:a copy sdr.mp4. Or use the codes '
            "as they are stored (--hdr as-stored): the output is tagged as the input.",
        )
    return f"The input is HDR ({curve}): its codes are used as stored, and the output is tagged so."


def pixel_aspect(stream: VideoStream, orientation: Orientation) -> Fraction:
    """Returns the width of an upright pixel over its height."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return 1 / aspect if orientation.transpose else aspect


def origin_of(container: InputContainer, first: Picture, *, sound: bool) -> Fraction:
    """Returns the source time in seconds of the beginning: of the first frame, or of sound before it.

    Zero where only sound begins before that: it prepares a decoder, and is not heard.
    """
    streams: Sequence[Stream] = container.streams.audio if sound else ()
    starts = [s.start_time * s.time_base for s in streams if s.start_time is not None and s.time_base]
    begin = min([*starts, first.time])
    # Where the clock of a transport stream begins anew, FFmpeg counts what was before from zero down.
    return begin if first.time < 0 else max(Fraction(0), begin)


def frame_count_of(
    container: InputContainer, stream: VideoStream, rate: Fraction, window: Window | None, origin: Fraction
) -> int | None:
    """Returns the number of frames that are written, an estimate; None where the length is unknown."""
    whole = _whole_count(container, stream, rate)
    if window is None:
        return whole
    length = None if whole is None else whole / rate
    if window.stop is not None:
        stop = window.stop - origin
        length = stop if length is None else min(stop, length)
    return None if length is None else max(1, round((length - (window.start - origin)) * rate))


def _whole_count(container: InputContainer, stream: VideoStream, rate: Fraction) -> int | None:
    if stream.frames:
        return stream.frames
    if stream.duration:
        return round(stream.duration * (stream.time_base or Fraction(0)) * rate)
    if match := _TAG_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = match.groups()
        return round((3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)) * rate)
    if container.duration:
        return round(Fraction(container.duration, _MICROSECONDS) * rate)
    return None
