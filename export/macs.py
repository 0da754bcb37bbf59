"""Multiply-accumulates: of each layer of an exported graph, and of a profile's network without exporting it.

Only convolutions and matrix products count, as in published figures; element-wise work and resizing do not.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import onnx

from rvm_trt.contract import tensors
from rvm_trt.errors import ExportError
from rvm_trt.options import Graph
from rvm_trt.profile import Profile

_COUNTED = ("Conv", "MatMul", "Gemm")


def layer_macs(model: onnx.ModelProto) -> dict[str, int]:
    """Returns the multiply-accumulates of each Conv, MatMul and Gemm by node name, in the graph's order.

    The whole batch counts. Weights may stand behind other nodes, as in a quantised graph. A node without a name
    goes by its first output.

    Raises:
        ExportError: a size is not known, even after shape inference.
    """
    shapes = _shapes(onnx.shape_inference.infer_shapes(model).graph)
    return {
        node.name or node.output[0]: _node_macs(node, shapes)
        for node in model.graph.node
        if node.op_type in _COUNTED
    }


def profile_macs(profile: Profile) -> int:
    """Returns the multiply-accumulates of a profile's core network for one frame, whatever the batch.

    Encoder, LR-ASPP, decoder, and the guided filter up to its coefficients where the ratio is not 1. Needs no
    weights: the network runs on shapes alone, in about 0.2 s.
    """
    # PyTorch takes seconds to load, and layer_macs does without.
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from rvm_trt.export.model import MattingNetwork

    specs = tensors(replace(profile, batch=1), Graph.CORE)
    with torch.device("meta"):
        network = MattingNetwork(profile.variant, profile.refiner).eval()
        src, r1, r2, r3, r4 = (torch.empty(spec.shape) for spec in specs if spec.direction == "input")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.coefficients(src, (r1, r2, r3, r4), refined=profile.uses_refiner)
    return int(counter.get_total_flops()) // 2  # a multiply-accumulate is two of them


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Returns the tensors' shapes, with 0 for a side that is not static."""
    shapes = {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for values in (graph.input, graph.value_info, graph.output)
        for value in values
    }
    return shapes | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _node_macs(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    first, second, output = (shapes.get(name, ()) for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        terms = prod(second[1:])  # the weight is (out, in / groups, height, width)
    elif node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        terms = prod(first[:1] if transposed else first[1:])
    else:
        terms = prod(first[-1:])
    if not (first and second and output and terms * prod(output)):
        raise ExportError(
            node.name or node.output[0],
            got=f"a {node.op_type} of unknown size",
            expected="static shapes",
            todo="Export the graph with export_onnx or 'rvm-trt export'.",
        )
    return terms * prod(output)
