"""Alpha over a sequence: a graph run frame by frame in OpenVINO with carried states, and how far two runs differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.engines.openvino_library import HINTS, compile_network
from rvm_trt.options import Graph
from rvm_trt.profile import Profile

Array = npt.NDArray[np.float32]


class AlphaRunner:
    """Runs a graph on one frame after another and gives alpha, at low resolution for the core.

    Args:
        model: an OpenVINO model, of FP32 inputs and outputs.
        profile: the profile it was exported for, batch 1.
        graph: core or full.
    """

    def __init__(self, model: Any, profile: Profile, graph: Graph) -> None:
        compiled = compile_network(model, HINTS)
        self._request = compiled.create_infer_request()
        self._profile = profile
        self._graph = graph
        self.reset()

    def reset(self) -> None:
        """Forgets the states."""
        self._states = [np.zeros(shape, np.float32) for shape in self._profile.state_shapes]

    def __call__(self, src: Array) -> Array:
        """Returns alpha in 0..1, (1, h, w), of the next ``src``, (1, 3, h, w) as the graph takes it."""
        self._request.infer({"src": src, **dict(zip(STATE_INPUTS, self._states, strict=True))})
        self._states = [self.value(name) for name in STATE_OUTPUTS]
        if self._graph is Graph.FULL:
            return self.value("pha")[:, 0]
        alpha: Array = self.value("A")[:, 3] * src.mean(axis=1) + self.value("b")[:, 3]
        return np.clip(alpha, 0, 1)

    def value(self, name: str) -> Array:
        """Returns a copy of an output of the last frame."""
        value: Array = self._request.get_tensor(name).data.copy()
        return value


@dataclass(frozen=True, kw_only=True)
class AlphaDifference:
    """How far an alpha sequence is from a reference, alpha in 0..1.

    Attributes:
        frames: frames compared.
        mad: mean absolute difference.
        max: largest absolute difference at any pixel.
        dtssd: root mean square of the difference of the frame-to-frame changes.
        flicker: how much larger the root mean square of the frame-to-frame changes is than the reference's. Where no
            true matte is known this stands for the rise of dtSSD: it is that rise for a matte that stands still.
        finite: whether every value was a number.
    """

    frames: int
    mad: float
    max: float
    dtssd: float
    flicker: float
    finite: bool

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values, rounded."""
        return {
            "frames": self.frames,
            "pha_mad": round(self.mad, 7),
            "pha_max": round(self.max, 7),
            "pha_dtssd": round(self.dtssd, 7),
            "pha_flicker": round(self.flicker, 7),
        }


def difference(reference: Iterable[Array], candidate: Iterable[Array]) -> AlphaDifference:
    """Returns the difference of two alpha sequences of equal length, read frame by frame."""
    means, worst = [], 0.0
    squares: list[tuple[float, float, float]] = []
    last: tuple[Array, Array] | None = None
    for expected, got in zip(reference, candidate, strict=True):
        error = np.abs(got - expected)
        means.append(float(error.mean()))
        worst = max(worst, float(error.max()))
        if last is not None:
            change, true_change = got - last[1], expected - last[0]
            squares.append((_square(change - true_change), _square(change), _square(true_change)))
        last = expected, got
    changes = np.sqrt(np.mean(squares, axis=0)) if squares else np.zeros(3)
    return AlphaDifference(
        frames=len(means),
        mad=float(np.mean(means)) if means else 0.0,
        max=worst,
        dtssd=float(changes[0]),
        flicker=float(changes[1] - changes[2]),
        finite=bool(np.isfinite(means).all()),
    )


def pool(parts: Sequence[AlphaDifference]) -> AlphaDifference:
    """Returns the difference over several sequences: means weighted by frames, and the largest of all."""
    frames = sum(part.frames for part in parts)
    weights = [part.frames / max(frames, 1) for part in parts]
    return AlphaDifference(
        frames=frames,
        mad=sum(weight * part.mad for weight, part in zip(weights, parts, strict=True)),
        max=max((part.max for part in parts), default=0.0),
        dtssd=sum(weight * part.dtssd for weight, part in zip(weights, parts, strict=True)),
        flicker=sum(weight * part.flicker for weight, part in zip(weights, parts, strict=True)),
        finite=all(part.finite for part in parts),
    )


def _square(values: Array) -> float:
    return float(np.square(values, dtype=np.float64).mean())


def run_sequence(runner: Callable[[Array], Array], frames: Iterable[Array]) -> list[Array]:
    """Returns the alpha of every frame."""
    return [runner(frame) for frame in frames]
