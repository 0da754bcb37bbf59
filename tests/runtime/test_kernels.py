"""The CPU kernels against plain references, pixel by pixel."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.resample import Taps, downsample_taps, sample_frame, upsample_taps
from rvm_trt.runtime import kernels_cpu
from rvm_trt.runtime.bands import Bands

Array = npt.NDArray[Any]
NAMES = ("pha", "fgr", "rgba", "composite")
CHANNELS = {"pha": 1, "fgr": 3, "rgba": 4, "composite": 3}
CANARY = 77
# Four and eight pixels a sample have code of their own; the widest have several blocks, the last of them not full.
SIZES = [
    *[(17, 33, 0.5), (33, 17, 0.5), (97, 61, 0.6), (61, 97, 0.25), (40, 24, 1.0)],
    *[(64, 48, 0.125), (64, 48, 0.25), (600, 24, 0.125), (548, 20, 0.25), (547, 21, 0.5)],
]


def taps(*axes: Taps) -> tuple[Array, ...]:
    return tuple(part for axis in axes for part in (axis.first, axis.second, axis.weight))


def pixels(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image[0], image[-1], image[:, 0], image[:, -1] = 255, 0, 255, 1  # an error at an edge is a large one
    return image


def coefficients(
    width: int, height: int, ratio: float, *, spread: float, seed: int = 1
) -> tuple[Array, Array]:
    shape = (4, int(height * ratio), int(width * ratio))
    generator = np.random.default_rng(seed)
    return tuple(  # type: ignore[return-value]
        (generator.standard_normal(shape) * spread + centre).astype(np.float32) for centre in (0, 0.3)
    )


def compose(
    frame: Array,
    slope: Array,
    intercept: Array,
    *,
    wanted: tuple[str, ...] = NAMES,
    background: Array | tuple[int, int, int] = (120, 255, 155),
    threads: int = 1,
) -> dict[str, Array]:
    height, width = frame.shape[:2]
    low_height, low_width = slope.shape[1:]
    outputs = {
        name: np.full((height if name in wanted else 0, width * CHANNELS[name]), CANARY, np.uint8)
        for name in NAMES
    }
    behind = (
        np.tile(np.array(background, np.uint8), width)[None]
        if isinstance(background, tuple)
        else background.reshape(height, -1)
    )
    scratch = kernels_cpu.compose_scratch(threads, width)
    scratch[0].fill(np.nan)
    axes = taps(upsample_taps(low_height, height), upsample_taps(low_width, width))
    with Bands(threads) as bands:
        arrays = (frame.reshape(height, -1), slope, intercept, *axes, behind, *outputs.values(), *scratch)
        bands.run(kernels_cpu.compose, height, *arrays)
    return outputs


def enlarged(values: Array, height: int, width: int) -> Array:
    rows, columns = upsample_taps(values.shape[1], height), upsample_taps(values.shape[2], width)
    values = values.astype(np.float64)
    lines = values[:, rows.first] + rows.weight[:, None] * (values[:, rows.second] - values[:, rows.first])
    left, right = lines[..., columns.first], lines[..., columns.second]
    return left + columns.weight * (right - left)


def reference(frame: Array, slope: Array, intercept: Array, background: Any) -> dict[str, Array]:
    """The four outputs in float64, (H, W, C), in 0..255, not rounded."""
    height, width = frame.shape[:2]
    x = frame.astype(np.float64) / 255
    A, b = (enlarged(values, height, width).transpose(1, 2, 0) for values in (slope, intercept))
    fgr = np.clip(A[..., :3] * x + b[..., :3] + x, 0, 1)
    pha = np.clip(A[..., 3:] * x.mean(axis=2, keepdims=True) + b[..., 3:], 0, 1)
    composite = fgr * pha + np.asarray(background, np.float64) / 255 * (1 - pha)
    values = {"pha": pha, "fgr": fgr, "rgba": np.concatenate([fgr, pha], axis=2), "composite": composite}
    return {name: value * 255 for name, value in values.items()}


def reference_over(frame: Array, slope: Array, intercept: Array, *, background: Array) -> dict[str, Array]:
    return reference(frame, slope, intercept, background)


def assert_rounded(got: Array, expected: Array, *, slack: float = 0.02) -> None:
    """Every value is the nearest level; ``slack`` is for ties that single precision decides the other way."""
    np.testing.assert_array_less(np.abs(got.reshape(expected.shape) - expected), 0.5 + slack)


@pytest.mark.parametrize(("width", "height", "ratio"), SIZES)
@pytest.mark.parametrize("threads", [1, 3])
def test_sample_equals_the_reference(width: int, height: int, ratio: float, threads: int) -> None:
    frame = pixels(width, height)
    rows, columns = downsample_taps(height, ratio), downsample_taps(width, ratio)
    target = np.full((3, rows.first.size, columns.first.size), np.nan, np.float32)
    with Bands(threads) as bands:
        bands.run(
            kernels_cpu.sample, rows.first.size, frame.reshape(height, -1), *taps(rows, columns), target
        )
    np.testing.assert_allclose(target, sample_frame(frame, ratio), atol=1e-6, rtol=0)


def test_sample_writes_only_the_rows_of_its_band() -> None:
    frame, rows, columns = pixels(33, 17), downsample_taps(17, 0.5), downsample_taps(33, 0.5)
    target = np.full((3, 8, 16), np.nan, np.float32)
    kernels_cpu.sample(0, 3, 5, frame.reshape(17, -1), *taps(rows, columns), target)
    assert np.isnan(target[:, :3]).all()
    assert np.isnan(target[:, 5:]).all()
    assert np.isfinite(target[:, 3:5]).all()


@pytest.mark.parametrize(("width", "height", "ratio"), SIZES)
@pytest.mark.parametrize("spread", [0.0, 0.4, 3.0])
def test_compose_rounds_the_reference(width: int, height: int, ratio: float, spread: float) -> None:
    frame, (slope, intercept) = pixels(width, height), coefficients(width, height, ratio, spread=spread)
    expected = reference(frame, slope, intercept, (120, 255, 155))
    for name, got in compose(frame, slope, intercept).items():
        assert_rounded(got, expected[name])


@pytest.mark.parametrize(("width", "height", "ratio"), SIZES[:3])
def test_compose_over_an_image(width: int, height: int, ratio: float) -> None:
    frame, behind = pixels(width, height), pixels(width, height, seed=9)
    slope, intercept = coefficients(width, height, ratio, spread=0.4)
    got = compose(frame, slope, intercept, background=behind)
    assert_rounded(got["composite"], reference(frame, slope, intercept, behind)["composite"])


@pytest.mark.parametrize("value", [-1e30, -1e6, -300.0, 300.0, 1e6, 1e30])
def test_extreme_coefficients_end_at_0_or_255(value: float) -> None:
    frame = np.full((17, 33, 3), 128, np.uint8)
    slope, intercept = np.zeros((4, 8, 16), np.float32), np.full((4, 8, 16), value, np.float32)
    got = compose(frame, slope, intercept, background=(10, 20, 30))
    level = 255 if value > 0 else 0
    assert set(np.unique(got["pha"])) == set(np.unique(got["fgr"])) == set(np.unique(got["rgba"])) == {level}
    expected = [255] * 3 if value > 0 else [10, 20, 30]
    np.testing.assert_array_equal(got["composite"].reshape(-1, 3), np.tile(expected, (17 * 33, 1)))


def test_extreme_slopes_of_both_signs_never_wrap_around() -> None:
    frame = pixels(33, 17)
    signs = np.random.default_rng(4).choice([-1.0, 1.0], (4, 8, 16))
    slope, intercept = (signs * 1e20).astype(np.float32), np.zeros((4, 8, 16), np.float32)
    expected = reference(frame, slope, intercept, (0, 0, 0))
    got = compose(frame, slope, intercept, background=(0, 0, 0))
    for name in ("pha", "fgr"):
        sure = np.abs(expected[name] - 127.5) > 127.4
        np.testing.assert_array_equal(got[name].reshape(sure.shape)[sure], np.rint(expected[name])[sure])
        assert sure.mean() > 0.95


@pytest.mark.parametrize("choice", list(product([False, True], repeat=4))[1:])
def test_any_choice_of_outputs_gives_the_same_bytes(choice: tuple[bool, ...]) -> None:
    wanted = tuple(name for name, chosen in zip(NAMES, choice, strict=True) if chosen)
    frame, (slope, intercept) = pixels(61, 33), coefficients(61, 33, 0.6, spread=0.4)
    everything, got = compose(frame, slope, intercept), compose(frame, slope, intercept, wanted=wanted)
    for name in NAMES:
        assert got[name].size == (everything[name].size if name in wanted else 0)
        if name in wanted:
            np.testing.assert_array_equal(got[name], everything[name])


@pytest.mark.parametrize("threads", [2, 3, 4, 20])
def test_any_number_of_bands_gives_the_same_bytes(threads: int) -> None:
    frame, behind = pixels(97, 17), pixels(97, 17, seed=5)
    slope, intercept = coefficients(97, 17, 0.6, spread=0.4)
    alone = compose(frame, slope, intercept, background=behind)
    together = compose(frame, slope, intercept, background=behind, threads=threads)
    for name in NAMES:
        np.testing.assert_array_equal(together[name], alone[name])


@pytest.mark.parametrize("ratio", [0.125, 0.25, 0.4])
def test_what_holds_no_person_is_the_background_exactly(ratio: float) -> None:
    """A person between pixels 600 and 700; beside them alpha is a little off 0, as networks leave it."""
    width, height = 1200, 24
    frame, behind = pixels(width, height), pixels(width, height, seed=9)
    slope, intercept = coefficients(width, height, ratio, spread=0.4)
    person = slice(int(600 * ratio), int(700 * ratio))
    faint = np.random.default_rng(3).uniform(-0.01, 0.0019, slope.shape[1:])
    for values, beside in ((slope, 0), (intercept, faint)):
        inside = values[3, :, person].copy()
        values[3] = beside
        values[3, :, person] = inside
    got, expected = (make(frame, slope, intercept, background=behind) for make in (compose, reference_over))
    for name in NAMES:
        assert_rounded(got[name], expected[name])
    composite, pha = got["composite"].reshape(height, width, 3), got["pha"]
    np.testing.assert_array_equal(composite[:, :500], behind[:, :500])
    assert (pha[:, :500] == 0).all() and (pha[:, 800:] == 0).all() and (pha[:, 600:700] > 0).any()


@pytest.mark.parametrize("level", [0.0018, 0.0021])
def test_half_a_level_of_alpha_decides(level: float) -> None:
    frame, (slope, intercept) = pixels(64, 48), coefficients(64, 48, 0.125, spread=0.4)
    slope[3], intercept[3] = 0, level
    assert (compose(frame, slope, intercept)["pha"] == round(255 * level)).all()


def test_alpha_that_only_a_bright_pixel_has_is_kept() -> None:
    frame, (slope, intercept) = pixels(64, 48), coefficients(64, 48, 0.125, spread=0.4)
    slope[3], intercept[3] = 0.5, -0.4
    frame[20, 30] = 255
    assert compose(frame, slope, intercept)["pha"].reshape(48, 64)[20, 30] == round(255 * 0.1)


def test_compose_writes_only_the_rows_of_its_band() -> None:
    width, height = 33, 17
    frame, (slope, intercept) = pixels(width, height), coefficients(width, height, 0.5, spread=0.4)
    whole = compose(frame, slope, intercept)
    outputs = [np.full((height, width * CHANNELS[name]), CANARY, np.uint8) for name in NAMES]
    axes = taps(upsample_taps(8, height), upsample_taps(16, width))
    colour = np.tile(np.array((120, 255, 155), np.uint8), width)[None]
    scratch = kernels_cpu.compose_scratch(2, width)
    scratch[0].fill(np.nan)
    kernels_cpu.compose(
        1, 5, 9, frame.reshape(height, -1), slope, intercept, *axes, colour, *outputs, *scratch
    )
    for name, got in zip(NAMES, outputs, strict=True):
        np.testing.assert_array_equal(got[5:9], whole[name][5:9])
        assert (got[:5] == CANARY).all()
        assert (got[9:] == CANARY).all()
    assert np.isnan(scratch[0][0]).all()  # the other band is at work there


def test_the_frame_and_the_background_are_only_read() -> None:
    frame, behind = pixels(61, 33), pixels(61, 33, seed=5)
    before = frame.copy(), behind.copy()
    compose(frame, *coefficients(61, 33, 0.6, spread=0.4), background=behind)
    np.testing.assert_array_equal(frame, before[0])
    np.testing.assert_array_equal(behind, before[1])
