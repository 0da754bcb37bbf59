"""Half arithmetic on any CPU: an FP16 graph as an FP32 graph that rounds to float16 after every operation.

CPU libraries run FP16 graphs in FP32 and drop the roundings between operators (ONNX Runtime 1.32 and OpenVINO 2026.4
both do), so their results say nothing about a GPU's. Here every rounding is written into the graph as a pair of casts,
which they keep. Sums within an operator are in FP32, as tensor cores accumulate; a GPU that fuses operators rounds
less often than this.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Operators whose results are among their inputs' values: nothing to round.
_EXACT = {
    "Concat",
    "Identity",
    "Relu",
    "Reshape",
    "Slice",
    "Split",
    "Transpose",
    "Unsqueeze",
    "GlobalMaxPool",
}


def emulate_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns an FP32 graph that gives, in float32, what an FP16 graph gives in half arithmetic.

    Inputs and outputs become float32; inputs are rounded to float16 first. FP32 islands stay as they are.
    """
    halves = _half_tensors(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
            )
    nodes: list[onnx.NodeProto] = []
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    renamed = {}
    for value in graph.input:
        renamed[value.name] = f"{value.name}.rounded"
        nodes += _rounding(value.name, renamed[value.name])
    for node in graph.node:
        nodes += _emulated(node, halves, renamed)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return result


def _emulated(node: onnx.NodeProto, halves: set[str], renamed: dict[str, str]) -> list[onnx.NodeProto]:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for index, name in enumerate(copy.input):
        copy.input[index] = renamed.get(name, name)
    if node.op_type == "Cast":
        if node.output[0] in halves:
            return _rounding(copy.input[0], copy.output[0])
        return [copy]  # to FP32, which the tensor is in already, or to integers
    if node.op_type in _EXACT:
        return [copy]
    after = []
    for index, name in enumerate(node.output):
        if name in halves:
            copy.output[index] = f"{name}.exact"
            after += _rounding(copy.output[index], name)
    return [copy, *after]


def _rounding(source: str, target: str) -> list[onnx.NodeProto]:
    half = f"{target}.float16"
    return [
        helper.make_node("Cast", [source], [half], name=f"{target}/round", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [target], name=f"{target}/widen", to=TensorProto.FLOAT),
    ]


def _half_tensors(model: onnx.ModelProto) -> set[str]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    return {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
