"""FP16 in the graph: weights, activations, inputs and outputs in half, with FP32 islands where rounding would show."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto

from rvm_trt.errors import ExportError
from rvm_trt.export.graph_editor import Array, GraphEditor

# name → the nodes, by their whole names in a graph after `fuse`. What each is worth, and what others would be:
# benchmarks/results/fp16.json.
ISLANDS: Mapping[str, str] = {
    # box(xy) − box(x)·box(y) cancels; so does what makes its input, the projection to residual and alpha. The slope
    # network matters less, but a kernel of the runtime computes all of the head, in FP32.
    "head": r"(refiner(\.[\w.]+)?|project_mat\.conv)/.*|ReduceMean|Concat",
    # MobileNetV3's, up to 1/4 of the size: where the network cannot decide whether something is a person, rounding
    # here tips it.
    "first layers": r"backbone(/|\.features\.[0-3](\.|/)).*",
}
_SINGLE, _HALF = "single", "half"
_ONNX_TYPES = {_SINGLE: TensorProto.FLOAT, _HALF: TensorProto.FLOAT16}
_LARGEST = float(np.finfo(np.float16).max)
# Inputs that stay as they are whatever the precision: region, scales and sizes of a resize.
_FIXED_INPUTS = {"Resize": (1, 2, 3)}


def lower_to_half(model: onnx.ModelProto, *, islands: Mapping[str, str] = ISLANDS) -> None:
    """Changes an FP32 graph of ours in place to half precision, strongly typed.

    Inputs and outputs become float16, and every tensor that crosses the edge of an island gets a Cast.

    Args:
        model: a core or full graph after `rvm_trt.export.fusion.fuse`.
        islands: name → regular expression; a node whose whole name it matches stays in FP32.

    Raises:
        ExportError: a weight outside the islands does not fit float16.
    """
    pattern = re.compile("|".join(f"(?:{nodes})" for nodes in islands.values()) or r"(?!)")
    editor = GraphEditor(model)
    _Lowering(editor, model.graph, pattern).run()
    # Not before all went well: on an error the model stays as it was.
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    editor.finish()


class _Lowering:
    def __init__(self, editor: GraphEditor, graph: onnx.GraphProto, islands: re.Pattern[str]) -> None:
        self._editor = editor
        self._islands = islands
        self._outputs = {value.name for value in graph.output}
        self._types = dict.fromkeys((value.name for value in graph.input), _HALF)
        self._converted: dict[tuple[str, str], str] = {}

    def run(self) -> None:
        nodes = list(self._editor.nodes)
        for node in nodes:
            self._types.update(dict.fromkeys(node.output, self._wanted(node)))
        for node in nodes:
            wanted = self._wanted(node)
            for index, name in enumerate(node.input):
                if name and index not in _FIXED_INPUTS.get(node.op_type, ()):
                    node.input[index] = self._as(name, wanted)
        for node in nodes:
            self._return_half(node)

    def _wanted(self, node: onnx.NodeProto) -> str:
        return _SINGLE if self._islands.fullmatch(node.name) else _HALF

    def _as(self, name: str, wanted: str) -> str:
        """Returns the name of a tensor in the wanted type, adding a constant or a Cast where there is none yet."""
        value = self._editor.constants.get(name)
        if value is not None and value.dtype != np.float32:
            return name
        if name in self._outputs and wanted == _HALF:
            return name  # an output is in half: `_return_half` casts it once for all
        if (value is None and self._types[name] == wanted) or (value is not None and wanted == _SINGLE):
            return name
        key = (name, wanted)
        if key not in self._converted:
            self._converted[key] = self._cast(name, wanted) if value is None else self._constant(name, value)
        return self._converted[key]

    def _constant(self, name: str, value: Array) -> str:
        largest = float(np.abs(value).max(initial=0))
        if largest > _LARGEST:
            raise ExportError(
                name,
                got=f"a value of {largest:g}",
                expected=f"at most {_LARGEST:g}, the largest number in float16",
                todo="Build in fp32, and report the checkpoint.",
            )
        return self._editor.constant(value.astype(np.float16), f"{name}.{_HALF}")

    def _cast(self, name: str, wanted: str, output: str | None = None) -> str:
        return self._editor.emit(
            "Cast", [name], scope=f"{name}.{wanted}", output=output, to=_ONNX_TYPES[wanted]
        )

    def _return_half(self, node: onnx.NodeProto) -> None:
        """Where an island gives an output of the graph, gives it under another name and casts it."""
        for index, name in enumerate(node.output):
            if name not in self._outputs or self._types[name] == _HALF:
                continue
            inner = f"{name}.{_SINGLE}"
            node.output[index] = inner
            for reader in self._editor.consumers(name):
                if self._wanted(reader) == _HALF:
                    continue
                inputs = [inner if read == name else read for read in reader.input]
                del reader.input[:]
                reader.input.extend(inputs)
            self._cast(inner, _HALF, output=name)
