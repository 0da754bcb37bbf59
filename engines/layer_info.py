"""The layers of a TensorRT engine, from the JSON of its inspector, which is written when the engine is built.

TensorRT can describe an engine only where it can load it: on a GPU of the engine's kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rvm_trt.engines.element_types import element_type, tensor_bytes
from rvm_trt.engines.operations import Operations
from rvm_trt.engines.plan import PlanKernel, PlanTensor
from rvm_trt.engines.plan_kinds import REFORMAT, generated_kind, layer_names
from rvm_trt.errors import EngineError
from rvm_trt.untrusted import parse_json, read_bounded, shown

MAX_BYTES = 64 << 20
_NO_KERNELS = frozenset({"signal", "wait", "shape_call", "Constant", "NoOp"})
_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("CaskConvolution", "CaskGemmConvolution", "Convolution", "conv"), "convolution"),
    **dict.fromkeys(("CaskDeconvolutionV2", "Deconvolution", "deconv"), "transposed convolution"),
    **dict.fromkeys(("CaskGemmMatrixMultiply", "MatrixMultiply", "gemm"), "matrix product"),
    **dict.fromkeys(("CaskPooling", "Pooling", "pooling"), "pooling"),
    **dict.fromkeys(("PointWise", "PointWiseV2", "ElementWise", "Activation"), "pointwise"),
    **dict.fromkeys(("Reformat", "Shuffle", "Cast"), REFORMAT),
    "Reduce": "reduction",
    "Resize": "resize",
}


def read_layer_info(path: Path) -> Operations:
    """Returns the layers in an inspector's JSON, of an engine built with detailed profiling verbosity.

    Raises:
        EngineError: the file cannot be read or is no such JSON.
    """
    try:
        info = parse_json(read_bounded(path, max_bytes=MAX_BYTES))
        launched = [layer for layer in info["Layers"] if layer["LayerType"] not in _NO_KERNELS]
        return _operations(launched, [_binding(entry) for entry in info["Bindings"]])
    except OSError as error:
        raise _unreadable(path, f"no readable file ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        got = f"no description of layers ({type(error).__name__}: {error})"
        raise _unreadable(path, shown(got, limit=500)) from None


def _operations(layers: list[dict[str, Any]], bindings: list[str]) -> Operations:
    kernels = tuple(_kernel(layer) for layer in layers)
    written = {name for kernel in kernels for name in kernel.outputs}
    described = (_tensor(entry) for layer in layers for entry in (*layer["Inputs"], *layer["Outputs"]))
    tensors = {
        # What no layer writes and no caller gives is a weight or a constant.
        tensor.name: replace(tensor, activation=tensor.name in written or tensor.name in bindings)
        for tensor in described
    }
    return Operations(
        kernels=kernels,
        tensors=tensors,
        inputs=tuple(name for name in bindings if name in tensors and name not in written),
        outputs=tuple(name for name in bindings if name in written),
    )


def _binding(entry: str | dict[str, Any]) -> str:
    return entry if isinstance(entry, str) else _text(entry["Name"])


def _kernel(layer: dict[str, Any]) -> PlanKernel:
    name, kind = _text(layer["Name"]), _text(layer["LayerType"])
    return PlanKernel(
        name=name,
        kind=_KINDS.get(kind) or generated_kind(name) or kind,
        layers=layer_names(layer.get("Metadata", "")),
        inputs=tuple(dict.fromkeys(_text(entry["Name"]) for entry in layer["Inputs"])),
        outputs=tuple(dict.fromkeys(_text(entry["Name"]) for entry in layer["Outputs"])),
        stream=_integer(layer.get("StreamId", 0)),
    )


def _tensor(entry: dict[str, Any]) -> PlanTensor:
    shape = tuple(_integer(size) for size in entry["Dimensions"])
    dtype = element_type(entry["Format/Datatype"])
    return PlanTensor(name=_text(entry["Name"]), shape=shape, dtype=dtype, bytes=tensor_bytes(shape, dtype))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{shown(repr(value))} is no text")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{shown(repr(value))} is no whole number")
    return value


def _unreadable(path: Path, got: str) -> EngineError:
    return EngineError(
        str(path),
        got=got,
        expected="the JSON of TensorRT's engine inspector, with detailed profiling verbosity",
        todo="Build the engine again.",
    )
