"""Which encoder writes what, how it is set, and what the file says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rvm_trt.runtime.video.output import CodecName, EncodeOptions, OutputFormat, OutputKind, codec_of
from rvm_trt.runtime.video.source import ClipColour

_NAMED_CRF, _FAST_CRF = 18, 22
# libx264's fastest preset with the tools that cost little for the bytes they save, but without B-frames and lookahead,
# which cost more than all else together. At 22, PSNR and SSIM are above those of veryfast at 18: benchmarks/LOG.md.
_FAST = {
    "preset": "ultrafast",
    "x264-params": "cabac=1:8x8dct=1:partitions=i8x8,i4x4:deblock=1:aq-mode=1",
}
# FFmpeg's numbers: AVColorSpace and AVColorRange.
_RGB, _BT709, _UNSPECIFIED, _BT2020 = 0, 1, 2, 9
_LIMITED, _FULL = 1, 2
_PACKED: Mapping[tuple[int, int], str] = {
    (1, 8): "gray",
    (3, 8): "rgb24",
    (4, 8): "rgba",
    (1, 16): "gray16le",
    (4, 16): "rgba64le",
}
# What FFV1 stores without a loss, by what comes in.
_LOSSLESS: Mapping[str, str] = {
    "gray": "gray",
    "rgb24": "bgr0",
    "rgba": "bgra",
    "gray16le": "gray16le",
    "rgba64le": "gbrap16le",
}


def packed_format(kind: OutputKind, depth: int) -> str:
    """Returns FFmpeg's name of the packed pixels that hold a kind of picture."""
    return _PACKED[kind.channels, depth]


@dataclass(frozen=True, kw_only=True)
class Codec:
    """An encoder and how it is set.

    Attributes:
        name: FFmpeg's name of the encoder.
        packed: FFmpeg's name of the pixels that frames come in.
        pixel_format: FFmpeg's name of what the encoder is given.
        options: its private options.
        even: whether both sides must be even.
        split_alpha: whether alpha is encoded by a second encoder of the same settings, see `AlphaStream`.
        colorspace, color_range, color_primaries, color_trc: how the encoder and the file tag the colours, by FFmpeg's
            numbers.
        stream_metadata: tags of the video stream.
        metadata: tags of the file.
    """

    name: str
    packed: str
    pixel_format: str
    options: dict[str, str] = field(default_factory=dict)
    even: bool = False
    split_alpha: bool = False
    colorspace: int = _BT709
    color_range: int = _LIMITED
    color_primaries: int = 1
    color_trc: int = 1
    stream_metadata: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def choose(
        cls,
        fmt: OutputFormat,
        kind: OutputKind,
        options: EncodeOptions,
        *,
        depth: int = 8,
        colour: ClipColour | None = None,
    ) -> Codec:
        """Returns the codec of a video file.

        Args:
            fmt: a container, which must be able to hold the codec: see `plan_output`.
            kind: which picture.
            options: how to encode.
            depth: bits per value of the images, 8 or 16.
            colour: what the colours mean; BT.709 where None. Primaries and transfer curve are passed on; the matrix is
                BT.709's, or BT.2020's where it is the source's.
        """
        alpha = kind is OutputKind.RGBA
        colour = colour or ClipColour()
        setting = _setting(fmt, packed_format(kind, depth), options, alpha=alpha)
        if setting.color_range == _LIMITED:
            setting = replace(setting, colorspace=_BT2020 if colour.matrix == _BT2020 else _BT709)
        return replace(
            setting,
            color_primaries=colour.primaries,
            color_trc=colour.transfer,
            metadata={"comment": "alpha: premultiplied"} if alpha and options.premultiplied else {},
        )


def _setting(fmt: OutputFormat, packed: str, options: EncodeOptions, *, alpha: bool) -> Codec:
    crf = str(_NAMED_CRF if options.crf is None else options.crf)
    match codec_of(fmt, options, alpha=alpha):
        case CodecName.PRORES:
            return _prores(packed, alpha=alpha)
        case CodecName.FFV1:
            return _ffv1(packed)
        case CodecName.VP9:
            return _vp9(packed, crf, alpha=alpha)
        case CodecName.AV1:
            return _av1(packed, crf, alpha=alpha)
        case _:
            return _h264(packed, options)


def _h264(packed: str, options: EncodeOptions) -> Codec:
    if options.preset is None:
        x264 = {"crf": str(_FAST_CRF if options.crf is None else options.crf), **_FAST}
    else:
        x264 = {"crf": str(_NAMED_CRF if options.crf is None else options.crf), "preset": options.preset}
    return Codec(name="libx264", packed=packed, pixel_format="yuv420p", options=x264, even=True)


def _vp9(packed: str, crf: str, *, alpha: bool) -> Codec:
    vp9 = {"crf": crf, "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
    if not alpha:
        return Codec(name="libvpx-vp9", packed=packed, pixel_format="yuv420p", options=vp9)
    return Codec(
        name="libvpx-vp9",
        packed=packed,
        pixel_format="yuva420p",
        options={**vp9, "auto-alt-ref": "0"},  # libvpx cannot look ahead with alpha
        stream_metadata={"alpha_mode": "1"},
    )


def _av1(packed: str, crf: str, *, alpha: bool) -> Codec:
    return Codec(
        name="libsvtav1",
        packed=packed,
        pixel_format="yuv420p",
        options={"crf": crf, "preset": "8"},
        split_alpha=alpha,
        stream_metadata={"alpha_mode": "1"} if alpha else {},
    )


def _prores(packed: str, *, alpha: bool) -> Codec:
    # 4444 without alpha, too: prores_ks spoils 4:2:2 of odd widths. Of alpha, it takes ten bits at most and stores
    # them without a loss.
    return Codec(
        name="prores_ks",
        packed=packed,
        pixel_format="yuva444p10le" if alpha else "yuv444p10le",
        options={"profile": "4444", "vendor": "apl0"} | ({"alpha_bits": "16"} if alpha else {}),
    )


def _ffv1(packed: str) -> Codec:
    return Codec(
        name="ffv1",
        packed=packed,
        pixel_format=_LOSSLESS[packed],
        # Slices are what the encoder's threads share; every frame is a key frame with checksums.
        options={"level": "3", "g": "1", "slices": "12", "slicecrc": "1"},
        colorspace=_UNSPECIFIED if packed.startswith("gray") else _RGB,
        color_range=_FULL,
    )
