"""Frames into a video file, with PyAV: H.264, or ProRes 4444 and VP9 where there is alpha."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from av.video.stream import VideoStream

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.audio import AudioCopy
from rvm_trt.runtime.video.colour import FromRgb
from rvm_trt.runtime.video.output import EncodeOptions, OutputFormat, OutputKind, OutputPlan
from rvm_trt.runtime.video.slot import FrameSlot
from rvm_trt.runtime.video.source import Clip
from rvm_trt.runtime.video.timing import Timeline

_PACKED = {1: "gray", 3: "rgb24", 4: "rgba"}
_BT709 = 1  # AVCOL_SPC_BT709
_NAMED_CRF, _FAST_CRF = 18, 22
# libx264's fastest preset with the tools that cost little for the bytes they save, but without B-frames and lookahead,
# which cost more than all else together. At 22, PSNR and SSIM are above those of veryfast at 18: benchmarks/LOG.md.
_FAST = {
    "preset": "ultrafast",
    "x264-params": "cabac=1:8x8dct=1:partitions=i8x8,i4x4:deblock=1:aq-mode=1",
}


@dataclass(frozen=True, kw_only=True)
class Codec:
    """An encoder and how it is set.

    Attributes:
        name: FFmpeg's name of the encoder.
        pixel_format: FFmpeg's name of what it is given.
        options: its private options.
        even: whether both sides must be even.
    """

    name: str
    pixel_format: str
    options: dict[str, str]
    even: bool = False

    @classmethod
    def choose(cls, fmt: OutputFormat, kind: OutputKind, options: EncodeOptions) -> Codec:
        """Returns the codec for a container and a kind of picture."""
        alpha = kind is OutputKind.RGBA
        crf = _NAMED_CRF if options.crf is None else options.crf
        if fmt is OutputFormat.WEBM:
            vp9 = {"crf": str(crf), "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
            if alpha:  # libvpx cannot look ahead with alpha.
                vp9["auto-alt-ref"] = "0"
            return cls(name="libvpx-vp9", pixel_format="yuva420p" if alpha else "yuv420p", options=vp9)
        if alpha:
            prores = {"profile": "4444", "vendor": "apl0", "alpha_bits": "16"}
            return cls(name="prores_ks", pixel_format="yuva444p10le", options=prores)
        if options.preset is None:
            x264 = {"crf": str(_FAST_CRF if options.crf is None else options.crf), **_FAST}
        else:
            x264 = {"crf": str(crf), "preset": options.preset}
        return cls(name="libx264", pixel_format="yuv420p", options=x264, even=True)


class VideoWriter:
    """Encodes frames into a container; sound is copied beside them.

    H.264 is written as 4:2:0, 8 bits, BT.709 limited range and tagged so: what every player and browser
    shows. It cannot hold odd sizes: the last row or column is repeated, and a notice says so. (4:4:4 could
    hold them, but most players cannot show it. A PNG folder, ProRes and VP9 keep the size exactly.)

    Args:
        file: where to write.
        plan: the output, for its format, kind, and name in messages.
        clip: size, rate, time base and sound of the source.
        options: how to encode.
        notice: called with each remark for the user.

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
    ) -> None:
        self._plan = plan
        self._size = (clip.width, clip.height)
        self._codec = Codec.choose(plan.format, plan.kind, options)
        self._padded = (_even(clip.width), _even(clip.height)) if self._codec.even else self._size
        if self._padded != self._size:
            notice(
                f"H.264 needs even sides: {clip.width}x{clip.height} is written as "
                f"{self._padded[0]}x{self._padded[1]}, the last row or column repeated."
            )
        self._timeline = Timeline(rate=clip.rate, time_base=clip.time_base, start=clip.start)
        self._from_rgb = FromRgb(self._codec.pixel_format, threads=options.threads)
        self._stack = ExitStack()
        with self._errors(), ExitStack() as stack:
            container = av.open(f"file:{file}", "w", format=plan.format.value, container_options=_flags(plan))
            self._container: OutputContainer = stack.enter_context(container)
            self._stream = self._add_stream(clip, options)
            self._audio = self._copy_audio(stack, clip, options, notice)
            self._container.start_encoding()
            self._stack = stack.pop_all()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def make_slot(self) -> FrameSlot:
        """Returns memory for one frame, to be filled and given to `encode`."""
        frame = av.VideoFrame(*self._padded, _PACKED[self._plan.kind.channels])
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
            frame = self._from_rgb.convert(slot.frame)
            frame.pts = self._timeline.place(pts, time_base)
            frame.time_base = self._timeline.time_base
            frame.duration = self._timeline.length(duration, time_base)
            if self._audio is not None:
                self._audio.copy_until(frame.pts * self._timeline.time_base)
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Flushes the encoder, copies the rest of the sound and completes the file; raises `VideoError`."""
        with self._errors():
            self._container.mux(self._stream.encode(None))
            if self._audio is not None:
                self._audio.copy_until(None)
            self._container.close()

    def close(self) -> None:
        """Closes the file, whole or not. May be called twice."""
        # Whoever closes before finish() throws the file away: that its end could not be written is no news.
        with suppress(av.FFmpegError):
            self._stack.close()

    def _add_stream(self, clip: Clip, options: EncodeOptions) -> VideoStream:
        # The rate is only told to players; the timestamps carry the timing.
        stream = self._container.add_stream(
            self._codec.name,
            rate=clip.rate,
            options=self._codec.options,
            time_base=self._timeline.time_base,
            width=self._padded[0],
            height=self._padded[1],
        )
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.pix_fmt = self._codec.pixel_format
        context.thread_count = options.threads
        context.sample_aspect_ratio = clip.pixel_aspect
        context.colorspace, context.color_range = _BT709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        if self._plan.format is OutputFormat.WEBM and self._plan.kind is OutputKind.RGBA:
            stream.metadata["alpha_mode"] = "1"
        return stream

    def _copy_audio(
        self, stack: ExitStack, clip: Clip, options: EncodeOptions, notice: Callable[[str], None]
    ) -> AudioCopy | None:
        if not (clip.has_audio and options.audio):
            return None
        audio = AudioCopy(clip.path, self._container, start=clip.start, notice=notice)
        return stack.enter_context(audio)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            # FFmpeg's last log line says more than its error number: "unsupported channel layout", for one.
            detail = error.log[1] if error.log else None
            raise VideoError(
                f"output {str(self._plan.path)!r}",
                got=f"{error.strerror} ({detail[2].strip()})" if detail else f"{error.strerror}",
                expected=f"to write {self._plan.format.value} with {self._codec.name}",
                todo="Check the free space, leave the sound out (--no-audio), or choose another format.",
            ) from error


def _flags(plan: OutputPlan) -> dict[str, str]:
    # The index first, so that a browser can start to play before it has the whole file.
    return {"movflags": "+faststart"} if plan.format in (OutputFormat.MP4, OutputFormat.MOV) else {}


def _even(side: int) -> int:
    return side + side % 2
