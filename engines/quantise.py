"""INT8 in the graph: explicit symmetric quantise/dequantise pairs around chosen convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from rvm_trt.errors import EngineError
from rvm_trt.export.graph_editor import GraphEditor

# Half scales, as strongly typed FP16 networks need them, came with this operator set.
OPSET = 19
_LEVELS = 127
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class InputRange:
    """What a convolution's input may hold.

    Attributes:
        largest: largest absolute value that is represented, after the division by ``scales``.
        scales: what each input channel is divided by before it is quantised, its weights being multiplied by the
            same; None for no such equalisation.
        means: mean of each input channel over the calibration footage, from which the bias is corrected for what
            rounding the weights shifts on average; None for no correction.
    """

    largest: float
    scales: tuple[float, ...] | None = None
    means: tuple[float, ...] | None = None


def quantise(model: onnx.ModelProto, ranges: Mapping[str, InputRange]) -> None:
    """Quantises convolutions of an FP32 graph in place.

    The input of each gets a per-tensor pair, its weights become int8 with a scale per output channel; biases and sums
    stay in floating point. Scales are symmetric (zero point 0, weights use −127..127, as TensorRT has them) and numbers
    that float16 holds, so that FP16 and FP32 networks quantise alike.

    Args:
        model: a core or full graph, before or after `rvm_trt.export.fusion.fuse` with these names kept.
        ranges: name of a convolution → range of its input.

    Raises:
        EngineError: a name is no convolution with constant weights, or the channels do not agree.
    """
    editor = GraphEditor(model)
    for name, given in ranges.items():
        _quantise_one(editor, _convolution(editor, name, given), given)
    for entry in model.opset_import:
        if entry.domain == "":
            entry.version = max(entry.version, OPSET)
    editor.finish()


def _quantise_one(editor: GraphEditor, node: onnx.NodeProto, given: InputRange) -> None:
    weight = editor.constants[node.input[1]]
    scales: Array = np.ones((1, weight.shape[1], 1, 1), np.float32)
    tensor = node.input[0]
    if given.scales is not None:
        scales = np.array(given.scales, np.float32).reshape(scales.shape)
        factors = editor.constant(1 / scales, f"{node.input[1]}.equalise")
        tensor = editor.emit("Mul", [tensor, factors], scope=f"{node.name}.input")
    levels, steps = _levels(weight * scales)
    node.input[0] = _activation_pair(editor, tensor, given.largest, scope=f"{node.name}.input")
    if given.means is not None and len(node.input) > 2:
        shift = (levels * _column(steps) / scales - weight).sum(axis=(2, 3)) @ np.array(
            given.means, np.float32
        )
        bias = editor.constants[node.input[2]] - shift
        node.input[2] = editor.constant(bias.astype(np.float32), f"{node.input[2]}.corrected")
    node.input[1] = _weights(editor, node.input[1], levels, steps)


def scale_of(largest: float) -> np.float16:
    """Returns the scale for values up to ``largest``: a float16, and never one that clips it."""
    scale = np.float16(largest / _LEVELS)
    if float(scale) * _LEVELS < largest:
        scale = np.nextafter(scale, np.float16(np.inf), dtype=np.float16)
    return max(scale, np.float16(6e-8))


def _convolution(editor: GraphEditor, name: str, given: InputRange) -> onnx.NodeProto:
    node = editor.named(name)
    weight = None if node is None or node.op_type != "Conv" else editor.constants.get(node.input[1])
    lengths = {len(values) for values in (given.scales, given.means) if values is not None}
    if node is None or weight is None or not lengths <= {weight.shape[1]}:
        raise EngineError(
            name,
            got="no convolution with constant weights and that many input channels",
            expected="one of the graph's convolutions",
            todo="Calibrate again: the recipe belongs to another graph.",
        )
    return node


def _activation_pair(editor: GraphEditor, tensor: str, largest: float, *, scope: str) -> str:
    # Scalars, not lists of one: TensorRT-RTX runs the convolution in floating point otherwise, without a word.
    scale = editor.constant(np.array(scale_of(largest), np.float32), f"{scope}.scale")
    zero = editor.constant(np.array(0, np.int8), f"{scope}.zero")
    quantised = editor.emit("QuantizeLinear", [tensor, scale, zero], scope=scope)
    return editor.emit("DequantizeLinear", [quantised, scale, zero], scope=scope)


def _weights(editor: GraphEditor, name: str, levels: npt.NDArray[np.int8], steps: Array) -> str:
    stored = editor.constant(levels, f"{name}.int8")
    scale = editor.constant(steps, f"{name}.scales")
    zero = editor.constant(np.zeros(len(steps), np.int8), f"{name}.zeros")
    return editor.emit("DequantizeLinear", [stored, scale, zero], scope=name, axis=0)


def _levels(weight: Array) -> tuple[npt.NDArray[np.int8], Array]:
    """Returns a weight as int8 with one scale per output channel (axis 0), float32 values that float16 holds."""
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    steps = np.array([scale_of(value) for value in largest], np.float32)
    return np.clip(np.rint(weight / _column(steps)), -_LEVELS, _LEVELS).astype(np.int8), steps


def _column(values: Array) -> Array:
    return values.reshape(-1, 1, 1, 1)
