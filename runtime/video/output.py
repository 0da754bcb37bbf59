"""What is written: the kinds of picture, the formats, the encoder's options, and the plan made of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rvm_trt.errors import OptionError, VideoError
from rvm_trt.options import choice
from rvm_trt.runtime.video.output_place import check_place, check_standard_output

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
STANDARD_OUTPUT = "-"


class OutputKind(str, Enum):
    """Which picture of the matte is written."""

    COMPOSITE = "composite"
    PHA = "pha"
    RGBA = "rgba"
    FGR = "fgr"

    @property
    def channels(self) -> int:
        """Values per pixel: 1, 3 or 4."""
        return {OutputKind.PHA: 1, OutputKind.RGBA: 4}.get(self, 3)


class OutputFormat(str, Enum):
    """How the output is stored; of a video, the value is FFmpeg's name of the container."""

    MP4 = "mp4"
    MOV = "mov"
    MATROSKA = "matroska"
    WEBM = "webm"
    PNG_FOLDER = "png"
    EXR_FOLDER = "exr"
    RAW = "rawvideo"

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of numbered images."""
        return self in (OutputFormat.PNG_FOLDER, OutputFormat.EXR_FOLDER)

    @property
    def is_video(self) -> bool:
        """Whether it is a file with timestamps and sound."""
        return not (self.is_folder or self is OutputFormat.RAW)

    @property
    def has_alpha(self) -> bool:
        """Whether it can hold ``rgba``."""
        return self is not OutputFormat.MP4


class CodecName(str, Enum):
    """How pictures are coded."""

    H264 = "h264"
    PRORES = "prores"
    VP9 = "vp9"
    AV1 = "av1"
    FFV1 = "ffv1"
    PNG = "png"
    EXR = "exr"


class RawFormat(str, Enum):
    """FFmpeg's names of planar raw frames with alpha: BT.709, limited range; alpha has all 256 levels."""

    YUVA420P = "yuva420p"
    YUVA444P = "yuva444p"


_SUFFIXES: Mapping[str, OutputFormat] = {
    ".mp4": OutputFormat.MP4,
    ".m4v": OutputFormat.MP4,
    ".mov": OutputFormat.MOV,
    ".mkv": OutputFormat.MATROSKA,
    ".webm": OutputFormat.WEBM,
}
SUPPORTED = (
    f"{', '.join(_SUFFIXES)}, a folder of images (no suffix, or ending in '/'), or '-' for standard output"
)
# The first of each is the default; of those with alpha, the default for rgba.
_CODECS: Mapping[OutputFormat, tuple[CodecName, ...]] = {
    OutputFormat.MP4: (CodecName.H264, CodecName.AV1, CodecName.VP9),
    OutputFormat.MOV: (CodecName.H264, CodecName.PRORES),
    OutputFormat.MATROSKA: (
        CodecName.H264,
        CodecName.FFV1,
        CodecName.PRORES,
        CodecName.VP9,
        CodecName.AV1,
    ),
    OutputFormat.WEBM: (CodecName.VP9, CodecName.AV1),
    OutputFormat.PNG_FOLDER: (CodecName.PNG,),
    OutputFormat.EXR_FOLDER: (CodecName.EXR,),
    OutputFormat.RAW: (),
}
_DEEP = (CodecName.PRORES, CodecName.FFV1, CodecName.PNG, CodecName.EXR)
# Players blend these two as straight alpha, and no tag could tell them otherwise.
_STRAIGHT_ONLY = (CodecName.VP9, CodecName.AV1)


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """How pictures are encoded.

    Attributes:
        crf: constant rate factor of H.264, VP9 and AV1: 0 best, 51 worst. None is visually lossless: 22 for H.264 where
            ``preset`` is None, otherwise 18.
        preset: libx264's trade of speed for size, ``ultrafast`` to ``veryslow``. None is a choice of our own: what
            ``veryfast`` shows at 18, in a third of the time and half as large again (see benchmarks/LOG.md).
        threads: encoder and conversion threads; 0 for one per core.
        audio: whether sound is copied.
        codec: a `CodecName`; the format's own where None: H.264, for ``rgba`` ProRes 4444 in .mov and FFV1 in .mkv; VP9
            in .webm; PNG in folders.
        premultiplied: whether the colours of ``rgba`` are multiplied by alpha, which the file then says. None is the
            custom of the format: EXR is premultiplied, all else straight. Means nothing for other kinds.
        raw_format: a `RawFormat` for ``rgba`` on standard output; packed pixels where None.

    Raises:
        OptionError: a value is out of range.
    """

    crf: int | None = None
    preset: str | None = None
    threads: int = 0
    audio: bool = True
    codec: str | None = None
    premultiplied: bool | None = None
    raw_format: str | None = None

    def __post_init__(self) -> None:
        crf = 0 if self.crf is None else self.crf
        for subject, value, high in (("crf", crf, 51), ("threads", self.threads, 256)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
                raise OptionError(
                    subject,
                    got=repr(value),
                    expected=f"an integer from 0 to {high}",
                    todo=f"Give another {subject}.",
                )
        if self.preset is not None and self.preset not in PRESETS:
            raise OptionError(
                "preset",
                got=repr(self.preset),
                expected=f"one of {', '.join(PRESETS)}",
                todo="Name one of these.",
            )
        if self.codec is not None:
            choice(CodecName, self.codec, subject="codec")
        if self.raw_format is not None:
            choice(RawFormat, self.raw_format, subject="raw format")


def codec_of(fmt: OutputFormat, options: EncodeOptions, *, alpha: bool) -> CodecName | None:
    """Returns the codec that the options name, or the format's own for pictures with or without alpha; None for raw."""
    if options.codec is not None:
        return CodecName(options.codec)
    return next((name for name in _CODECS[fmt] if not (alpha and name is CodecName.H264)), None)


@dataclass(frozen=True, kw_only=True)
class OutputPlan:
    """A checked output.

    Attributes:
        path: the file or folder to write; ``-`` for standard output.
        format: how it is stored.
        kind: which picture.
        codec: how the pictures are coded; None for raw frames.
        depth: bits per value of the images it takes: 8 (uint8), or 16 (uint16, 65535 for 1).
        premultiplied: whether colours are stored multiplied by alpha.
        raw_format: the planar format of raw frames; None for packed pixels.
        overwrite: whether what stands at ``path`` may be replaced.
    """

    path: Path
    format: OutputFormat
    kind: OutputKind
    codec: CodecName | None = None
    depth: int = 8
    premultiplied: bool = False
    raw_format: RawFormat | None = None
    overwrite: bool = False


def plan_output(
    path: str | os.PathLike[str],
    *,
    kind: str | OutputKind | None = None,
    source: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    options: EncodeOptions | None = None,
    depth: int = 8,
) -> OutputPlan:
    """Checks an output before any work, and leaves no trace.

    Args:
        path: ``.mp4``, ``.mov``, ``.mkv`` or ``.webm``; a path without suffix, or one that ends in ``/``, is
            a folder of images; ``-`` is standard output, which gets raw frames.
        kind: which picture; ``composite`` for video and ``rgba`` for all else where None.
        source: the input, which the output must not be.
        overwrite: whether something there may be replaced. A folder only if it holds nothing but numbered PNG or
            EXR images.
        options: how to encode.
        depth: bits per value of the images that are to be written; 16 for ``pha`` and ``rgba`` only.

    Raises:
        VideoError: unsupported suffix, a codec that does not fit the suffix, alpha or 16 bits where there is no place
            for them, already there, same as the input, or a folder that is missing or cannot be written to.
    """
    options = options or EncodeOptions()
    fmt = _format(path, options)
    default = OutputKind.COMPOSITE if fmt.is_video else OutputKind.RGBA
    chosen = default if kind is None else choice(OutputKind, kind, subject="output kind")
    codec = _codec(path, fmt, chosen, options)
    plan = OutputPlan(
        path=Path(path),
        format=fmt,
        kind=chosen,
        codec=codec,
        depth=depth,
        premultiplied=chosen is OutputKind.RGBA
        and (codec is CodecName.EXR if options.premultiplied is None else options.premultiplied),
        raw_format=None if options.raw_format is None else RawFormat(options.raw_format),
        overwrite=overwrite,
    )
    _check_pixels(plan)
    if fmt is OutputFormat.RAW:
        check_standard_output()
    else:
        check_place(plan.path, source=source, is_folder=fmt.is_folder, overwrite=overwrite)
    return plan


def _format(path: str | os.PathLike[str], options: EncodeOptions) -> OutputFormat:
    text = os.fspath(path)
    if text == STANDARD_OUTPUT:
        return OutputFormat.RAW
    suffix = Path(text).suffix.lower()
    if text.endswith(("/", os.sep)) or not suffix:
        return OutputFormat.EXR_FOLDER if options.codec == CodecName.EXR else OutputFormat.PNG_FOLDER
    if suffix in (".png", ".exr"):
        todo = f"Name a folder: '{text.removesuffix(Path(text).suffix)}/'{' with --codec exr' * (suffix == '.exr')}."
        raise _error(path, f"the suffix {suffix!r}", "a folder for PNG images or EXR images", todo)
    if suffix not in _SUFFIXES:
        raise _error(path, f"the suffix {suffix!r}", SUPPORTED, "Choose one of these.")
    return _SUFFIXES[suffix]


def _codec(
    path: str | os.PathLike[str], fmt: OutputFormat, kind: OutputKind, options: EncodeOptions
) -> CodecName | None:
    held = _CODECS[fmt]
    alpha = kind is OutputKind.RGBA
    if options.codec is not None and options.codec not in held:
        homes = [name for name, home in _SUFFIXES.items() if options.codec in _CODECS[home]]
        raise _error(
            path,
            f"codec {CodecName(options.codec).value!r}",
            f"one of {', '.join(name.value for name in held)}" if held else "no codec: raw frames",
            f"Leave out --codec, or write {' or '.join(homes) or 'a folder'}.",
        )
    if alpha and (options.codec == CodecName.H264 or not fmt.has_alpha):
        raise _error(
            path,
            f"kind 'rgba' for a format without alpha ({options.codec or fmt.value})",
            ".mov (ProRes 4444), .webm (VP9), .mkv (FFV1), a folder of images, or '-'",
            "Choose one of these, or write 'pha' and 'fgr' to two files.",
        )
    return codec_of(fmt, options, alpha=alpha)


def _check_pixels(plan: OutputPlan) -> None:
    if plan.depth not in (8, 16) or (plan.depth == 16 and plan.kind not in (OutputKind.PHA, OutputKind.RGBA)):
        raise _error(
            plan.path,
            f"depth {plan.depth} for kind {plan.kind.value!r}",
            "8, or 16 for 'pha' and 'rgba'",
            "Use 8.",
        )
    if plan.depth == 16 and (plan.raw_format or (plan.codec is not None and plan.codec not in _DEEP)):
        name = plan.raw_format or plan.codec
        raise _error(
            plan.path,
            f"16 bits for {name.value if name else ''}, which holds 8",
            f"one of {', '.join(codec.value for codec in _DEEP)}",
            "Choose one of these, or give 8 bits.",
        )
    if plan.premultiplied and plan.codec in _STRAIGHT_ONLY:
        raise _error(
            plan.path,
            "premultiplied colours for WebM, which is always shown as straight",
            "straight colours, or ProRes, FFV1, PNG, EXR or raw frames",
            "Leave out --premultiplied, or choose another format.",
        )
    if plan.raw_format and not (plan.format is OutputFormat.RAW and plan.kind is OutputKind.RGBA):
        raise _error(
            plan.path,
            f"raw format {plan.raw_format.value!r} for {plan.format.value}, kind {plan.kind.value!r}",
            "kind 'rgba' on standard output ('-')",
            "Leave out --raw-format.",
        )


def _error(path: str | os.PathLike[str], got: str, expected: str, todo: str) -> VideoError:
    return VideoError(f"output {str(path)!r}", got=got, expected=expected, todo=todo)
