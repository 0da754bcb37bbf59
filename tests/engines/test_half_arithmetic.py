"""Half arithmetic on the CPU: every operator's result rounded to float16, as NumPy's float16 rounds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from rvm_trt.engines.half_arithmetic import emulate_half

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
STEP = 2.0**-12  # 1 + STEP is 1 in float16 and not in float32


def half_graph(
    nodes: Sequence[onnx.NodeProto],
    shapes: Mapping[str, Sequence[int]],
    constants: Mapping[str, npt.NDArray[Any]] | None = None,
) -> onnx.ModelProto:
    """An FP16 graph: ``y`` is its output, the other tensors with shapes are its inputs."""
    values = {name: helper.make_tensor_value_info(name, HALF, shape) for name, shape in shapes.items()}
    output = values.pop("y")
    stored = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "half", [*values.values()], [output], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def emulated(model: onnx.ModelProto, **feeds: Any) -> npt.NDArray[np.float32]:
    result = emulate_half(model)
    onnx.checker.check_model(result, full_check=True)
    session = onnxruntime.InferenceSession(result.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {name: np.asarray(value, np.float32) for name, value in feeds.items()})
    assert y.dtype == np.float32
    return np.asarray(y)


def scalars(**values: float) -> dict[str, npt.NDArray[Any]]:
    return {name: np.array([value], np.float16) for name, value in values.items()}


def test_a_sum_is_rounded_before_the_next_operator_reads_it() -> None:
    nodes = [
        helper.make_node("Add", ["x", "step"], ["sum"], "add"),
        helper.make_node("Sub", ["sum", "one"], ["y"], "subtract"),
    ]
    model = half_graph(nodes, {"x": [1], "y": [1]}, scalars(step=STEP, one=1))
    assert emulated(model, x=[1]).tolist() == [0]


def test_inputs_are_rounded_first() -> None:
    model = half_graph([helper.make_node("Sub", ["x", "one"], ["y"])], {"x": [3], "y": [3]}, scalars(one=1))
    assert emulated(model, x=[1 + STEP, 1 + 3 * STEP, 1 - 2 * STEP]).tolist() == [0, 4 * STEP, -2 * STEP]


def test_nothing_is_rounded_within_an_island() -> None:
    wide = {name: value.astype(np.float32) for name, value in scalars(step=STEP, one=1).items()}
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], "widen", to=FLOAT),
        helper.make_node("Add", ["wide", "step"], ["sum"], "add"),
        helper.make_node("Sub", ["sum", "one"], ["rest"], "subtract"),
        helper.make_node("Cast", ["rest"], ["y"], "narrow", to=HALF),
    ]
    assert emulated(half_graph(nodes, {"x": [1], "y": [1]}, wide), x=[1]).tolist() == [STEP]


def test_what_leaves_an_island_is_rounded() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], "widen", to=FLOAT),
        helper.make_node("Add", ["wide", "step"], ["sum"], "add"),
        helper.make_node("Cast", ["sum"], ["narrow"], "narrow", to=HALF),
        helper.make_node("Sub", ["narrow", "one"], ["y"], "subtract"),
    ]
    constants = {"step": np.float32([STEP]), "one": np.float16([1])}
    assert emulated(half_graph(nodes, {"x": [1], "y": [1]}, constants), x=[1]).tolist() == [0]


def test_an_overflow_is_infinite_and_stays_so() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["product"], "double"),
        helper.make_node("Mul", ["product", "half"], ["y"], "halve"),
    ]
    model = half_graph(nodes, {"x": [3], "y": [3]}, scalars(two=2, half=0.5))
    assert emulated(model, x=[40000, -40000, 30000]).tolist() == [np.inf, -np.inf, 30000]


def test_sums_within_an_operator_are_not_rounded_one_by_one() -> None:
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)]
    model = half_graph(nodes, {"x": [3], "y": [1]}, {"axes": np.array([0])})
    # One by one, 2048 + 1 is 2048 in float16, twice.
    assert emulated(model, x=[2048, 1, 1]).tolist() == [2050]
    assert emulated(model, x=[4096, 1, 0]).tolist() == [4096]


@pytest.mark.parametrize("seed", [1, 2])
def test_elementwise_arithmetic_is_numpy_s_float16_bit_for_bit(seed: int) -> None:
    # Any bits at all: subnormal, infinite and no numbers among them.
    x, y, z = np.random.default_rng(seed).integers(0, 1 << 16, (3, 50_000)).astype(np.uint16).view(np.float16)
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["product"], "mul"),
        helper.make_node("Add", ["product", "z"], ["sum"], "add"),
        helper.make_node("Div", ["sum", "x"], ["quotient"], "div"),
        helper.make_node("Relu", ["quotient"], ["positive"], "relu"),
        helper.make_node("Sqrt", ["positive"], ["root"], "sqrt"),
        helper.make_node("Sub", ["root", "w"], ["y"], "sub"),
    ]
    model = half_graph(nodes, {name: [x.size] for name in ("x", "w", "z", "y")})
    got = emulated(model, x=x, w=y, z=z)
    with np.errstate(all="ignore"):
        expected = np.sqrt(np.maximum((x * y + z) / x, np.float16(0))) - y
    assert expected.dtype == np.float16
    numbers = ~np.isnan(expected)
    assert numbers.sum() > 10_000
    assert np.isinf(expected).any()
    assert (np.abs(expected[numbers]) < np.finfo(np.float16).tiny).any()
    assert np.array_equal(np.isnan(got), ~numbers)
    narrow = got.astype(np.float16)
    assert np.array_equal(narrow.astype(np.float32)[numbers], got[numbers]), "every result is a float16"
    assert np.array_equal(narrow[numbers].view(np.uint16), expected[numbers].view(np.uint16))


def test_moving_values_about_and_integer_constants_changes_nothing() -> None:
    values = np.random.default_rng(4).standard_normal((2, 6)).astype(np.float16)
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], "turn", perm=[1, 0]),
        helper.make_node("Reshape", ["turned", "shape"], ["flat"], "flatten"),
        helper.make_node("Split", ["flat"], ["left", "right"], "split", axis=0, num_outputs=2),
        helper.make_node("Concat", ["right", "left"], ["y"], "swap", axis=0),
    ]
    model = half_graph(nodes, {"x": [2, 6], "y": [12]}, {"shape": np.array([12])})
    assert np.array_equal(emulated(model, x=values), np.roll(values.T.reshape(12), 6))


def test_the_graph_keeps_its_tensors_and_the_source_its_bytes() -> None:
    nodes = [helper.make_node("Mul", ["x", "weight"], ["y"], "scale")]
    model = half_graph(nodes, {"x": [2, 3], "y": [2, 3]}, scalars(weight=0.1))
    before = model.SerializeToString(deterministic=True)
    result = emulate_half(model)
    assert model.SerializeToString(deterministic=True) == before
    for values in (result.graph.input, result.graph.output):
        kinds = [value.type.tensor_type for value in values]
        assert [kind.elem_type for kind in kinds] == [FLOAT]
        assert [axis.dim_value for axis in kinds[0].shape.dim] == [2, 3]
    assert [value.name for value in (*result.graph.input, *result.graph.output)] == ["x", "y"]
    (weight,) = result.graph.initializer
    assert numpy_helper.to_array(weight) == np.float32(np.float16(0.1))
    assert "scale" in {node.name for node in result.graph.node}
