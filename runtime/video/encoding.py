"""One encoder per segment: each begins anew, so that a job which goes on gives the bytes of one that never stopped."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush

import av
import llvmlite.binding  # type: ignore[import-untyped]
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from rvm_trt.runtime.video.alpha_stream import AlphaStream
from rvm_trt.runtime.video.codecs import Codec
from rvm_trt.runtime.video.colour_out import FromRgb

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_WITHOUT_AVX512 = "MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2"


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Everything that an encoder is opened with.

    Attributes:
        codec: which encoder.
        width, height: size of the frames in pixels.
        rate: frames per second; only told to players, the timestamps carry the timing.
        time_base: unit of the timestamps in seconds.
        pixel_aspect: width of a pixel over its height.
        threads: of the encoder and of the conversion; 0 for one per core.
    """

    codec: Codec
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    pixel_aspect: Fraction
    threads: int

    def add_stream(self, container: OutputContainer) -> VideoStream:
        """Adds a stream for the packets of such encoders to a container; raises `av.FFmpegError`."""
        # Only an open encoder says all that the header needs. This one belongs to a container of its own, so that it is
        # closed again before the first frame.
        with av.open(io.BytesIO(), "w", format=container.format.name) as scratch:
            model = scratch.add_stream(self.codec.name, rate=self.rate, time_base=self.time_base)
            assert isinstance(model, VideoStream)
            self._set(model.codec_context)
            scratch.start_encoding()
            stream = container.add_stream_from_template(model, opaque=True)
            # A template loses its tag, without which ProRes 4444 would be told as 422.
            stream.codec_context.codec_tag = model.codec_context.codec_tag
        stream.metadata.update(self.codec.stream_metadata)
        return stream

    def converter(self) -> FromRgb:
        """Returns what turns packed frames into the encoder's."""
        return FromRgb(
            self.codec.pixel_format,
            colorspace=self.codec.colorspace,
            color_primaries=self.codec.color_primaries,
            color_trc=self.codec.color_trc,
            threads=self.threads,
        )

    def open(self, stream: VideoStream) -> VideoCodecContext:
        """Returns an encoder for a segment of a stream that `add_stream` added; raises `av.FFmpegError`."""
        context = self._made(stream)
        context.open()
        return context

    def open_alpha(self, stream: VideoStream) -> AlphaStream:
        """Returns what encodes alpha beside an encoder that `open` opened; raises `av.FFmpegError`."""
        context = self._made(stream)
        context.color_range = _FULL_RANGE
        context.open()
        return AlphaStream(context)

    def _made(self, stream: VideoStream) -> VideoCodecContext:
        context = av.CodecContext.create(self.codec.name, "w")
        assert isinstance(context, VideoCodecContext)
        context.time_base, context.framerate = self.time_base, self.rate
        context.bit_rate = 0
        context.flags = stream.codec_context.flags
        self._set(context)
        return context

    def _set(self, context: VideoCodecContext) -> None:
        codec = self.codec
        context.width, context.height = self.width, self.height
        context.pix_fmt = codec.pixel_format
        context.options = _repeatable(codec)
        context.thread_count = self.threads
        context.sample_aspect_ratio = self.pixel_aspect
        context.colorspace, context.color_range = codec.colorspace, codec.color_range
        context.color_primaries, context.color_trc = codec.color_primaries, codec.color_trc


class SegmentEncoder:
    """Encodes the frames of one segment.

    Args:
        encoding: how.
        stream: what `Encoding.add_stream` gave.

    Attributes:
        extradata: the header that all segments share; None where the codec has none.
        delay: by how many frames it changes their order.

    Raises:
        av.FFmpegError: the encoder does not open.
    """

    def __init__(self, encoding: Encoding, stream: VideoStream) -> None:
        self._context = encoding.open(stream)
        self._alpha = encoding.open_alpha(stream) if encoding.codec.split_alpha else None
        self._durations: dict[int, int] = {}
        self.extradata = self._context.extradata
        self.delay = self._context.reorder_depth

    def encode(self, packed: av.VideoFrame, converted: av.VideoFrame) -> list[Packet[VideoStream]]:
        """Returns the packets that are ready with a frame.

        Args:
            packed: the frame as it came, with its timestamp and duration.
            converted: the same frame in the encoder's pixel format.

        Raises:
            av.FFmpegError: the encoder failed.
        """
        assert packed.pts is not None
        self._durations[packed.pts] = packed.duration
        return self._joined(packed, self._context.encode(converted))

    def flush(self) -> list[Packet[VideoStream]]:
        """Returns the packets that were held back; nothing can be encoded afterwards."""
        return self._joined(None, self._context.encode(None))

    def _joined(
        self, packed: av.VideoFrame | None, packets: list[Packet[VideoStream]]
    ) -> list[Packet[VideoStream]]:
        for packet in packets:
            assert packet.pts is not None
            # Most encoders say one interval, whatever they were told.
            packet.duration = self._durations.pop(packet.pts)
        return packets if self._alpha is None else self._alpha.join(packed, packets)


class DecodeTimes:
    """Gives packets, in the order of decoding, the time at which each is decoded.

    That is the time at which the frame ``delay`` places before is shown: an encoder's own times would step back where
    one segment ends and the next begins, if the frames there are not evenly spaced.

    Args:
        delay: by how many frames the encoder may change their order.
        interval: from one frame to the next, for the first packets, which are decoded before anything is shown.
    """

    def __init__(self, *, delay: int, interval: int) -> None:
        self._delay = delay
        self._interval = interval
        self._ahead: list[int] = []
        self._first: int | None = None
        self._end = 0

    def next(self, pts: int, duration: int = 0) -> int:
        """Returns when the next packet is decoded, in the unit of its ``pts`` and ``duration``."""
        if self._first is None:
            self._first = pts
        self._end = max(self._end, pts + duration)
        heappush(self._ahead, pts)
        if len(self._ahead) > self._delay:
            return heappop(self._ahead)
        return self._first - (self._delay + 1 - len(self._ahead)) * self._interval

    def end(self, packet: Packet[VideoStream]) -> None:
        """Places the last packet, so that all together are decoded for as long as they are shown."""
        assert packet.pts is not None
        assert packet.dts is not None
        end, own = self._end - self._delay * self._interval, packet.duration or 0
        packet.dts = max(packet.dts, min(packet.pts, end - own))
        packet.duration = max(own, end - packet.dts)


def _repeatable(codec: Codec) -> dict[str, str]:
    """Returns an encoder's options such that the same frames always give the same bytes."""
    options = dict(codec.options)
    has_tree = codec.name == "libx264" and options["preset"] != "ultrafast"
    if has_tree and llvmlite.binding.get_host_cpu_features().get("avx512f", False):
        # With AVX-512, the macroblock tree reads memory that nothing has written: the bytes differ from run to run.
        given = options.get("x264-params")
        options["x264-params"] = f"asm={_WITHOUT_AVX512}" + (f":{given}" if given else "")
    return options
