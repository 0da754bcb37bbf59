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
HIDDEN = "hid"
HIDDEN_CHANNELS = 16
LINEAR = "linear"
CHANNELS_LAST = "channels_last"
_LAYOUTS = (LINEAR, CHANNELS_LAST)


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output tensor of a graph.

    Attributes:
        name: upstream's name (``src, fgr, pha, r1i..r4i, r1o..r4o``) or ``A``, ``b``, ``hid``.
        shape: static shape, ``(N, C, H, W)`` whatever the layout.
        dtype: name of the element type, ``float32``, ``float16`` or ``bfloat16``.
        direction: ``input`` or ``output``.
        layout: order in memory: ``linear`` as the shape says, ``channels_last`` is ``(N, H, W, C)``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    direction: str
    layout: str = LINEAR

    def to_json(self) -> dict[str, Any]:
        """The tensor as plain JSON values; `from_json` is its inverse."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TensorSpec:
        """Returns the tensor that `to_json` wrote; raises `EngineError` where it is malformed."""
        try:
            spec = cls(**{**data, "shape": tuple(data["shape"]), "layout": data["layout"]})
        except (KeyError, TypeError):
            raise _malformed(data) from None
        texts = (spec.name, spec.dtype, spec.direction)
        sizes = all(type(n) is int and n > 0 for n in spec.shape)
        if not sizes or not all(isinstance(t, str) for t in texts) or spec.layout not in _LAYOUTS:
            raise _malformed(data)
        return spec


def tensors(
    profile: Profile,
    graph: Graph,
    *,
    dtype: str = "float32",
    trunk: bool = False,
    hidden: tuple[str, str] | None = None,
) -> tuple[TensorSpec, ...]:
    """Returns every tensor of a graph, inputs first, in upstream's order.

    The core reads ``src`` at low resolution and gives ``A`` and ``b``, 4 channels each: three for the foreground
    residual and one for alpha. The full graph reads ``src`` at frame size and gives ``fgr`` and ``pha``. The *trunk*
    of a core, what engines run, ends at the decoder's hidden features ``hid``, from which a kernel of the runtime
    computes ``A`` and ``b``. ``hidden`` is the type and layout of ``hid``: of the others' type and channels last if
    None, as TensorRT's convolution writes it.
    """
    low = (profile.low_height, profile.low_width)
    size = low if graph is Graph.CORE else (profile.height, profile.width)
    inputs = [("src", (profile.batch, 3, *size)), *zip(STATE_INPUTS, profile.state_shapes, strict=True)]
    outputs = [(name, (profile.batch, channels, *size)) for name, channels in _results(graph, trunk)]
    outputs += zip(STATE_OUTPUTS, profile.state_shapes, strict=True)

    def spec(name: str, shape: tuple[int, ...], direction: str) -> TensorSpec:
        kind, layout = (hidden or (dtype, CHANNELS_LAST)) if name == HIDDEN else (dtype, LINEAR)
        return TensorSpec(name=name, shape=shape, dtype=kind, direction=direction, layout=layout)

    return (
        *(spec(name, shape, "input") for name, shape in inputs),
        *(spec(name, shape, "output") for name, shape in outputs),
    )


def _results(graph: Graph, trunk: bool) -> tuple[tuple[str, int], ...]:
    if graph is Graph.FULL:
        return (("fgr", 3), ("pha", 1))
    return ((HIDDEN, HIDDEN_CHANNELS),) if trunk else (("A", 4), ("b", 4))


def _malformed(data: object) -> EngineError:
    return EngineError(
        "tensor",
        got=repr(data),
        expected="name, shape, dtype, direction and layout",
        todo="The manifest is damaged: build the engine again.",
    )
