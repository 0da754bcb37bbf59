"""The weights of the head kernels: from an engine's file to the one float array that kernels/head.cu reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.head_file import HEAD, read_head_file
from rvm_trt.errors import EngineError
from rvm_trt.options import Refiner

# In the order of `Offset` in kernels/head.cu, each row by row, without gaps.
HEAD_LAYOUT: Mapping[str, tuple[int, ...]] = {
    "project.weight": (4, 16),
    "project.bias": (4,),
    "box.weight": (4, 3, 3),
    "mlp.0.weight": (16, 24),
    "mlp.0.bias": (16,),
    "mlp.1.weight": (16, 16),
    "mlp.1.bias": (16,),
    "mlp.2.weight": (4, 16),
    "mlp.2.bias": (4,),
}
HEAD_SIZE = sum(math.prod(shape) for shape in HEAD_LAYOUT.values())


def head_names(refiner: Refiner | None) -> tuple[str, ...]:
    """Returns the names of the weights that a refiner has; None means no refiner (ratio 1)."""
    names = tuple(HEAD_LAYOUT)
    return names if refiner is Refiner.DEEP else names[:2]


def read_head(engine: Engine) -> Mapping[str, npt.NDArray[Any]]:
    """Returns the weights in a core engine's ``head.npz`` by name; raises `EngineError` where it does not read."""
    return read_head_file(engine.file(HEAD))


def pack_head(weights: Mapping[str, npt.NDArray[Any]], *, refiner: Refiner | None) -> npt.NDArray[np.float32]:
    """Returns the array (`HEAD_SIZE`,) float32 that the head kernel of ``refiner`` reads.

    Args:
        weights: the arrays that `head_names` lists, with the shapes of `HEAD_LAYOUT`; BatchNorm is folded into the
            ``mlp`` ones. The inputs of ``mlp.0`` are cov (4), var (4), hid (16).
        refiner: None where the ratio is 1. The fast guided filter's box is the mean, which is filled in.

    Raises:
        EngineError: a weight is missing, unknown, of another shape, or not finite.
    """
    expected = head_names(refiner)
    if set(weights) != set(expected):
        raise _error("head weights", got=f"{sorted(weights)}", expected=f"{sorted(expected)}")
    packed = {name: np.zeros(shape, np.float32) for name, shape in HEAD_LAYOUT.items()}
    packed["box.weight"].fill(1 / 9)
    for name in expected:
        packed[name] = _checked(name, weights[name])
    return np.concatenate([values.ravel() for values in packed.values()])


def _checked(name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if values.shape != HEAD_LAYOUT[name]:
        raise _error(name, got=f"shape {values.shape}", expected=f"{HEAD_LAYOUT[name]}")
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise _error(name, got="infinite values or NaNs", expected="finite weights")
    return values


def _error(subject: str, *, got: str, expected: str) -> EngineError:
    return EngineError(subject, got=got, expected=expected, todo="Build the engine again.")
