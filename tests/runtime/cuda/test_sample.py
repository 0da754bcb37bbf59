"""The sample kernel, run on the CPU under sanitizers, against the reference."""

from __future__ import annotations

from itertools import product

import cuda_reference as reference
import numpy as np
import pytest
from cuda_host import HostKernels, Job
from cuda_jobs import sample_job
from cuda_memory import TIGHT, Planes, Spacing

from rvm_trt.profile import Profile
from rvm_trt.resample import sample_frame
from rvm_trt.runtime.pixels import HD_VIDEO, Colour, ColourMatrix, ColourRange, PixelFormat

PROFILES = [
    Profile(width=width, height=height, ratio=ratio)
    for width, height, ratio in ((161, 97, 0.6), (97, 61, 0.37), (33, 17, 1.0), (144, 130, 0.125))
]
ODD = PROFILES[0]
COLOURS = [Colour(matrix=matrix, range=name) for matrix, name in product(ColourMatrix, ColourRange)]
# P010 needs even addresses; the others may begin anywhere.
SPACINGS = [TIGHT, Spacing(before=6, after=10, padding=14)]
ATOL = {True: 2**-11, False: 2e-6}  # half an ulp of half precision below 1


def assert_sampled(
    done: Job, planes: Planes, pixel_format: PixelFormat, profile: Profile, colour: Colour
) -> None:
    got = done.memory.read("src")
    expected = reference.sample(reference.to_rgb(planes, pixel_format, colour), profile)
    half = got.dtype == np.float16
    np.testing.assert_allclose(got.astype(np.float64), expected, rtol=0, atol=ATOL[half])
    done.memory.check()


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_every_format_and_size_gives_the_reference(host: HostKernels, pixel_format: PixelFormat) -> None:
    cases = list(product(PROFILES, (True, False), SPACINGS))
    frames = [
        reference.picture(pixel_format, profile.width, profile.height, seed)
        for seed, (profile, _, _) in enumerate(cases)
    ]
    jobs = [
        sample_job(profile, frame, pixel_format, half=half, spacing=spacing)
        for frame, (profile, half, spacing) in zip(frames, cases, strict=True)
    ]
    host.run(*jobs)
    for done, frame, (profile, _, _) in zip(jobs, frames, cases, strict=True):
        assert_sampled(done, frame, pixel_format, profile, HD_VIDEO)


@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.P010])
def test_every_matrix_and_range_gives_the_reference(host: HostKernels, pixel_format: PixelFormat) -> None:
    frame = reference.picture(pixel_format, ODD.width, ODD.height, 7)
    jobs = [sample_job(ODD, frame, pixel_format, colour=colour) for colour in COLOURS]
    host.run(*jobs)
    for done, colour in zip(jobs, COLOURS, strict=True):
        assert_sampled(done, frame, pixel_format, ODD, colour)


def test_rows_may_begin_at_any_byte(host: HostKernels) -> None:
    frame = reference.picture(PixelFormat.NV12, ODD.width, ODD.height, 3)
    jobs = [sample_job(ODD, frame, PixelFormat.NV12, spacing=Spacing(before=n, padding=n)) for n in (1, 3)]
    host.run(*jobs)
    for done in jobs:
        assert_sampled(done, frame, PixelFormat.NV12, ODD, HD_VIDEO)


def test_rgb_equals_the_cpus_sampling(host: HostKernels) -> None:
    (frame,) = reference.picture(PixelFormat.RGB8, ODD.width, ODD.height, 1)
    done = sample_job(ODD, [frame], PixelFormat.RGB8)
    host.run(done)
    np.testing.assert_allclose(done.memory.read("src"), sample_frame(frame, ODD.ratio), rtol=0, atol=1e-6)


def test_colours_are_clamped_before_they_are_averaged(host: HostKernels) -> None:
    # Left column: far redder than red; right column: black. Averaged first, the excess would spill over.
    luma = np.full((32, 32), 235, np.uint8)
    chroma = np.full((16, 16, 2), 128, np.uint8)
    chroma[..., 1] = 240
    luma[:, 1::2], luma[1::2] = 16, 16
    profile = Profile(width=32, height=32, ratio=0.5)
    planes = [luma, chroma]
    done = sample_job(profile, planes, PixelFormat.NV12)
    host.run(done)
    rgb = reference.to_rgb(planes, PixelFormat.NV12, HD_VIDEO)
    np.testing.assert_allclose(
        done.memory.read("src")[0], rgb[..., 0].reshape(16, 2, 16, 2).mean(axis=(1, 3)) / 255, atol=1e-6
    )
