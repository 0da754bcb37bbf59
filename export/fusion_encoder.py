"""Graph surgery on the encoder and LR-ASPP: fewer kernels for global averages and their gates, the same result."""

from __future__ import annotations

import math
from collections.abc import Container

import numpy as np
import onnx

from rvm_trt.export.graph_editor import Array, GraphEditor


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
