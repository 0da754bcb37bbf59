"""The graph editor on a small graph: what it finds, what it adds, and what it writes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from rvm_trt.export.graph_editor import GraphEditor

SHAPE = (1, 4, 2, 3)
X = np.random.default_rng(5).standard_normal(SHAPE).astype(np.float32)


@pytest.fixture
def model() -> onnx.ModelProto:
    """``x → c → r → d`` and ``y = c + d``, with one weight that is read twice and one that nothing reads."""
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["c"], "first.0/Conv"),
        helper.make_node("Relu", ["c"], ["r"], "first.1/Relu"),
        helper.make_node("Conv", ["r", "weight"], ["d"], "second.0/Conv"),
        helper.make_node("Add", ["c", "d"], ["y"], "join/Add"),
    ]
    weight = np.random.default_rng(6).standard_normal((4, 4, 1, 1)).astype(np.float32)
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(weight[0], "unused")]
    source, target = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy")
    graph = helper.make_graph(nodes, "small", [source], [target], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"note": "kept"})
    return model


def result(model: onnx.ModelProto) -> npt.NDArray[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": X})
    return np.asarray(y)


def names(nodes: list[onnx.NodeProto]) -> list[str]:
    return [node.name for node in nodes]


def named(editor: GraphEditor, name: str) -> onnx.NodeProto:
    node = editor.named(name)
    assert node is not None
    return node


def test_nodes_are_found_by_operator_prefix_and_name(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    assert names(editor.find("Conv")) == ["first.0/Conv", "second.0/Conv"]
    assert names(editor.find("Conv", "second")) == ["second.0/Conv"]
    assert editor.find("Relu", "second") == []
    assert named(editor, "join/Add").op_type == "Add"
    assert editor.named("join") is None


def test_tensors_know_who_makes_and_who_reads_them(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    producer = editor.producer("c")
    assert producer is not None
    assert producer.name == "first.0/Conv"
    assert editor.producer("x") is None
    assert editor.producer("weight") is None
    assert names(editor.consumers("c")) == ["first.1/Relu", "join/Add"]
    assert editor.consumers("y") == []


def test_shapes_are_known_for_inputs_constants_and_all_between(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    assert editor.shape("x") == editor.shape("d") == editor.shape("y") == SHAPE
    assert editor.shape("weight") == (4, 4, 1, 1)


def test_nothing_changes_before_the_end(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    editor = GraphEditor(model)
    editor.remove([editor.named("first.1/Relu")])
    editor.emit("Sigmoid", ["c"], scope="new", output="r")
    editor.constant(X, "more")
    assert model.SerializeToString(deterministic=True) == before
    editor.finish()
    assert model.SerializeToString(deterministic=True) != before


def test_an_edit_without_changes_keeps_the_result_and_the_notes(model: onnx.ModelProto) -> None:
    before = result(model)
    GraphEditor(model).finish()
    assert np.array_equal(result(model), before)
    assert [(entry.key, entry.value) for entry in model.metadata_props] == [("note", "kept")]


def test_a_replacement_takes_the_place_of_what_was_removed(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    editor.remove([editor.named("join/Add"), None])
    assert editor.emit("Sub", ["c", "d"], scope="join", output="y") == "y"
    editor.finish()
    weight = numpy_helper.to_array(model.graph.initializer[0])[:, :, 0, 0]
    c = np.einsum("oi,nihw->nohw", weight, X)
    expected = c - np.einsum("oi,nihw->nohw", weight, np.maximum(c, 0))
    np.testing.assert_allclose(result(model), expected, rtol=0, atol=1e-5)


def test_the_end_sorts_the_nodes_and_drops_what_nothing_needs(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    editor.emit("Tanh", [editor.emit("Relu", ["x"], scope="idle")], scope="idle")
    editor.constant(X, "idle.constant")
    late = editor.emit("Neg", ["c"], scope="late")
    named(editor, "first.1/Relu").input[0] = late
    editor.finish()
    expected = ["first.0/Conv", "late/Neg", "first.1/Relu", "second.0/Conv", "join/Add"]
    assert names(list(model.graph.node)) == expected
    assert [tensor.name for tensor in model.graph.initializer] == ["weight"]


def test_names_of_nodes_stay_unique_and_those_of_removed_ones_are_free(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    assert editor.emit("Relu", ["x"], scope="first.1") == "first.1/Relu_2"
    assert editor.emit("Relu", ["x"], scope="first.1") == "first.1/Relu_3"
    editor.remove([editor.named("first.1/Relu_2")])
    assert editor.emit("Relu", ["x"], scope="first.1") == "first.1/Relu_2"
    assert editor.emit("Relu", ["x"], scope="first.1", output="given") == "given"


def test_constants_get_names_of_their_own_and_hold_copies(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    value = np.float32([1, 2])
    name = editor.constant(value, "weight")
    value[0] = 5
    assert name != "weight"
    assert editor.constants["weight"].shape == (4, 4, 1, 1)
    assert editor.constants[name].tolist() == [1, 2]


def test_a_scalar_stays_without_axes_and_a_view_is_stored_in_its_own_order(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    scalar = editor.constant(np.array(2, np.float32), "scalar")
    turned = editor.constant(np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4).T, "turned")
    product = editor.emit("Mul", ["x", scalar], scope="scaled")
    editor.remove([editor.named("join/Add")])
    part = editor.emit("Reshape", [turned, editor.integers(1, 4, 3, 1)], scope="turned")
    part = editor.emit("ReduceMean", [part, editor.integers(2)], scope="turned")
    editor.emit("Add", [product, part], scope="join", output="y")
    editor.finish()
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    assert list(stored["scalar"].dims) == []
    assert result(model) == pytest.approx(2 * X + np.float32([4, 5, 6, 7]).reshape(1, 4, 1, 1))


def test_equal_lists_of_integers_are_one_constant(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    assert editor.integers(1, 2) == editor.integers(1, 2)
    assert (
        len({editor.integers(1, 2), editor.integers(12), editor.integers(-1, 2), editor.integers(2, 1)}) == 4
    )
    assert editor.constants[editor.integers(-1, 2)].tolist() == [-1, 2]
    assert editor.constants[editor.integers(-1, 2)].dtype == np.int64


def test_slices_take_channels_or_every_second_row(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    editor.remove([editor.named("join/Add")])
    upper = editor.channels("x", 2, 4, scope="cut")
    columns = editor.cut("x", axis=3, start=0, stop=3, step=2, scope="cut")
    editor.emit("Concat", [upper, editor.channels("x", 0, 2, scope="cut")], scope="cut", axis=1, output="y")
    model.graph.output.append(helper.make_tensor_value_info(columns, TensorProto.FLOAT, (1, 4, 2, 2)))
    editor.finish()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, z = session.run(None, {"x": X})
    assert np.array_equal(y, X[:, [2, 3, 0, 1]])
    assert np.array_equal(z, X[:, :, :, ::2])


def test_a_graph_that_misses_a_tensor_is_refused(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    editor.remove([editor.named("first.1/Relu")])
    with pytest.raises(ValueError, match=r"no order for the nodes .*second\.0/Conv"):
        editor.finish()


def test_a_graph_in_a_circle_is_refused(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    named(editor, "first.0/Conv").input[0] = "r"
    with pytest.raises(ValueError, match=r"first\.0/Conv"):
        editor.finish()


def test_a_node_that_is_no_onnx_is_refused(model: onnx.ModelProto) -> None:
    editor = GraphEditor(model)
    editor.remove([editor.named("join/Add")])
    editor.emit("Add", ["c", "d"], scope="join", output="y", strength=2)
    with pytest.raises(onnx.checker.ValidationError, match="strength"):
        editor.finish()
