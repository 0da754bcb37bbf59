"""The resampling tables against PyTorch, whose conventions the network was trained with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from rvm_trt.resample import downsample_taps, resample, sample_frame, upsample_taps

SIZES = st.integers(2, 90)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).random((channels, height, width), np.float32)


def tolerance(*sizes: int) -> float:
    """Positions are single precision on both sides; a fused multiply-add may move one by a unit in its last place."""
    return 2 * float(np.spacing(np.float32(max(sizes)))) + 2e-7


def torch_downsample(image: np.ndarray, ratio: float) -> np.ndarray:
    return F.interpolate(
        torch.from_numpy(image)[None],
        scale_factor=ratio,
        mode="bilinear",
        align_corners=False,
        recompute_scale_factor=False,
    )[0].numpy()


def torch_upsample(image: np.ndarray, height: int, width: int) -> np.ndarray:
    size = (height, width)
    return F.interpolate(torch.from_numpy(image)[None], size=size, mode="bilinear", align_corners=False)[
        0
    ].numpy()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(height=SIZES, width=SIZES, ratio=st.floats(0.05, 1.0))
def test_downsampling_equals_torch_at_any_ratio(height: int, width: int, ratio: float) -> None:
    if min(math.floor(height * ratio), math.floor(width * ratio)) < 1:
        return
    image = noise(height, width)
    got = resample(image, downsample_taps(height, ratio), downsample_taps(width, ratio))
    expected = torch_downsample(image, ratio)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=tolerance(height, width), rtol=0)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(height=SIZES, width=SIZES, target_height=st.integers(1, 200), target_width=st.integers(1, 200))
def test_resampling_to_a_size_equals_torch(
    height: int, width: int, target_height: int, target_width: int
) -> None:
    image = noise(height, width, channels=4)
    got = resample(image, upsample_taps(height, target_height), upsample_taps(width, target_width))
    assert got.dtype == np.float32
    expected = torch_upsample(image, target_height, target_width)
    np.testing.assert_allclose(got, expected, atol=tolerance(height, width), rtol=0)


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        (417, 0.6),
        (235, 0.6),
        (161, 0.6),
        (561, 512 / 561),
        (1080, 0.25),
        (2160, 0.125),
        (1921, 0.3),
        (3840, 0.1),
    ],
)
def test_real_sizes_downsample_as_torch_does(size: int, ratio: float) -> None:
    image = noise(8, size, channels=1)
    got = resample(image, upsample_taps(8, 8), downsample_taps(size, ratio))
    expected = F.interpolate(
        torch.from_numpy(image)[None],
        scale_factor=(1.0, ratio),
        mode="bilinear",
        recompute_scale_factor=False,
    )[0].numpy()
    np.testing.assert_allclose(got, expected, atol=tolerance(size), rtol=0)


def test_positions_follow_the_ratio_and_not_the_rounded_sizes() -> None:
    # 417 · 0.6 = 250.2: the two conventions are 0.3 pixels apart at the right end.
    taps = downsample_taps(417, 0.6)
    last = 249.5 / 0.6 - 0.5
    assert taps.first.size == 250
    assert taps.first[-1] + taps.weight[-1] == pytest.approx(last, abs=1e-4)
    assert abs(249.5 * 417 / 250 - 0.5 - last) > 0.3


@settings(max_examples=200, deadline=None, derandomize=True)
@given(size=st.integers(1, 5000), target=st.integers(1, 5000))
def test_taps_stay_inside_and_are_what_the_kernels_expect(size: int, target: int) -> None:
    taps = upsample_taps(size, target)
    assert (taps.first.dtype, taps.second.dtype, taps.weight.dtype) == (np.uint32, np.uint32, np.float32)
    assert taps.first.size == taps.second.size == taps.weight.size == target
    assert int(taps.first.max()) < size
    assert int(taps.second.max()) < size
    assert float(taps.weight.min()) >= 0
    assert float(taps.weight.max()) <= 1
    assert (np.diff(taps.first.astype(np.int64)) >= 0).all()


def test_equal_sizes_resample_to_the_same_image() -> None:
    image = noise(17, 33)
    np.testing.assert_array_equal(resample(image, upsample_taps(17, 17), upsample_taps(33, 33)), image)


@pytest.mark.parametrize("ratio", [1.0, 0.6, 0.25])
def test_a_sampled_frame_is_what_the_network_would_have_computed(ratio: float) -> None:
    frame = np.random.default_rng(3).integers(0, 256, (97, 161, 3), np.uint8)
    got = sample_frame(frame, ratio)
    planar = frame.transpose(2, 0, 1).astype(np.float32) / 255
    np.testing.assert_allclose(
        got, planar if ratio == 1 else torch_downsample(planar, ratio), atol=tolerance(161), rtol=0
    )
    assert got.dtype == np.float32
