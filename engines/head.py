"""The head of a core: what follows the decoder's hidden features, cut off for a kernel of the runtime.

TensorRT needs six kernels for the projection and the guided filter, OpenVINO twenty, and both move each tensor between
them through memory. One kernel of ours computes both from the hidden features, in FP32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from rvm_trt.contract import HIDDEN, HIDDEN_CHANNELS, STATE_OUTPUTS
from rvm_trt.engines.head_file import HEAD
from rvm_trt.export.graph_editor import GraphEditor

Array = npt.NDArray[np.float32]
LAST_LAYER = "decoder.decode0.conv.5/Relu"


def cut_head(model: onnx.ModelProto) -> Mapping[str, Array]:
    """Cuts a lowered core graph in place behind its hidden features, and returns the weights of what was cut off.

    The graph gives ``hid`` (N, 16, h, w) instead of ``A`` and ``b`` then.

    Returns:
        ``project.weight`` (4, 16) and ``project.bias`` (4,), hidden features → residual and alpha; with the deep
        guided filter ``box.weight`` (4, 3, 3), ``mlp.0.weight`` (16, 24), ``mlp.1.weight`` (16, 16), ``mlp.2.weight``
        (4, 16) and their biases, all float32. The fast one has no weights: its box is the mean.
    """
    editor = GraphEditor(model)
    last = editor.named(LAST_LAYER)
    if last is None:
        raise ValueError(f"no node {LAST_LAYER}")
    weights = _weights(editor)
    features = last.output[0]
    result = model.graph.output[0].type.tensor_type
    batch, _, *size = (side.dim_value for side in result.shape.dim)
    hidden = helper.make_tensor_value_info(HIDDEN, result.elem_type, (batch, HIDDEN_CHANNELS, *size))
    for node in editor.nodes:
        node.input[:] = [HIDDEN if name == features else name for name in node.input]
    last.output[0] = HIDDEN
    states = [value for value in model.graph.output if value.name in STATE_OUTPUTS]
    del model.graph.output[:]
    model.graph.output.extend([hidden, *states])
    editor.finish()
    return weights


def write_head(folder: Path, weights: Mapping[str, Array]) -> None:
    """Writes the weights of a head into an engine's folder."""
    np.savez(folder / HEAD, allow_pickle=False, **weights)


def _weights(editor: GraphEditor) -> dict[str, Array]:
    project = editor.named("project_mat.conv/Conv")
    if project is not None:  # no guided filter, so nothing was joined
        return {
            "project.weight": _matrix(editor.constants[project.input[1]]),
            "project.bias": editor.constants[project.input[2]],
        }
    weights = _pointwise(editor, "project_mat.conv", "project")
    names = {"box": "refiner.box_filter/Conv", "mlp.0": "refiner.conv.1/Conv", "mlp.1": "refiner.conv.4/Conv"}
    layers = {name: layer for name, node in names.items() if (layer := editor.named(node)) is not None}
    if len(layers) < len(names):
        return weights  # the fast guided filter, which has no perceptron
    weights["box.weight"] = editor.constants[layers.pop("box").input[1]][:4, 0]
    for name, layer in layers.items():
        weights[f"{name}.weight"] = _matrix(editor.constants[layer.input[1]])
        weights[f"{name}.bias"] = editor.constants[layer.input[2]]
    return {**weights, **_pointwise(editor, "refiner.conv.6", "mlp.2")}


def _matrix(kernel: Array) -> Array:
    return kernel[:, :, 0, 0]


def _pointwise(editor: GraphEditor, scope: str, name: str) -> dict[str, Array]:
    """Returns the weights of a layer that `rvm_trt.export.fusion` wrote as a sum of products."""
    columns: dict[int, Array] = {}
    bias: Array | None = None
    for node in editor.nodes:
        if not node.name.startswith(f"{scope}/"):
            continue
        for constant in node.input:
            value = editor.constants.get(constant)
            if node.op_type == "Mul" and value is not None:
                columns[int(constant.rpartition("column")[2])] = value.reshape(-1)
            elif node.op_type == "Add" and value is not None:
                bias = value.reshape(-1)
    if bias is None:
        raise ValueError(f"no layer {scope}")
    return {
        f"{name}.weight": np.stack([columns[i] for i in range(len(columns))], axis=1),
        f"{name}.bias": bias,
    }
