"""Quantised graphs: the numbers in their weights and scales, and their results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from rvm_trt.engines.quantise import InputRange, quantise, scale_of
from rvm_trt.errors import EngineError

Array = npt.NDArray[np.float32]
SHAPE = (1, 4, 6, 5)
CHANNELS = np.float32([30, 1, 0.1, 3])


@pytest.fixture
def model() -> onnx.ModelProto:
    """Two convolutions that read ``x``, one of them with a bias; channels of very different ranges."""
    generator = np.random.default_rng(11)
    first = generator.standard_normal((6, 4, 3, 3)) * np.logspace(-6, 3, 6).reshape(6, 1, 1, 1)
    second = generator.standard_normal((6, 4, 1, 1)) / CHANNELS.reshape(1, 4, 1, 1)
    second[2] = 0
    constants = {"first.weight": first, "second.weight": second, "second.bias": generator.standard_normal(6)}
    nodes = [
        helper.make_node("Conv", ["x", "first.weight"], ["a"], "first/Conv", pads=[1] * 4),
        helper.make_node("Conv", ["x", "second.weight", "second.bias"], ["b"], "second/Conv"),
        helper.make_node("Mul", ["x", "x"], ["c"], "square/Mul"),
    ]
    shapes = {"x": SHAPE, "a": (1, 6, 6, 5), "b": (1, 6, 6, 5), "c": SHAPE}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    stored = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def x() -> Array:
    generator = np.random.default_rng(12)
    return np.asarray(generator.uniform(-1, 1, SHAPE) * CHANNELS.reshape(1, 4, 1, 1), np.float32)


def values(model: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def weight_scales(weight: Array) -> Array:
    return np.array([scale_of(float(np.abs(channel).max())) for channel in weight], np.float32)


def run(model: onnx.ModelProto, feeds: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, dict(feeds))]


def pair(model: onnx.ModelProto, convolution: str) -> tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto]:
    """Returns what quantises a convolution's input, what dequantises it, and what dequantises its weights."""
    makers = {node.output[0]: node for node in model.graph.node}
    node = next(node for node in model.graph.node if node.name == convolution)
    back, weights = makers[node.input[0]], makers[node.input[1]]
    quantised = makers[back.input[0]]
    kinds = [quantised.op_type, back.op_type, weights.op_type]
    assert kinds == ["QuantizeLinear", "DequantizeLinear", "DequantizeLinear"]
    return quantised, back, weights


def test_a_scale_is_the_smallest_half_that_does_not_clip() -> None:
    for largest in (*np.geomspace(1e-9, 6e4, 400), 127.0, 1.0, float(np.float16(0.1)) * 127):
        scale = scale_of(float(largest))
        assert isinstance(scale, np.float16)
        assert float(scale) * 127 >= largest
        below = float(np.nextafter(scale, np.float16(0), dtype=np.float16))
        assert below == 0 or below * 127 < largest


def test_a_scale_of_nothing_can_be_divided_by() -> None:
    assert scale_of(0.0) == np.finfo(np.float16).smallest_subnormal


def test_weights_are_symmetric_int8_with_a_half_scale_for_each_output_channel(model: onnx.ModelProto) -> None:
    before = values(model)
    quantise(model, {"first/Conv": InputRange(largest=30), "second/Conv": InputRange(largest=30)})
    after = values(model)
    for name in ("first", "second"):
        _, _, node = pair(model, f"{name}/Conv")
        levels, scales, zeros = (after[tensor] for tensor in node.input)
        assert [(attribute.name, attribute.i) for attribute in node.attribute] == [("axis", 0)]
        weight = before[f"{name}.weight"]
        assert (levels.dtype, levels.shape) == (np.dtype(np.int8), weight.shape)
        assert np.abs(levels.astype(int)).max() <= 127
        assert (scales.dtype, scales.shape) == (np.dtype(np.float32), (6,))
        assert np.array_equal(scales, scales.astype(np.float16).astype(np.float32))
        assert np.array_equal(scales, weight_scales(weight))
        assert (zeros.dtype, zeros.tolist()) == (np.dtype(np.int8), [0] * 6)
        largest = np.abs(weight).reshape(6, -1).max(axis=1)
        assert (scales * 127 >= largest).all()
        error = np.abs(levels * scales.reshape(6, 1, 1, 1) - weight)
        assert (error <= 0.5 * scales.reshape(6, 1, 1, 1) * (1 + 1e-6)).all()
        normal = scales > np.finfo(np.float16).tiny
        assert (np.abs(levels.astype(int)).reshape(6, -1).max(axis=1)[normal] >= 126).all(), (
            "all levels in use"
        )
    assert np.array_equal(after["second.bias"], before["second.bias"])


def test_inputs_are_quantised_by_one_scalar_and_only_for_the_convolution(model: onnx.ModelProto) -> None:
    quantise(model, {"first/Conv": InputRange(largest=30)})
    quantised, back, _ = pair(model, "first/Conv")
    after = {tensor.name: tensor for tensor in model.graph.initializer}
    assert quantised.input[0] == "x"
    assert quantised.input[1:] == back.input[1:]
    scale, zero = (after[name] for name in quantised.input[1:])
    # Of no axes: with one, TensorRT-RTX runs the convolution in floating point.
    assert (list(scale.dims), list(zero.dims)) == ([], [])
    assert numpy_helper.to_array(scale) == np.float32(scale_of(30))
    assert (zero.data_type, numpy_helper.to_array(zero)) == (TensorProto.INT8, 0)
    others = {node.name: list(node.input) for node in model.graph.node if "first" not in node.name}
    assert others == {"second/Conv": ["x", "second.weight", "second.bias"], "square/Mul": ["x", "x"]}


def test_convolutions_that_share_an_input_each_have_their_range(model: onnx.ModelProto) -> None:
    quantise(model, {"first/Conv": InputRange(largest=30), "second/Conv": InputRange(largest=2)})
    after = values(model)
    scales = {name: after[pair(model, f"{name}/Conv")[0].input[1]] for name in ("first", "second")}
    assert scales == {"first": np.float32(scale_of(30)), "second": np.float32(scale_of(2))}
    assert {pair(model, f"{name}/Conv")[0].input[0] for name in ("first", "second")} == {"x"}


def test_the_result_is_that_of_integers(model: onnx.ModelProto, x: Array) -> None:
    _, plain, square = run(model, {"x": x})
    weight, bias = values(model)["second.weight"], values(model)["second.bias"]
    quantise(model, {"second/Conv": InputRange(largest=30)})
    _, got, same = run(model, {"x": x})
    scale, scales = float(scale_of(30)), weight_scales(weight)
    levels = np.rint(weight[:, :, 0, 0] / scales[:, None])
    steps = np.rint(x[0] / np.float32(scale)).clip(-128, 127)
    expected = np.einsum("oi,ihw->ohw", levels, steps) * scale * scales[:, None, None] + bias[:, None, None]
    np.testing.assert_allclose(got[0], expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(same, square)
    # Half a step of the input through weights of the size of one, and half a step of each weight.
    bound = np.abs(weight).sum(axis=(1, 2, 3)) * scale / 2 + scales / 2 * CHANNELS.sum() + 1e-3
    assert (np.abs(got - plain)[0].max(axis=(1, 2)) <= bound).all()


def test_values_beyond_the_range_are_clipped_to_it(model: onnx.ModelProto) -> None:
    quantise(model, {"second/Conv": InputRange(largest=30)})
    found = [run(model, {"x": np.full(SHAPE, value, np.float32)})[1] for value in (30, 31, 1e6, np.inf)]
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_equalised_channels_of_small_ranges_keep_their_values(model: onnx.ModelProto, x: Array) -> None:
    _, plain, _ = run(model, {"x": x})
    errors, models = {}, {}
    for name, given in {
        "plain": InputRange(largest=30),
        "equalised": InputRange(largest=1, scales=tuple(float(value) for value in CHANNELS)),
    }.items():
        models[name] = onnx.ModelProto()
        models[name].CopyFrom(model)
        quantise(models[name], {"second/Conv": given})
        quiet = x * np.float32([0, 1, 1, 0]).reshape(1, 4, 1, 1)
        errors[name] = np.abs(run(models[name], {"x": quiet})[1] - run(model, {"x": quiet})[1]).max()
    assert errors["equalised"] < 0.3 * errors["plain"]
    equalised = models["equalised"]
    quantised, _, weights = pair(equalised, "second/Conv")
    (divide,) = (node for node in equalised.graph.node if node.output[0] == quantised.input[0])
    after = values(equalised)
    np.testing.assert_allclose(after[divide.input[1]].ravel(), 1 / CHANNELS, rtol=1e-6)
    levels, scales, _ = (after[name] for name in weights.input)
    multiplied = values(model)["second.weight"] * CHANNELS.reshape(1, 4, 1, 1)
    assert (
        np.abs(levels * scales.reshape(6, 1, 1, 1) - multiplied) <= scales.reshape(6, 1, 1, 1) / 1.99
    ).all()
    assert np.abs(run(equalised, {"x": x})[1] - plain).max() < 0.05 * np.abs(plain).max()


@pytest.mark.parametrize("scales", [None, tuple(float(value) for value in CHANNELS)])
def test_the_bias_makes_up_for_what_rounding_the_weights_shifts_on_average(
    model: onnx.ModelProto, scales: tuple[float, ...] | None
) -> None:
    # Values that the input's levels meet exactly, so that the weights' rounding is all that is left.
    largest = 1.0 if scales else 30.0
    steps = np.float32([100, 50, -7, 90]) * np.float32(scale_of(largest))
    means = steps * CHANNELS if scales else steps
    picture = np.broadcast_to(means.reshape(1, 4, 1, 1), SHAPE).astype(np.float32)
    expected, errors = run(model, {"x": picture})[1], {}
    for name, given in (("corrected", tuple(float(mean) for mean in means)), ("as it is", None)):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        quantise(copy, {"second/Conv": InputRange(largest=largest, scales=scales, means=given)})
        errors[name] = np.abs(run(copy, {"x": picture})[1] - expected).max()
    assert errors["corrected"] < 1e-4
    assert errors["as it is"] > 100 * errors["corrected"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("third/Conv", InputRange(largest=1)),
        ("square/Mul", InputRange(largest=1)),
        ("first/Conv", InputRange(largest=1, scales=(1.0, 2.0))),
    ],
)
def test_a_recipe_of_another_graph_is_refused_by_the_layer_s_name(
    model: onnx.ModelProto, name: str, given: InputRange
) -> None:
    with pytest.raises(EngineError) as caught:
        quantise(model, {name: given})
    assert caught.value.subject == name


def test_weights_that_are_no_constant_cannot_be_quantised(model: onnx.ModelProto) -> None:
    quantise(model, {"first/Conv": InputRange(largest=1)})
    with pytest.raises(EngineError, match="first/Conv: got no convolution with constant weights"):
        quantise(model, {"first/Conv": InputRange(largest=1)})


@pytest.mark.parametrize(("before", "after"), [(18, 19), (19, 19), (20, 20)])
def test_the_operator_set_is_the_first_with_half_scales_or_later(
    model: onnx.ModelProto, before: int, after: int
) -> None:
    model.opset_import[0].version = before
    quantise(model, {"first/Conv": InputRange(largest=30)})
    assert [entry.version for entry in model.opset_import] == [after]
