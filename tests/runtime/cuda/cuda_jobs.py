"""Launches for tests: each kernel on given pictures and arrays, with memory of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from cuda_host import Job
from cuda_memory import TIGHT, Memory, Planes, Spacing

from rvm_trt.options import Refiner
from rvm_trt.profile import Profile
from rvm_trt.runtime.head_weights import pack_head
from rvm_trt.runtime.kernel_params import (
    Outputs,
    compose_launch,
    compose_params,
    head_launch,
    head_params,
    sample_launch,
    sample_params,
)
from rvm_trt.runtime.kernel_variants import compose_variant, head_variant, sample_variant
from rvm_trt.runtime.pixels import HD_VIDEO, Colour, PixelFormat

Array = npt.NDArray[Any]
OUTPUTS = ("pha", "fgr", "rgba", "composite")
GREEN = (120, 255, 155)


def sample_job(
    profile: Profile,
    planes: Planes,
    pixel_format: PixelFormat,
    *,
    half: bool = False,
    colour: Colour = HD_VIDEO,
    spacing: Spacing = TIGHT,
) -> Job:
    """``sample`` from a frame; writes ``src``."""
    memory = Memory()
    target = np.full((3, profile.low_height, profile.low_width), np.nan, np.float16 if half else np.float32)
    params = sample_params(
        profile,
        frame=memory.picture("frame", planes, spacing),
        frame_format=pixel_format,
        colour=colour,
        src=memory.array("src", target, output=True),
    )
    variant = sample_variant(pixel_format, half=half)
    return Job(variant=variant, launch=sample_launch(profile), params=params, memory=memory)


def head_job(
    profile: Profile, hid: Array, src: Array, weights: dict[str, Array], refiner: Refiner | None
) -> Job:
    """``head`` from ``hid`` (N, h, w, 16) and ``src`` (N, 3, h, w), float16 or float32; writes ``A`` and ``b``."""
    memory = Memory()
    target = np.full((profile.batch, 4, profile.low_height, profile.low_width), np.nan, np.float32)
    params = head_params(
        profile,
        hid=memory.array("hid", hid),
        src=memory.array("src", src),
        weights=memory.array("weights", pack_head(weights, refiner=refiner)),
        slope=memory.array("A", target, output=True),
        intercept=memory.array("b", target, output=True),
    )
    variant = head_variant(refiner, half=hid.dtype == np.float16)
    return Job(variant=variant, launch=head_launch(profile), params=params, memory=memory)


def compose_job(
    profile: Profile,
    frame: Planes,
    frame_format: PixelFormat,
    maps: tuple[Array, Array],
    *,
    wanted: tuple[str, ...] = OUTPUTS,
    composite_format: PixelFormat = PixelFormat.RGB8,
    colours: tuple[Colour, Colour] = (HD_VIDEO, HD_VIDEO),
    background: Array | tuple[int, int, int] = GREEN,
    premultiplied: bool = False,
    spacing: Spacing = TIGHT,
) -> Job:
    """``compose`` from a frame and its A and b; writes the outputs, plane by plane: ``pha0``, ``composite1``."""
    memory = Memory()
    formats = {
        "pha": None,
        "fgr": PixelFormat.RGB8,
        "rgba": PixelFormat.RGBA8,
        "composite": composite_format,
    }
    params = compose_params(
        profile,
        frame=memory.picture("frame", frame, spacing),
        frame_format=frame_format,
        colour=colours[0],
        slope=memory.array("A", maps[0]),
        intercept=memory.array("b", maps[1]),
        background=background
        if isinstance(background, tuple)
        else memory.picture("background", [background], spacing),
        outputs=Outputs(
            **{
                name: memory.output(name, formats[name], profile.width, profile.height, spacing)
                for name in wanted
            },
            premultiplied=premultiplied,
            composite_format=composite_format,
            composite_colour=colours[1],
        ),
    )
    return Job(
        variant=compose_variant(frame_format, composite_format),
        launch=compose_launch(profile, frame_format, composite_format),
        params=params,
        memory=memory,
    )
