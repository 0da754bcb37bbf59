"""The figures of accuracy against their formulas, written out slowly, and against cases worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from rvm_trt.benchmarks.accuracy import MatteErrors
from rvm_trt.benchmarks.matting_metrics import connectivity_error, foreground_error, gradient_error
from rvm_trt.errors import FrameError, OptionError

Alpha = npt.NDArray[Any]


def errors_of(reference: Sequence[Alpha], alpha: Sequence[Alpha], **options: int) -> dict[str, Any]:
    errors = MatteErrors(**options)
    for expected, got in zip(reference, alpha, strict=True):
        errors.add(reference_alpha=expected, alpha=got)
    return errors.to_json()


def soft_square(height: int, width: int, *, left: int = 3, seed: int = 0) -> Alpha:
    """A square with a soft, noisy edge, uint16."""
    alpha = np.zeros((height, width))
    alpha[3 : height - 3, left : left + width // 2] = 1
    alpha = ndimage.gaussian_filter(alpha, 1.0)
    noise = np.random.default_rng(seed).normal(0, 0.08, alpha.shape)
    return np.round(np.clip(alpha + noise * (alpha > 0.02) * (alpha < 0.98), 0, 1) * 65535).astype(np.uint16)


def literal_gradient(alpha: Alpha) -> list[list[float]]:
    """|∇alpha| by the formula: a two-dimensional filter of 9 × 9, of norm 1, edge pixels repeated."""
    sigma, reach = 1.4, 4
    places = range(-reach, reach + 1)

    def gauss(x: int) -> float:
        return math.exp(-(x**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    kernel = {(v, u): gauss(v) * -u * gauss(u) / sigma**2 for v in places for u in places}
    norm = math.sqrt(sum(weight**2 for weight in kernel.values()))
    height, width = alpha.shape

    def at(y: int, x: int) -> float:
        return float(alpha[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]) / 65535

    def magnitude(y: int, x: int) -> float:
        along = sum(weight * at(y - v, x - u) for (v, u), weight in kernel.items()) / norm
        across = sum(weight * at(y - u, x - v) for (v, u), weight in kernel.items()) / norm
        return math.hypot(along, across)

    return [[magnitude(y, x) for x in range(width)] for y in range(height)]


def literal_region(mask: Alpha) -> set[tuple[int, int]]:
    """The largest 4-connected region, by flooding; the first in reading order of those equally large."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    best: set[tuple[int, int]] = set()
    for seed in sorted(left):
        if seed not in left:
            continue
        region, edge = {seed}, [seed]
        left.discard(seed)
        while edge:
            y, x = edge.pop()
            for pixel in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if pixel in left:
                    left.discard(pixel)
                    region.add(pixel)
                    edge.append(pixel)
        best = region if len(region) > len(best) else best
    return best


def literal_connectivity(reference: Alpha, alpha: Alpha) -> float:
    """Conn by the formula, in exact fractions."""
    steps = [Fraction(step, 10) for step in range(11)]
    regions = [
        literal_region((reference >= step * 65535) & (alpha >= step * 65535)) if step else None
        for step in steps
    ]
    total = Fraction(0)
    for pixel in np.ndindex(*reference.shape):
        level = Fraction(1)
        for step, region in zip(steps[1:], regions[1:], strict=True):
            if pixel not in (region or set()):
                level = step - Fraction(1, 10)
                break
        phi = []
        for matte in (reference, alpha):
            distance = Fraction(int(matte[pixel]), 65535) - level
            phi.append(1 - (distance if distance >= Fraction(15, 100) else 0))
        total += abs(phi[0] - phi[1])
    return float(total / 1000)


def test_grad_is_its_formula_up_to_the_edges() -> None:
    reference, alpha = soft_square(14, 17), soft_square(14, 17, left=5, seed=1)
    apart = np.array(literal_gradient(alpha)) - np.array(literal_gradient(reference))
    assert gradient_error(reference, alpha) == pytest.approx((apart**2).sum() / 1e3, rel=1e-5)


@pytest.mark.parametrize("size", [(130, 300), (128, 256), (5, 3), (257, 40)])
def test_grad_does_not_depend_on_how_the_frame_is_cut_up(size: tuple[int, int]) -> None:
    generator = np.random.default_rng(3)
    reference = generator.integers(0, 65536, size).astype(np.uint16)
    alpha = reference.copy()
    # Patches of difference: on the corner of four blocks, beside a block, and at the end of the frame.
    patches = ((120, 133, 124, 131), (129, 131, 20, 24), (size[0] - 3, size[0], size[1] - 2, size[1]))
    for top, bottom, left, right in patches:
        rows, columns = slice(top, bottom), slice(left, right)
        alpha[rows, columns] = generator.integers(0, 65536, alpha[rows, columns].shape)

    def gradient(matte: Alpha) -> npt.NDArray[np.float64]:
        parts = [
            ndimage.gaussian_filter(matte / 65535, 1.4, order=order, mode="nearest", radius=4)
            for order in ((0, 1), (1, 0))
        ]
        smooth = np.exp(-(np.arange(-4, 5) ** 2) / (2 * 1.4**2))
        smooth /= smooth.sum()
        derived = np.arange(-4, 5) / 1.4**2 * smooth
        norm: float = np.linalg.norm(smooth) * np.linalg.norm(
            derived
        )  # gaussian_filter's sum is 1, not its norm
        return np.hypot(*parts) / norm

    expected = ((gradient(alpha) - gradient(reference)) ** 2).sum() / 1e3
    assert gradient_error(reference, alpha) == pytest.approx(expected, rel=1e-5)


def test_grad_of_one_pixel_is_the_norm_of_the_filters() -> None:
    reference = np.zeros((20, 30), np.uint16)
    alpha = reference.copy()
    alpha[10, 12] = 65535  # answered by both filters whole, each of norm 1
    assert gradient_error(reference, alpha) == pytest.approx((1 + 1) / 1000, rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_conn_is_its_formula(seed: int) -> None:
    reference, alpha = soft_square(12, 16, seed=seed), soft_square(12, 16, left=4, seed=seed + 9)
    alpha[0:2, 13:16] = 65535  # an island that hangs loose
    reference[9:, 0] = 40000
    expected = literal_connectivity(reference, alpha)
    assert expected > 0
    assert connectivity_error(reference, alpha) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 11, 256]))
def test_conn_is_its_formula_on_noise_and_on_ties(seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    size = generator.integers(1, 9, 2)
    # Few levels make regions of equal size and alpha exactly on a threshold.
    reference, alpha = (generator.integers(0, levels, size) * 65535 // (levels - 1) for _ in range(2))
    reference, alpha = reference.astype(np.uint16), alpha.astype(np.uint16)
    expected = literal_connectivity(reference, alpha)
    assert connectivity_error(reference, alpha) == pytest.approx(expected, rel=1e-12, abs=0)


def test_conn_of_an_island_is_its_area() -> None:
    reference = np.zeros((20, 20), np.uint16)
    reference[:, :10] = 65535
    alpha = reference.copy()
    alpha[2:5, 15:17] = 65535  # six pixels, wholly loose in alpha, absent from the reference
    assert connectivity_error(reference, alpha) == pytest.approx(6 / 1000)
    alpha[2:5, 15:17] = 9000  # 0.137: below θ, forgiven
    assert connectivity_error(reference, alpha) == 0.0


def test_means_of_a_sequence_worked_out_by_hand() -> None:
    reference = [np.full((2, 4), value, np.uint8) for value in (0, 51, 102)]
    alpha = [frame.copy() for frame in reference]
    alpha[1][0, 0] = 0  # 0.2 of 8 pixels
    alpha[2][:, 2:] = 255  # 0.6 of half the pixels
    figures = errors_of(reference, alpha)
    assert figures["frames"] == figures["costly_frames"] == 3
    assert figures["mad_e3"] == pytest.approx(1e3 * (0.2 / 8 + 0.6 / 2) / 3, abs=1e-6)
    assert figures["mse_e3"] == pytest.approx(1e3 * (0.04 / 8 + 0.36 / 2) / 3, abs=1e-6)
    assert (figures["max"], figures["worst_frame"]) == (0.6, 2)
    assert figures["reference_mean"] == pytest.approx(0.2)
    assert figures["drift_mad_e3"] == [0.0, 25.0, 300.0]
    # The change of the error: −0.2 at one pixel; then +0.2 there and 0.6 on the right half.
    first, second = math.sqrt(0.04 / 8), math.sqrt((0.04 + 4 * 0.36) / 8)
    assert figures["dtssd"] == pytest.approx(1e2 * (first + second) / 2, abs=1e-6)
    assert figures["fgr_mse_e3"] is None


def test_figures_are_those_of_float64_arithmetic() -> None:
    generator = np.random.default_rng(5)
    reference = generator.integers(0, 65536, (4, 70, 90)).astype(np.uint16)
    alpha = generator.integers(0, 256, (4, 70, 90)).astype(np.uint8)
    apart = alpha / 255 - reference / 65535
    figures = errors_of(list(reference), list(alpha))
    changes = np.sqrt((np.diff(apart, axis=0) ** 2).mean(axis=(1, 2)))
    expected = {
        "mad_e3": 1e3 * np.abs(apart).mean(),
        "mse_e3": 1e3 * (apart**2).mean(),
        "dtssd": 1e2 * changes.mean(),
        "reference_mean": reference.mean() / 65535,
    }
    assert {key: figures[key] for key in expected} == pytest.approx(expected, rel=1e-6)
    assert figures["max"] == round(float(np.abs(apart).max()), 5)


@pytest.mark.parametrize("dtypes", [(np.uint8, np.uint8), (np.uint8, np.uint16), (np.uint16, np.uint8)])
def test_equal_mattes_have_no_error_in_any_type(dtypes: tuple[Any, Any]) -> None:
    levels = np.random.default_rng(2).integers(0, 256, (3, 40, 50))
    written = {np.uint8: levels.astype(np.uint8), np.uint16: (levels * 257).astype(np.uint16)}
    figures = errors_of(list(written[dtypes[0]]), list(written[dtypes[1]]))
    for key in ("mad_e3", "mse_e3", "grad", "conn", "dtssd", "max"):
        assert figures[key] == 0.0, key


def test_an_error_that_stands_still_does_not_flicker() -> None:
    reference = [soft_square(40, 60, left=left) // 2 for left in (3, 5, 7)]
    figures = errors_of(reference, [frame + np.uint16(6553) for frame in reference])
    assert figures["dtssd"] == 0.0
    assert figures["mad_e3"] == pytest.approx(6553 / 65.535, rel=1e-6)
    assert figures["drift_mad_e3"] == [round(6553 / 65.535, 4)] * 3
    assert figures["grad"] == pytest.approx(0.0, abs=1e-9)  # nor does it move an outline


def test_costly_figures_of_every_third_frame() -> None:
    reference = [soft_square(30, 40, seed=seed) for seed in range(7)]
    alpha = [soft_square(30, 40, left=4, seed=seed) for seed in range(7)]
    figures = errors_of(reference, alpha, costly_every=3)
    assert (figures["frames"], figures["costly_frames"]) == (7, 3)
    pairs = [(reference[index], alpha[index]) for index in (0, 3, 6)]
    assert figures["grad"] == pytest.approx(np.mean([gradient_error(*pair) for pair in pairs]), rel=1e-4)
    assert figures["conn"] == pytest.approx(np.mean([connectivity_error(*pair) for pair in pairs]), rel=1e-3)
    everywhere = errors_of(reference, alpha)
    assert {key: everywhere[key] for key in ("mad_e3", "dtssd")} == {
        key: figures[key] for key in ("mad_e3", "dtssd")
    }


def test_the_foreground_counts_where_the_reference_has_one() -> None:
    generator = np.random.default_rng(4)
    alpha = np.where(generator.random((150, 30)) < 0.3, generator.integers(1, 256, (150, 30)), 0).astype(
        np.uint8
    )
    alpha[60:140] = 0
    expected, got = generator.integers(0, 256, (2, 150, 30, 3)).astype(np.uint8)
    squares = [
        (int(expected[y, x, c]) / 255 - int(got[y, x, c]) / 255) ** 2
        for y, x in np.argwhere(alpha > 0)
        for c in range(3)
    ]
    assert foreground_error(alpha, expected, got) == pytest.approx(sum(squares) / len(squares), rel=1e-6)
    changed = np.where((alpha > 0)[..., None], got, 255 - got)
    assert foreground_error(alpha, expected, changed) == foreground_error(alpha, expected, got)
    assert foreground_error(np.zeros_like(alpha), expected, got) is None


def test_frames_without_foreground_are_left_out_of_its_mean() -> None:
    errors = MatteErrors()
    white, black = np.full((4, 6, 3), 255, np.uint8), np.zeros((4, 6, 3), np.uint8)
    for level in (0, 255):
        matte = np.full((4, 6), level, np.uint8)
        errors.add(reference_alpha=matte, alpha=matte, reference_fgr=white, fgr=black)
    assert errors.to_json()["fgr_mse_e3"] == 1e3


def test_one_frame_has_no_flicker_to_tell() -> None:
    matte = np.zeros((4, 6), np.uint8)
    assert errors_of([matte], [matte])["dtssd"] is None


ALPHA, PICTURE = np.zeros((4, 6), np.uint8), np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": np.zeros((4, 7), np.uint8)}, r"alpha: got \(4, 7\) uint8, expected \(4, 6\)"),
        ({"alpha": np.zeros((4, 6), np.float32)}, r"alpha: got \(4, 6\) float32"),
        ({"reference_alpha": np.zeros((1, 4, 6), np.uint8)}, r"reference_alpha: got \(1, 4, 6\) uint8"),
        ({"reference_fgr": PICTURE}, "fgr: got None"),
        ({"fgr": PICTURE}, "reference_fgr: got None"),
        ({"reference_fgr": PICTURE, "fgr": PICTURE[:, :5]}, r"fgr: got \(4, 5, 3\) uint8"),
        ({"reference_fgr": PICTURE.astype(np.uint16), "fgr": PICTURE}, "reference_fgr: got .* uint16"),
    ],
)
def test_frames_that_cannot_be_compared_are_refused(changes: dict[str, Any], message: str) -> None:
    errors = MatteErrors()
    with pytest.raises(FrameError, match=message):
        errors.add(**({"reference_alpha": ALPHA, "alpha": ALPHA} | changes))


def test_a_sequence_keeps_its_size_and_has_frames() -> None:
    errors = MatteErrors()
    with pytest.raises(FrameError, match="no frames"):
        errors.to_json()
    errors.add(reference_alpha=ALPHA, alpha=ALPHA)
    with pytest.raises(FrameError, match=r"reference_alpha: got \(2, 6\)"):
        errors.add(reference_alpha=ALPHA[:2], alpha=ALPHA[:2])
    with pytest.raises(OptionError, match="costly_every: got 0"):
        MatteErrors(costly_every=0)
