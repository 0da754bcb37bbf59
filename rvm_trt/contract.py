"""The tensor contract of the two graphs: names, shapes and directions, derived from the profile alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rvm_trt.errors import EngineError
from rvm_trt.options import Graph
from rvm_trt.profile import Profile

STATE_INPUTS = ("r1i", "r2i", "r3i", "r4i")
STATE_OUTPUTS = ("r1o", "r2o", "r3o", "r4o")


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output tensor of a graph.

    Attributes:
        name: upstream's name (``src, fgr, pha, r1i..r4i, r1o..r4o``) or ``A``, ``b``.
        shape: static shape, ``(N, C, H, W)``.
        dtype: NumPy's name of the element type, ``float32`` or ``float16``.
        direction: ``input`` or ``output``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    direction: str

    def to_json(self) -> dict[str, Any]:
        """The tensor as plain JSON values; `from_json` is its inverse."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TensorSpec:
        """Returns the tensor that `to_json` wrote; raises `EngineError` where it is malformed."""
        try:
            spec = cls(**{**data, "shape": tuple(data["shape"])})
        except (KeyError, TypeError):
            raise _malformed(data) from None
        texts = (spec.name, spec.dtype, spec.direction)
        if not all(isinstance(t, str) for t in texts) or not all(
            type(n) is int and n > 0 for n in spec.shape
        ):
            raise _malformed(data)
        return spec


def tensors(profile: Profile, graph: Graph, *, dtype: str = "float32") -> tuple[TensorSpec, ...]:
    """Returns every tensor of a graph, inputs first, in upstream's order.

    The core reads ``src`` at low resolution and gives ``A`` and ``b``, 4 channels each: three for the foreground
    residual and one for alpha. The full graph reads ``src`` at frame size and gives ``fgr`` and ``pha``.
    """
    low = (profile.low_height, profile.low_width)
    frame = (profile.height, profile.width)
    size, results = (low, (("A", 4), ("b", 4))) if graph is Graph.CORE else (frame, (("fgr", 3), ("pha", 1)))
    inputs = [("src", (profile.batch, 3, *size)), *zip(STATE_INPUTS, profile.state_shapes, strict=True)]
    outputs = [(name, (profile.batch, channels, *size)) for name, channels in results]
    outputs += zip(STATE_OUTPUTS, profile.state_shapes, strict=True)
    return (
        *(TensorSpec(name=n, shape=s, dtype=dtype, direction="input") for n, s in inputs),
        *(TensorSpec(name=n, shape=s, dtype=dtype, direction="output") for n, s in outputs),
    )


def _malformed(data: object) -> EngineError:
    return EngineError(
        "tensor",
        got=repr(data),
        expected="name, shape, dtype and direction",
        todo="The manifest is damaged: build the engine again.",
    )
