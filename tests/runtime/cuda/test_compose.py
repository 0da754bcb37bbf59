"""The compose kernel, run on the CPU under sanitizers, against the reference."""

from __future__ import annotations

from itertools import product
from typing import Any

import cuda_reference as reference
import numpy as np
import numpy.typing as npt
import pytest
from cuda_host import HostKernels, Job
from cuda_jobs import GREEN, OUTPUTS, compose_job
from cuda_memory import TIGHT, Spacing

from rvm_trt.profile import Profile
from rvm_trt.runtime.kernel_variants import COMPOSITE_FORMATS
from rvm_trt.runtime.pixels import HD_VIDEO, Colour, ColourMatrix, ColourRange, PixelFormat

Array = npt.NDArray[Any]
COLOURS = [Colour(matrix=matrix, range=name) for matrix, name in product(ColourMatrix, ColourRange)]
PROFILES = [
    Profile(width=width, height=height, ratio=ratio)
    for width, height, ratio in ((161, 97, 0.6), (150, 66, 0.3), (33, 17, 1.0), (143, 129, 0.125))
]
ODD = PROFILES[0]
# Whole words, words in some rows only, and no words at all.
SPACINGS = [Spacing(before=32, unit=16), TIGHT, Spacing(before=2, after=6, padding=10)]


def coefficients(profile: Profile, *, spread: float = 0.4, seed: int = 1) -> tuple[Array, Array]:
    shape, generator = (4, profile.low_height, profile.low_width), np.random.default_rng(seed)
    slope, intercept = (generator.normal(centre, spread, shape).astype(np.float32) for centre in (0, 0.3))
    return slope, intercept


def assert_rounded(got: Array, expected: Array, name: str, slack: float = 0.02) -> None:
    """Every value is the nearest level, half up; ``slack`` is for ties that single precision decides otherwise."""
    got = got.reshape(expected.shape).astype(np.float64)
    np.testing.assert_array_less(np.abs(got - expected), 0.5 + slack, err_msg=name)
    assert (got == np.floor(expected + 0.5)).mean() >= 0.999, name


def assert_composed(
    done: Job,
    rgb: Array,
    maps: tuple[Array, Array],
    *,
    background: Any = GREEN,
    composite_format: PixelFormat = PixelFormat.RGB8,
    colour: Colour = HD_VIDEO,
    premultiplied: bool = False,
) -> None:
    fgr, pha = reference.matte(rgb, *maps)
    memory = done.memory
    assert_rounded(memory.read("pha0"), pha, "pha")
    assert_rounded(memory.read("fgr0"), fgr, "fgr")
    straight = fgr * pha / 255 if premultiplied else fgr
    assert_rounded(memory.read("rgba0"), np.concatenate([straight, pha], axis=2), "rgba")
    behind = np.asarray(background, np.float64)
    composite = reference.from_rgb(behind + (fgr - behind) * pha / 255, composite_format, colour)
    for index, expected in enumerate(composite):
        got = memory.read(f"composite{index}")
        if composite_format is PixelFormat.P010:
            assert not (got & 63).any()
            got = got >> 6
        assert_rounded(got, expected, f"composite plane {index}")
    memory.check()


@pytest.mark.parametrize("frame_format", PixelFormat)
def test_every_pair_of_formats_gives_the_reference(host: HostKernels, frame_format: PixelFormat) -> None:
    cases = list(enumerate(product(COMPOSITE_FORMATS, PROFILES)))
    jobs, checks = [], []
    for index, (composite_format, profile) in cases:
        frame = reference.picture(frame_format, profile.width, profile.height, index)
        behind = reference.picture(PixelFormat.RGB8, profile.width, profile.height, 100 + index)[0]
        background = behind if index % 2 else GREEN
        colours = COLOURS[index % 6], COLOURS[(index * 5 + 1) % 6]
        options = {
            "composite_format": composite_format,
            "background": background,
            "premultiplied": index % 3 == 0,
        }
        maps = coefficients(profile, spread=(0.0, 0.4, 3.0)[index % 3], seed=index)
        jobs.append(
            compose_job(
                profile, frame, frame_format, maps, colours=colours, spacing=SPACINGS[index % 3], **options
            )
        )
        rgb = reference.to_rgb(frame, frame_format, colours[0])
        checks.append((rgb, maps, {**options, "colour": colours[1]}))
    host.run(*jobs)
    for done, (rgb, maps, options) in zip(jobs, checks, strict=True):
        assert_composed(done, rgb, maps, **options)


@pytest.mark.parametrize("video", [PixelFormat.NV12, PixelFormat.P010])
def test_every_matrix_and_range_gives_the_reference(host: HostKernels, video: PixelFormat) -> None:
    frame, maps = reference.picture(video, ODD.width, ODD.height, 2), coefficients(ODD)
    pairs = [*zip(COLOURS, COLOURS, strict=True), (COLOURS[0], COLOURS[3]), (COLOURS[5], COLOURS[2])]
    jobs = [compose_job(ODD, frame, video, maps, composite_format=video, colours=pair) for pair in pairs]
    host.run(*jobs)
    for done, pair in zip(jobs, pairs, strict=True):
        rgb = reference.to_rgb(frame, video, pair[0])
        assert_composed(done, rgb, maps, composite_format=video, colour=pair[1])


@pytest.mark.parametrize("video", [PixelFormat.NV12, PixelFormat.P010])
def test_an_opaque_untouched_frame_stays_itself(host: HostKernels, video: PixelFormat) -> None:
    # Codes of real colours that are the same in each 2x2 block: nothing is lost on the way to RGB and back.
    width, height = ODD.width, ODD.height
    (rgb,) = reference.picture(PixelFormat.RGB8, (width + 1) // 2, (height + 1) // 2, 3)
    rgb = rgb.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    planes = [np.rint(plane) for plane in reference.from_rgb(rgb * 0.5 + 60, video, HD_VIDEO)]
    kind, shift = (np.uint16, 6) if video is PixelFormat.P010 else (np.uint8, 0)
    frame = [plane.astype(kind) << kind(shift) for plane in planes]
    maps = np.zeros((2, 4, ODD.low_height, ODD.low_width), np.float32)
    maps[1, 3] = 1
    done = compose_job(ODD, frame, video, (maps[0], maps[1]), composite_format=video)
    host.run(done)
    for index in (0, 1):
        np.testing.assert_array_equal(done.memory.read(f"composite{index}"), frame[index])


def test_rows_may_begin_at_any_byte(host: HostKernels) -> None:
    frame, maps = reference.picture(PixelFormat.NV12, ODD.width, ODD.height, 4), coefficients(ODD)
    behind = reference.picture(PixelFormat.RGB8, ODD.width, ODD.height, 5)[0]
    options: dict[str, Any] = {"composite_format": PixelFormat.NV12, "background": behind}
    spacings = [Spacing(before=n, after=4 - n, padding=n) for n in (1, 3)]
    jobs = [
        compose_job(ODD, frame, PixelFormat.NV12, maps, spacing=spacing, **options) for spacing in spacings
    ]
    host.run(*jobs)
    for done in jobs:
        assert_composed(done, reference.to_rgb(frame, PixelFormat.NV12, HD_VIDEO), maps, **options)


def test_any_choice_of_outputs_gives_the_same_bytes(host: HostKernels) -> None:
    frame, maps = reference.picture(PixelFormat.NV12, 33, 17, 6), coefficients(PROFILES[2])
    choices = [
        tuple(name for name, chosen in zip(OUTPUTS, choice, strict=True) if chosen)
        for choice in list(product((True, False), repeat=4))[:-1]
    ]
    options: dict[str, Any] = {"composite_format": PixelFormat.NV12, "spacing": SPACINGS[2]}
    jobs = [
        compose_job(PROFILES[2], frame, PixelFormat.NV12, maps, wanted=wanted, **options)
        for wanted in choices
    ]
    host.run(*jobs)
    everything = jobs[0].memory
    for done, wanted in zip(jobs, choices, strict=True):
        done.memory.check()
        for name in (f"{output}0" for output in wanted):
            np.testing.assert_array_equal(done.memory.read(name), everything.read(name))


@pytest.mark.parametrize("value", [-1e30, -300.0, 300.0, 1e30, np.nan])
def test_extreme_coefficients_end_at_an_end(host: HostKernels, value: float) -> None:
    profile = PROFILES[2]
    frame = [np.full((17, 33, 3), 128, np.uint8)]
    maps = np.zeros((2, 4, 17, 33), np.float32)
    maps[1] = value
    jobs = [
        compose_job(profile, frame, PixelFormat.RGB8, (maps[0], maps[1]), composite_format=f)
        for f in COMPOSITE_FORMATS
    ]
    host.run(*jobs)
    level = 255 if value > 0 else 0
    for done in jobs:
        for name in ("pha0", "fgr0", "rgba0"):
            assert set(np.unique(done.memory.read(name))) == {level}
    expected = (255, 255, 255) if value > 0 else GREEN
    np.testing.assert_array_equal(jobs[0].memory.read("composite0"), np.tile(np.uint8(expected), (17, 33, 1)))


def test_premultiplied_colours_never_exceed_alpha(host: HostKernels) -> None:
    frame, maps = reference.picture(PixelFormat.RGB8, ODD.width, ODD.height, 8), coefficients(ODD, spread=3.0)
    done = compose_job(ODD, frame, PixelFormat.RGB8, maps, wanted=("rgba",), premultiplied=True)
    host.run(done)
    rgba = done.memory.read("rgba0")
    assert (rgba[..., :3] <= rgba[..., 3:]).all()
