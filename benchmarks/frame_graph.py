"""The full graph with the conversions of a frame inside: how a library is used best from uint8 frame to composite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rvm_trt.benchmarks.entrants import BACKGROUND
from rvm_trt.profile import Profile


def write_frame_graph(graph: Path, profile: Profile, path: Path) -> Path:
    """Writes a full graph with ``frame`` (H, W, 3) uint8 for ``src`` and ``composite`` for ``fgr`` and ``pha``.

    In the graph the conversions run on the library's own threads, and need no pass of NumPy or PyTorch over float
    pictures of the frame's size.

    Args:
        graph: the full graph in FP32, as `export_onnx` writes it.
        profile: its profile.
        path: the file to write.
    """
    model = onnx.load_model(graph)
    inner = model.graph
    size = (profile.height, profile.width, 3)
    states_in = [value for value in inner.input if value.name != "src"]
    states_out = [value for value in inner.output if value.name not in ("fgr", "pha")]
    nodes = [*_read(), *inner.node, *_write()]
    inner.initializer.extend(
        [
            numpy_helper.from_array(np.array([0], np.int64), "first_axis"),
            numpy_helper.from_array(np.array(255, np.float32), "white"),
            numpy_helper.from_array(np.array(BACKGROUND, np.float32).reshape(1, 3, 1, 1), "background"),
        ]
    )
    for field in (inner.node, inner.input, inner.output):
        del field[:]
    inner.node.extend(nodes)
    inner.input.extend([helper.make_tensor_value_info("frame", TensorProto.UINT8, size), *states_in])
    inner.output.extend([helper.make_tensor_value_info("composite", TensorProto.UINT8, size), *states_out])
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)
    return path


def _read() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Transpose", ["frame"], ["frame_planes"], perm=[2, 0, 1]),
        helper.make_node("Unsqueeze", ["frame_planes", "first_axis"], ["frame_batch"]),
        helper.make_node("Cast", ["frame_batch"], ["frame_float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["frame_float", "white"], ["src"]),
    ]


def _write() -> list[onnx.NodeProto]:
    """``background + pha·(255·fgr − background)``, rounded: one multiplication less than the textbook's form."""
    return [
        helper.make_node("Mul", ["fgr", "white"], ["fgr_scaled"]),
        helper.make_node("Sub", ["fgr_scaled", "background"], ["fgr_apart"]),
        helper.make_node("Mul", ["fgr_apart", "pha"], ["fgr_share"]),
        helper.make_node("Add", ["fgr_share", "background"], ["blended"]),
        helper.make_node("Round", ["blended"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["levels"], to=TensorProto.UINT8),
        helper.make_node("Squeeze", ["levels", "first_axis"], ["level_planes"]),
        helper.make_node("Transpose", ["level_planes"], ["composite"], perm=[1, 2, 0]),
    ]
