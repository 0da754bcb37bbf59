"""What our own kernels and the copies ask of a machine, from the profile's sizes alone.

Every byte of device memory that a kernel needs is counted once: neighbouring blocks find each other's rows in cache.
`sample` fetches whole rows of the frame, as its pixels lie less than a sector of 32 bytes apart, two for each
row of the result. `compose` reads and writes whole pictures, and the coefficients once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rvm_trt.contract import HIDDEN_CHANNELS
from rvm_trt.options import Refiner
from rvm_trt.profile import Profile
from rvm_trt.runtime.pixels import PixelFormat

KERNELS = ("sample", "head", "compose")
_COEFFICIENT_BYTES = 2 * 4 * 4  # A and b, four channels of float32
# Of a pixel: colour conversion to RGB, and back (Y, and its share of Cb and Cr).
_DECODE_MACS, _ENCODE_MACS = 5, 5
# Of a low-resolution pixel, three channels: two interpolations along y, one along x, one scale.
_SAMPLE_MACS = 12
# Of a frame's pixel: A and b interpolated along x 8, mean 1, alpha 2, foreground 6.
_MATTE_MACS, _BLEND_MACS = 17, 3
_HEAD_MACS = {
    # Projection 64, four box filters over four channels 144, perceptron 704.
    Refiner.DEEP: 64 + 144 + 704,
    Refiner.FAST: 64 + 144 + 4,
}
_PROJECT_MACS = 64


@dataclass(frozen=True, kw_only=True)
class KernelWork:
    """What one kernel of ours asks for each frame, in bytes and multiply-accumulates without matrices."""

    name: str
    macs: int
    read_bytes: int
    written_bytes: int


def frame_kernels(
    profile: Profile,
    *,
    element_bytes: int,
    pixel_format: PixelFormat = PixelFormat.RGB8,
    outputs: Sequence[str] = ("composite",),
) -> tuple[KernelWork, ...]:
    """Returns the work of sample, head and compose for one frame on a colour background.

    Args:
        profile: sizes and refiner.
        element_bytes: of the network's input and hidden features.
        pixel_format: of the frame and of the composite.
        outputs: what compose writes: ``composite``, ``pha``, ``fgr``, ``rgba``.
    """
    low, pixels = profile.low_width * profile.low_height, profile.width * profile.height
    conversion = _DECODE_MACS if pixel_format.is_subsampled else 0
    written = output_bytes(profile, pixel_format, outputs)
    blend = _BLEND_MACS + (_ENCODE_MACS if conversion else 0) if "composite" in outputs else 0
    # Along y, A and b are interpolated for each of the frame's rows at low-resolution columns.
    columns = 8 * profile.low_width * profile.height
    return (
        KernelWork(
            name="sample",
            macs=low * (_SAMPLE_MACS + 4 * conversion),
            read_bytes=_sampled_bytes(profile, pixel_format),
            written_bytes=3 * low * element_bytes,
        ),
        KernelWork(
            name="head",
            macs=low * (_HEAD_MACS[profile.refiner] if profile.uses_refiner else _PROJECT_MACS),
            read_bytes=(HIDDEN_CHANNELS + 3 * profile.uses_refiner) * low * element_bytes,
            written_bytes=_COEFFICIENT_BYTES * low,
        ),
        KernelWork(
            name="compose",
            macs=pixels * (_MATTE_MACS + conversion + blend) + columns,
            read_bytes=picture_bytes(profile, pixel_format) + _COEFFICIENT_BYTES * low,
            written_bytes=written,
        ),
    )


def picture_bytes(profile: Profile, pixel_format: PixelFormat) -> int:
    """Returns the bytes of a frame without padding."""
    luma = pixel_format.row_bytes(profile.width) * profile.height
    return luma + pixel_format.chroma_row_bytes(profile.width) * pixel_format.chroma_rows(profile.height)


def output_bytes(profile: Profile, pixel_format: PixelFormat, outputs: Sequence[str]) -> int:
    """Returns the bytes of the outputs of a frame."""
    pixels = profile.width * profile.height
    sizes = {
        "composite": picture_bytes(profile, pixel_format),
        "pha": pixels,
        "fgr": 3 * pixels,
        "rgba": 4 * pixels,
    }
    return sum(sizes[name] for name in outputs)


def _sampled_bytes(profile: Profile, pixel_format: PixelFormat) -> int:
    rows = 2 * profile.low_height
    luma = min(rows, profile.height) * pixel_format.row_bytes(profile.width)
    chroma_rows = min(rows, pixel_format.chroma_rows(profile.height))
    return luma + chroma_rows * pixel_format.chroma_row_bytes(profile.width)
