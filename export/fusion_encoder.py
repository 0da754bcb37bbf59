"""Graph surgery on the encoder and LR-ASPP: fewer kernels for global averages and their gates, the same result."""

from __future__ import annotations

import math
from collections.abc import Container

import numpy as np
import onnx

from rvm_trt.export.graph_editor import Array, GraphEditor

_GATE_OUTPUTS = 32
_GATE_ROWS = 64


def average_channels_last(editor: GraphEditor) -> int:
    """Writes each global average as a mean over the channels-last view that the convolutions produce anyway.

    TensorRT lowers GlobalAveragePool to a transposition to channels-first and a mean, which also keeps the activation
    before it from joining its convolution. Returns the number of averages changed.
    """
    pools = editor.find("GlobalAveragePool")
    for pool in pools:
        batch, channels = editor.shape(pool.input[0])[:2]
        scope = pool.name.rpartition("/")[0]
        mean = _mean(editor, pool.input[0], scope)
        editor.emit(
            "Reshape", [mean, editor.integers(batch, channels, 1, 1)], scope=scope, output=pool.output[0]
        )
    editor.remove(pools)
    return len(pools)


def average_in_gates(editor: GraphEditor, *, keep: Container[str] = ()) -> int:
    """Joins each global average with a small first gate layer behind it: one kernel where there were two.

    ``W·mean(x) = Σ_rows mean_row(W·x)``: one kernel gives the layer's part of every row, and the kernel after it adds
    the rows up. The activation is read once for each output of the layer, so layers of more than `_GATE_OUTPUTS` stay;
    so do pictures whose shorter side has more than `_GATE_ROWS` rows. Returns the number of averages joined.
    """
    joined = 0
    for pool in editor.find("GlobalAveragePool"):
        layer, *others = editor.consumers(pool.output[0])
        sides = editor.shape(pool.input[0])[2:]
        if layer.op_type != "Conv" or others or layer.name in keep or min(sides) > _GATE_ROWS:
            continue
        if _used_outputs(editor.constants[layer.input[1]]) <= _GATE_OUTPUTS:
            _average_in_layer(editor, pool, layer)
            joined += 1
    return joined


def _used_outputs(weight: Array) -> int:
    """Returns how many rows of a layer's weights there are before the zeros that fill them up."""
    return int(np.flatnonzero(weight.reshape(weight.shape[0], -1).any(axis=1))[-1]) + 1


def _average_in_layer(editor: GraphEditor, pool: onnx.NodeProto, layer: onnx.NodeProto) -> None:
    scope = layer.name.rpartition("/")[0]
    batch, channels, *sides = editor.shape(pool.input[0])
    rows, columns = min(sides), max(sides)
    upright = sides[0] == rows
    weight = editor.constants[layer.input[1]][:, :, 0, 0]  # (outputs, channels)
    outputs = _used_outputs(weight)
    weight, padding = weight[:outputs], weight.shape[0] - outputs
    # Divided by the length of a row here and by their number below: by both at once, weights would vanish in half.
    scaled = (weight / columns).reshape(1, 1, outputs, 1, channels).astype(np.float32)
    order = [0, 2, 3, 1] if upright else [0, 3, 2, 1]  # to batch, rows, columns, channels
    view = editor.emit("Transpose", [pool.input[0]], scope=scope, perm=order)
    view = editor.emit("Unsqueeze", [view, editor.integers(2)], scope=scope)
    product = editor.emit("Mul", [view, editor.constant(scaled, f"{layer.input[1]}.row")], scope=scope)
    parts = editor.emit("ReduceSum", [product, editor.integers(3, 4)], scope=scope, keepdims=0)
    terms = [editor.cut(parts, axis=1, start=row, stop=row + 1, scope=scope) for row in range(rows)]
    while len(terms) > 1:  # in pairs: fewer roundings than one after the other
        pairs = [editor.emit("Add", terms[i : i + 2], scope=scope) for i in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[2 * len(pairs) :]
    share = editor.constant(np.full((1, 1, 1), 1 / rows, np.float32), f"{scope}.share")
    total = editor.emit("Mul", [terms[0], share], scope=scope)
    if padding:
        nothing = editor.constant(np.zeros((batch, 1, padding), np.float32), f"{scope}.padding")
        total = editor.emit("Concat", [total, nothing], scope=scope, axis=2)
    bias = editor.constant(editor.constants[layer.input[2]].reshape(1, 1, -1), f"{layer.input[2]}.row")
    total = editor.emit("Add", [total, bias], scope=scope)
    shape = editor.integers(batch, outputs + padding, 1, 1)
    editor.emit("Reshape", [total, shape], scope=scope, output=layer.output[0])
    editor.remove([pool, layer])


def gate_weights(editor: GraphEditor, *, keep: Container[str] = ()) -> int:
    """Moves each squeeze-and-excitation gate from the activations to the weights of the projection that follows.

    ``P·(g ⊙ x) = (P·diag(g))·x``: the second gate layer, the gate and the scaled weights become one small row-wise
    kernel, and the expanded activation is not written again. The projection becomes a transposed 1x1 convolution,
    whose weights are stored by input channel: the order in which the row-wise kernel gives them. A batch would need
    weights per frame, so graphs with one stay as they are.

    Args:
        editor: the graph.
        keep: names of projections to leave alone (quantised ones need constant weights).

    Returns:
        The number of gates moved.
    """
    moved = 0
    for gate in editor.find("HardSigmoid", "backbone"):
        scale = editor.consumers(gate.output[0])[0]
        projection = editor.consumers(scale.output[0])[0]
        if editor.shape(gate.output[0])[0] != 1 or projection.name in keep:
            continue
        second = editor.required(gate.input[0])
        relu = editor.required(second.input[0])
        first = editor.required(relu.input[0])
        _gate_one(editor, scale, projection, (first, relu, second, gate))
        moved += 1
    return moved


def _gate_one(
    editor: GraphEditor,
    scale: onnx.NodeProto,
    projection: onnx.NodeProto,
    gate_nodes: tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto, onnx.NodeProto],
) -> None:
    first, relu, second, gate = gate_nodes
    scope = gate.name.rpartition("/")[0]
    expanded = scale.input[0] if scale.input[1] == gate.output[0] else scale.input[1]
    weights = editor.constants[projection.input[1]][:, :, 0, 0].T  # (expanded, out)
    channels, out = weights.shape
    # The row-wise kernel sums over rows as long as the projection's output; the gate's layer is cut to that length.
    pieces = math.ceil(editor.constants[first.input[1]].shape[0] / out)
    hidden = _padded_layer(editor, first, relu, pieces * out)
    rows = _pad(editor.constants[second.input[1]][:, :, 0, 0], 1, pieces * out)
    total = ""
    for piece in range(pieces):
        span = slice(piece * out, (piece + 1) * out)
        part = (
            hidden if pieces == 1 else editor.channels(hidden, span.start, span.stop, scope=scope)
        )  # (1, out, 1, 1)
        part = editor.emit("Reshape", [part, editor.integers(1, out)], scope=scope)
        part = editor.emit(
            "Mul", [part, editor.constant(rows[:, span], f"{scope}.fc2.rows{piece}")], scope=scope
        )
        total = editor.emit("Add", [total, part], scope=scope) if total else part
    summed = editor.emit("ReduceSum", [total, editor.integers(1)], scope=scope, keepdims=1)
    bias = editor.constant(editor.constants[second.input[2]].reshape(channels, 1), f"{scope}.fc2.column")
    summed = editor.emit("Add", [summed, bias], scope=scope)
    factor = editor.emit("HardSigmoid", [summed], scope=scope, alpha=1 / 6, beta=0.5)
    gated = editor.emit(
        "Mul", [factor, editor.constant(weights, f"{projection.input[1]}.by_input")], scope=scope
    )
    gated = editor.emit("Reshape", [gated, editor.integers(channels, out, 1, 1)], scope=scope)
    editor.remove([first, relu, second, gate, scale, projection])
    editor.emit(
        "ConvTranspose",
        [expanded, gated, *projection.input[2:]],
        scope=projection.name.rpartition("/")[0],
        output=projection.output[0],
        kernel_shape=[1, 1],
    )


def _padded_layer(editor: GraphEditor, first: onnx.NodeProto, relu: onnx.NodeProto, width: int) -> str:
    scope = first.name.rpartition("/")[0]
    weight = editor.constant(_pad(editor.constants[first.input[1]], 0, width), f"{first.input[1]}.padded")
    bias = editor.constant(_pad(editor.constants[first.input[2]], 0, width), f"{first.input[2]}.padded")
    layer = editor.emit("Conv", [first.input[0], weight, bias], scope=scope, kernel_shape=[1, 1])
    return editor.emit("Relu", [layer], scope=relu.name.rpartition("/")[0])


def join_aspp(editor: GraphEditor) -> int:
    """Runs both convolutions of LR-ASPP as one, and averages after the convolution instead of before it.

    A mean and a 1x1 convolution without bias commute. The product with the gate then joins the kernel that splits
    the features for the recurrent block. Returns 1, or 0 where there is no LR-ASPP of the expected form.
    """
    features = editor.named("aspp.aspp1.1/Conv")
    relu = editor.named("aspp.aspp1.2/Relu")
    gate = editor.named("aspp.aspp2.1/Conv")
    sigmoid = editor.named("aspp.aspp2.2/Sigmoid")
    product = editor.named("aspp/Mul")
    if features is None or relu is None or gate is None or sigmoid is None or product is None:
        return 0
    weights = [editor.constants[node.input[1]] for node in (features, gate)]
    half = weights[0].shape[0]
    bias = np.concatenate([editor.constants[features.input[2]], np.zeros(half, np.float32)])
    joined = editor.emit(
        "Conv",
        [
            features.input[0],
            editor.constant(np.concatenate(weights), "aspp.joined.weight"),
            editor.constant(bias, "aspp.joined.bias"),
        ],
        scope="aspp.joined",
        kernel_shape=[1, 1],
    )
    kept = editor.emit("Relu", [editor.channels(joined, 0, half, scope="aspp.joined")], scope="aspp.joined")
    mean = _mean(editor, editor.channels(joined, half, 2 * half, scope="aspp.joined"), "aspp.joined")
    batch = editor.shape(product.output[0])[0]
    mean = editor.emit("Reshape", [mean, editor.integers(batch, half, 1, 1)], scope="aspp.joined")
    factor = editor.emit("Sigmoid", [mean], scope="aspp.joined")
    editor.remove([features, relu, editor.producer(gate.input[0]), gate, sigmoid, product])
    editor.emit("Mul", [kept, factor], scope="aspp", output=product.output[0])
    return 1


def _mean(editor: GraphEditor, tensor: str, scope: str) -> str:
    last = editor.emit("Transpose", [tensor], scope=scope, perm=[0, 2, 3, 1])
    return editor.emit("ReduceMean", [last, editor.integers(1, 2)], scope=scope, keepdims=0)


def _pad(array: Array, axis: int, length: int) -> Array:
    widths = [(0, length - size if index == axis else 0) for index, size in enumerate(array.shape)]
    return np.pad(array, widths)
