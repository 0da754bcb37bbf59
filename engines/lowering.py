"""From an exported graph to the one that TensorRT gets: fewer kernels, chosen precision, strongly typed."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from rvm_trt.engines.quantise import InputRange, quantise
from rvm_trt.export.float16 import lower_to_half
from rvm_trt.export.fusion import fuse
from rvm_trt.options import Precision


def lower(
    model: onnx.ModelProto, precision: Precision, ranges: Mapping[str, InputRange] | None = None
) -> onnx.ModelProto:
    """Returns the graph to build: fused, quantised where ``ranges`` says so, and in half but for the FP32 islands.

    Args:
        model: a core or full graph as exported; it stays as it is. One exported in FP16 is lowered already.
        precision: ``fp32``, ``fp16`` or ``int8`` (with FP16 around it).
        ranges: for ``int8``, the convolutions to quantise.
    """
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    if _is_single(lowered):
        fuse(lowered, keep=tuple(ranges or ()))
        if ranges:
            quantise(lowered, ranges)
        if precision is not Precision.FP32:
            lower_to_half(lowered)
    # The description is the manifest's: profiles that share a network share these bytes.
    del lowered.metadata_props[:]
    return lowered


def _is_single(model: onnx.ModelProto) -> bool:
    return bool(model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT)
