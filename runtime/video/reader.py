"""Decoded frames out of an open container, in the order they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.container import LIMITS, read_packets
from rvm_trt.runtime.video.deinterlace import Deinterlacer
from rvm_trt.runtime.video.picture import Picture
from rvm_trt.runtime.video.source import LARGEST_SIDE
from rvm_trt.runtime.video.timing import Clock

# FFmpeg opens plain text as an "ANSI art" video; nobody means that.
_NOT_VIDEO = {"tty"}
# Where every packet has its own time, so that it is the same whether one came there by reading or by seeking. In
# program streams and Ogg it is not: FFmpeg counts on from the last packet that has one.
_TIMED = {"mov", "matroska", "mpegts", "avi", "flv", "asf", "mxf", "nut", "yuv4mpegpipe"}
# Such files may be joined: a time that comes twice would be looked for at the wrong place.
_JOINABLE = {"mpegts"}
_FASTEST = 1000
_MAKE_UP_TIMES = 0x1  # AVFMT_FLAG_GENPTS
_INTERLACED = (
    "The input is interlaced and used as it is; --deinterlace makes whole frames of it, if edges look combed."
)


class Reader:
    """Reads the first video stream of a container once.

    Args:
        container: the open input; it stays the caller's.
        subject: what errors are about.
        notice: called with each remark for the user.
        threads: decoder threads; 0 for one per core.
        deinterlace: whether to deinterlace frames that are marked as interlaced.

    Attributes:
        stream: the video stream.
        rate: frames per second, exact; the average where it varies.
        has_durations: whether frames have durations of their own. MP4 has those of packets in the order of decoding.
        has_times: whether frames have times of their own, so that it can be searched for one.
        may_be_joined: whether those times must be looked through before, see `times_rise`.
        skipped: pieces that did not decode so far.

    Raises:
        VideoError: there is no picture, or one larger than is allowed.
    """

    def __init__(
        self,
        container: InputContainer,
        *,
        subject: str,
        notice: Callable[[str], None],
        threads: int = 0,
        deinterlace: bool = False,
    ) -> None:
        self._subject = subject
        self._notice = notice
        self.container = container
        self.stream = self._picture_stream()
        self._check_side()
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = threads
        self.stream.codec_context.options = LIMITS
        named = container.format.name.split(",")[0]
        # AVI says in which place of the file a frame is, not when it is shown; what FFmpeg makes of that is wrong.
        self._delay: int | None = None
        if named == "avi":
            container.flags &= ~_MAKE_UP_TIMES
            self._delay = self.stream.codec_context.reorder_depth
        self.has_times = named in _TIMED and self.stream.start_time is not None and not self._delay
        self.has_durations = named != "mov"
        self.may_be_joined = named in _JOINABLE
        self.rate = _rate(self.stream)
        self._deinterlacer = Deinterlacer() if deinterlace else None
        self._clock = Clock(rate=self.rate, start=self.stream.start_time or 0)
        self._needs_key = False
        self._stopped = False
        self._last_dts: int | None = None
        self.skipped = 0
        self._damaged_frames = 0
        self._damaged_packets = 0

    @property
    def damaged(self) -> int:
        """Frames so far that were damaged and given as well as the decoder could mend them."""
        return max(self._damaged_frames, self._damaged_packets)

    @property
    def end(self) -> Fraction | None:
        """Until when the last frame is shown, in seconds, once it has been read; None where only that frame says it."""
        stream, index = self.stream, self.stream.index_entries
        is_whole = len(index) > 0 and index[-1].timestamp == self._last_dts
        if self.has_durations or not is_whole or stream.duration is None or stream.time_base is None:
            return None
        return ((stream.start_time or 0) + stream.duration) * stream.time_base

    def seek(self, time: Fraction) -> None:
        """Goes to a key frame, near but not surely before a source time in seconds.

        Raises:
            av.FFmpegError: the container cannot.
        """
        time_base = self.stream.time_base or Fraction(1, _FASTEST)
        self.container.seek(int(time / time_base), stream=self.stream, backward=True)
        self._needs_key = True

    def times_rise(self) -> bool:
        """Reads the whole file without decoding it, and returns whether its times never step back."""
        last: int | None = None
        try:
            for packet in read_packets(self.container, [self.stream]):
                if packet.dts is not None:
                    if last is not None and packet.dts < last:
                        return False
                    last = packet.dts
        except av.FFmpegError:
            return False
        return True

    def stop(self) -> None:
        """Ends the iteration before the next packet. Any thread may call it."""
        self._stopped = True

    def __iter__(self) -> Iterator[Picture]:
        """Yields the frames, after `seek` from the first key frame on.

        A file that ends early gives the frames before the damage and a notice.
        """
        for picture in self._decoded():
            if picture.frame.interlaced_frame and self._deinterlacer is None:
                self._notice(_INTERLACED)
            yield from [picture] if self._deinterlacer is None else self._deinterlacer.push(picture)
        yield from [] if self._deinterlacer is None else self._deinterlacer.push(None)

    def _decoded(self) -> Iterator[Picture]:
        packets = read_packets(self.container, [self.stream])
        while not self._stopped:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                # The demuxer cannot go on; what the decoder still holds is good.
                self._notice(_why_it_ends(error))
                yield from self._pictures(None)
                return
            if packet is None:
                return
            self._damaged_packets += packet.is_corrupt
            self._last_dts = packet.dts if packet.size else self._last_dts
            yield from self._pictures(packet)

    def _pictures(self, packet: Packet[VideoStream] | None) -> Iterator[Picture]:
        try:
            frames = self.stream.decode(packet)
        except av.FFmpegError:
            self.skipped += not self._needs_key
            return
        for frame in frames:
            own = frame.pts if self._delay is None else _shifted(frame.dts, -self._delay)
            # What is shown before the first key frame refers to frames that were not read.
            if self._needs_key and not (frame.key_frame and own is not None):
                continue
            self._needs_key = False
            self._damaged_frames += frame.is_corrupt
            time_base = frame.time_base or self.stream.time_base or 1 / self.rate
            pts = self._clock.time(own, frame.duration or 0, time_base)
            yield Picture(frame=frame, pts=pts, time_base=time_base, duration=frame.duration or 0)

    def _picture_stream(self) -> VideoStream:
        if self.container.format.name in _NOT_VIDEO:
            raise self._error("a text file", "a video file")
        streams = self.container.streams
        pictures = [s for s in streams.video if not s.disposition & Disposition.attached_pic]
        if not pictures:
            kinds = " and ".join(sorted({s.type for s in streams}))
            raise self._error(f"only {kinds or 'nothing'}", "a video stream")
        if pictures[0].codec_context is None:
            raise self._error("video in an unknown format", "a format that FFmpeg can decode")
        return pictures[0]

    def _check_side(self) -> None:
        width, height = self.stream.codec_context.width, self.stream.codec_context.height
        if max(width, height) > LARGEST_SIDE:
            raise self._error(
                f"{width}x{height}", f"at most {LARGEST_SIDE} pixels a side", "Scale the video down."
            )

    def _error(
        self, got: str, expected: str, todo: str = "Check that the file is a whole, playable video."
    ) -> VideoError:
        return VideoError(self._subject, got=got, expected=expected, todo=todo)


def _shifted(time: int | None, by: int) -> int | None:
    return None if time is None else time + by


def _rate(stream: VideoStream) -> Fraction:
    # Raw streams say their rate in the video alone; FFmpeg then has 25 as the container's.
    raw = stream.codec_context.framerate if stream.start_time is None else None
    for rate in (raw, stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= _FASTEST:
            return rate
    return Fraction(25)


def _why_it_ends(error: av.FFmpegError) -> str:
    if isinstance(error, av.error.ExitError):
        return "The stream stopped: no data came any more."
    return f"The input is damaged and ends early ({error.strerror})."
