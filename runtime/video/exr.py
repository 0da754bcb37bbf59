"""Frames as OpenEXR images: half float, linear light."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import OpenEXR

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.output import OutputKind, OutputPlan
from rvm_trt.runtime.video.source import Clip

# Chromaticities of AVColorPrimaries: x and y of red, green, blue and white (ITU-R BT.709, BT.601, BT.2020).
_WHITE = (0.3127, 0.329)
_CHROMATICITIES: Mapping[int, tuple[float, ...]] = {
    1: (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_WHITE),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_WHITE),
    6: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *_WHITE),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_WHITE),
}
_HDR = (16, 18)  # PQ and HLG


class ExrForm:
    """Writes half-float images, compressed without a loss: R, G and B with A for ``rgba``; Y for ``pha``.

    Colours are linear light: the sRGB curve is undone, 1.0 is white, and applying that curve gives all 8-bit levels
    back. Alpha, and Y of ``pha``, is the matte from 0 to 1. Colours are premultiplied by alpha, in linear light, as
    OpenEXR asks, unless straight ones were chosen. The header says so: ``alphaMode`` is ``premultiplied`` or
    ``straight``; it has the frame rate, the primaries and the shape of a pixel, too.

    Args:
        plan: the output, for its kind, depth, and name in messages.
        clip: the source, for its rate and colours.

    Raises:
        VideoError: the source is HDR (PQ or HLG), whose light is not defined by its codes alone.
    """

    suffix = ".exr"

    def __init__(self, plan: OutputPlan, clip: Clip) -> None:
        self._plan = plan
        if clip.colour.transfer in _HDR:
            raise VideoError(
                f"output {str(plan.path)!r}",
                got="HDR (PQ or HLG) for OpenEXR's linear light",
                expected="a source with a video or sRGB curve",
                todo="Write PNG images, or video by --codec ffv1 or prores, which keep the codes.",
            )
        highest = 65535 if plan.depth == 16 else 255
        codes = np.arange(highest + 1) / highest
        self._levels = codes.astype(np.float32)
        self._light = _linear(codes).astype(np.float32)
        self._header: dict[str, Any] = {
            "compression": OpenEXR.ZIP_COMPRESSION,
            "type": OpenEXR.scanlineimage,
            "framesPerSecond": clip.rate,
            "pixelAspectRatio": float(clip.pixel_aspect),
            "chromaticities": _CHROMATICITIES.get(clip.colour.primaries, _CHROMATICITIES[1]),
        }
        if plan.kind is OutputKind.RGBA:
            self._header["alphaMode"] = "premultiplied" if plan.premultiplied else "straight"

    def save(self, image: npt.NDArray[Any], file: Path) -> None:
        """Writes an image; raises `OSError`."""
        # By way of memory: OpenEXR does not tell of a full disk where it only shows when the file is closed.
        stream = io.BytesIO()
        OpenEXR.File(self._header, self._channels(image)).write(stream)
        file.write_bytes(stream.getbuffer())

    def _channels(self, image: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float16]]:
        if image.ndim == 2:
            return {"Y": self._levels[image].astype(np.float16)}
        light = self._light[image[..., :3]]
        channels = {}
        if image.shape[2] == 4:
            alpha = self._levels[image[..., 3]]
            channels["A"] = alpha.astype(np.float16)
            if self._plan.premultiplied:
                light *= alpha[..., None]
        halves = light.astype(np.float16)
        return channels | {name: np.ascontiguousarray(halves[..., i]) for i, name in enumerate("RGB")}


def _linear(codes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the light of sRGB codes, both from 0 to 1 (IEC 61966-2-1)."""
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
