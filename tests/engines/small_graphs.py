"""Small ONNX graphs of known layers and precision, and plans of TensorRT-RTX built from them without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorrt_rtx
from onnx import TensorProto, helper, numpy_helper

from rvm_trt.contract import TensorSpec


def spec(name: str, direction: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    """Returns a tensor of a contract."""
    return TensorSpec(name=name, shape=shape, dtype=dtype, direction=direction)


# The tensors of the first two graphs.
HALF = (spec("x", "input", 1, 3, 64, 64), spec("y", "output", 1, 16, 32, 32))
INT8 = (spec("x", "input", 1, 3, 64, 64), spec("y", "output", 1, 16, 64, 64))


def half_graph() -> onnx.ModelProto:
    """float32 in, two convolutions and a pooling in float16, float32 out."""
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], "narrow", to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["half", "w1"], ["c1"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], "rectify"),
        helper.make_node("MaxPool", ["r1"], ["p1"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], "second", pads=[1] * 4),
        helper.make_node("Cast", ["c2"], ["wide"], "widen", to=TensorProto.FLOAT),
        helper.make_node("Sigmoid", ["wide"], ["y"], "squash"),
    ]
    weights = [_weights("w1", (16, 3, 3, 3), np.float16), _weights("w2", (16, 16, 3, 3), np.float16)]
    return _model(nodes, (1, 3, 64, 64), (1, 16, 32, 32), weights)


def quantised_graph() -> onnx.ModelProto:
    """A convolution with quantised input and weights, and a sigmoid."""
    scales = [numpy_helper.from_array(np.float32(0.05), "scale"), numpy_helper.from_array(np.int8(0), "zero")]
    nodes = [
        *_quantised("x", "xd"),
        *_quantised("w1", "wd"),
        helper.make_node("Conv", ["xd", "wd"], ["c1"], "first", pads=[1] * 4),
        helper.make_node("Sigmoid", ["c1"], ["y"], "squash"),
    ]
    weights = [_weights("w1", (16, 3, 3, 3), np.float32), *scales]
    return _model(nodes, (1, 3, 64, 64), (1, 16, 64, 64), weights)


def branched_graph() -> onnx.ModelProto:
    """Two branches of three convolutions each, added at the end: work for two streams."""
    nodes, weights = [], []
    for branch in ("left", "right"):
        last = "x"
        for index in range(3):
            name = f"{branch}{index}"
            weights.append(_weights(f"w_{name}", (16, 16, 3, 3), np.float32))
            nodes.append(helper.make_node("Conv", [last, f"w_{name}"], [f"c_{name}"], name, pads=[1] * 4))
            nodes.append(helper.make_node("Tanh", [f"c_{name}"], [f"t_{name}"], f"tanh_{name}"))
            last = f"t_{name}"
    nodes.append(helper.make_node("Add", ["t_left2", "t_right2"], ["y"], "join"))
    return _model(nodes, (1, 16, 32, 32), (1, 16, 32, 32), weights)


def loop_graph() -> onnx.ModelProto:
    """One convolution, five times over."""
    shape = (1, 3, 16, 16)
    body = helper.make_graph(
        [
            helper.make_node("Conv", ["state", "w1"], ["next"], "inner", pads=[1] * 4),
            helper.make_node("Identity", ["go_in"], ["go_out"], "condition"),
        ],
        "body",
        [
            helper.make_tensor_value_info("index", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, shape),
        ],
    )
    nodes = [
        helper.make_node("Loop", ["count", "go", "x"], ["last"], "loop", body=body),
        helper.make_node("Relu", ["last"], ["y"], "rectify"),
    ]
    constants = [numpy_helper.from_array(np.int64(5), "count"), numpy_helper.from_array(np.bool_(True), "go")]
    return _model(nodes, shape, shape, [_weights("w1", (3, 3, 3, 3), np.float32), *constants])


def build_plan(model: onnx.ModelProto, path: Path, targets: tuple[str, ...] = ("SM89",)) -> Path:
    """Builds a strongly typed plan, ahead of time, and returns its path."""
    builder = tensorrt_rtx.Builder(tensorrt_rtx.Logger(tensorrt_rtx.Logger.ERROR))
    network = builder.create_network(1 << int(tensorrt_rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt_rtx.OnnxParser(network, builder.logger)
    assert parser.parse(model.SerializeToString()), parser.get_error(0)
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        config.set_compute_capability(getattr(tensorrt_rtx.ComputeCapability, target), index)
    path.write_bytes(builder.build_serialized_network(network, config))
    return path


def _quantised(source: str, result: str) -> list[onnx.NodeProto]:
    inner = f"{result}_int8"
    return [
        helper.make_node("QuantizeLinear", [source, "scale", "zero"], [inner], f"{result}_q"),
        helper.make_node("DequantizeLinear", [inner, "scale", "zero"], [result], f"{result}_dq"),
    ]


def _weights(name: str, shape: tuple[int, ...], dtype: Any) -> onnx.TensorProto:
    values = np.random.default_rng(7).standard_normal(shape) * 0.1
    return numpy_helper.from_array(values.astype(dtype), name)


def _model(
    nodes: list[onnx.NodeProto],
    source: tuple[int, ...],
    result: tuple[int, ...],
    weights: list[onnx.TensorProto],
) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, source)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    return model
