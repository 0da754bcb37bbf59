"""The CPU head kernel against a reference in double precision, and whole against bands."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.options import Refiner
from rvm_trt.runtime.bands import Bands
from rvm_trt.runtime.head_weights import HEAD_LAYOUT, head_names, pack_head
from rvm_trt.runtime.kernels_cpu_head import head, head_arguments, head_scratch

Array = npt.NDArray[Any]
REFINERS = [Refiner.DEEP, Refiner.FAST, None]
SIZES = [(37, 19), (16, 8), (3, 1), (1, 3)]


def weights(refiner: Refiner | None) -> dict[str, Array]:
    chance = np.random.default_rng(5)
    scales = {"box.weight": 1 / 9, "mlp.0.weight": 0.3, "mlp.1.weight": 0.3}
    return {
        name: (chance.standard_normal(HEAD_LAYOUT[name]) * scales.get(name, 0.5)).astype(np.float32)
        for name in head_names(refiner)
    }


def tensors(width: int, height: int) -> tuple[Array, Array]:
    """``hid`` (16, h, w) of numbers that bfloat16 holds, half of them 0, and ``src`` (3, h, w) with an edge."""
    chance = np.random.default_rng(6)
    hid = np.maximum(chance.standard_normal((16, height, width)), 0).astype(np.float32)
    hid = (hid.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    src = chance.random((3, height, width), dtype=np.float32)
    src[..., : width // 2] *= 0.2
    return hid, src


def boxed(planes: Array, box: Array) -> Array:
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)))
    height, width = planes.shape[1:]
    return sum(  # type: ignore[no-any-return]
        box[:, i, j, None, None] * padded[:, i : i + height, j : j + width]
        for i in range(3)
        for j in range(3)
    )


def reference(
    given: dict[str, Array], hid: Array, src: Array, refiner: Refiner | None
) -> tuple[Array, Array]:
    w = {name: values.astype(np.float64) for name, values in given.items()}
    hid, src = hid.astype(np.float64), src.astype(np.float64)

    def dense(name: str, planes: Array) -> Array:
        return np.einsum("oc,chw->ohw", w[f"{name}.weight"], planes) + w[f"{name}.bias"][:, None, None]

    y = dense("project", hid)
    if refiner is None:
        return np.zeros_like(y), y
    x = np.concatenate([src, src.mean(axis=0, keepdims=True)])
    box = w.get("box.weight", np.full((4, 3, 3), 1 / 9))
    mean_x, mean_y = boxed(x, box), boxed(y, box)
    covariance, variance = boxed(x * y, box) - mean_x * mean_y, boxed(x * x, box) - mean_x**2
    if refiner is Refiner.FAST:
        slope = covariance / (variance + 1e-5)
    else:
        first = np.maximum(dense("mlp.0", np.concatenate([covariance, variance, hid])), 0)
        slope = dense("mlp.2", np.maximum(dense("mlp.1", first), 0))
    return slope, mean_y - slope * mean_x


def run(
    given: dict[str, Array], hid: Array, src: Array, refiner: Refiner | None, *, half: bool, threads: int = 1
) -> Array:
    bits = hid.view(np.uint32)
    features = (bits >> 16).astype(np.uint16) if half else bits
    _, height, width = src.shape
    results = np.full((2, 4, height, width), np.nan, np.float32)
    scratch = head_scratch(threads, width)
    for array in scratch:
        array.fill(np.nan)
    arguments = head_arguments(pack_head(given, refiner=refiner), refiner)
    with Bands(threads) as bands:
        bands.run(head, height, features, src, *arguments, *results, *scratch)
    return results


@pytest.mark.parametrize("half", [True, False], ids=["bfloat16", "float32"])
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("refiner", REFINERS)
def test_every_refiner_gives_the_reference(
    refiner: Refiner | None, width: int, height: int, half: bool
) -> None:
    given, (hid, src) = weights(refiner), tensors(width, height)
    got = run(given, hid, src, refiner, half=half)
    for values, expected in zip(got, reference(given, hid, src, refiner), strict=True):
        # The fast filter divides by what is left of a difference: single precision has three digits of it.
        tolerance = 2e-2 if refiner is Refiner.FAST else 2e-5
        np.testing.assert_allclose(values, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("threads", [2, 3, 30])
@pytest.mark.parametrize("refiner", REFINERS)
def test_bands_give_the_bytes_of_the_whole(refiner: Refiner | None, threads: int) -> None:
    given, (hid, src) = weights(refiner), tensors(37, 19)
    whole = run(given, hid, src, refiner, half=True)
    np.testing.assert_array_equal(run(given, hid, src, refiner, half=True, threads=threads), whole)
