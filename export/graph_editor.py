"""An editor for static ONNX graphs: look nodes up, put others in their place, write the graph back whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]


class GraphEditor:
    """Edits a model's graph. Nothing in the model changes before `finish`, which writes the edited graph into it.

    Attributes:
        nodes: the graph's nodes, in no particular order while editing.
        constants: initialiser name → value.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._graph = model.graph
        self.nodes: list[onnx.NodeProto] = [_copy(node) for node in self._graph.node]
        self.constants: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in self._graph.initializer}
        self._shapes = _shapes(model)
        self._taken = {node.name for node in self.nodes}

    def find(self, op_type: str, prefix: str = "") -> list[onnx.NodeProto]:
        """Returns the nodes of an operator whose names start with a prefix, in the graph's order."""
        return [node for node in self.nodes if node.op_type == op_type and node.name.startswith(prefix)]

    def named(self, name: str) -> onnx.NodeProto | None:
        """Returns the node of a name, or None."""
        return next((node for node in self.nodes if node.name == name), None)

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """Returns the node that gives a tensor; None for the graph's inputs and constants."""
        return next((node for node in self.nodes if tensor in node.output), None)

    def required(self, tensor: str) -> onnx.NodeProto:
        """Returns the node that gives a tensor; raises `ValueError` where none does."""
        node = self.producer(tensor)
        if node is None:
            raise ValueError(f"no node gives {tensor}")
        return node

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        """Returns the nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.input]

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Returns the shape of a tensor of the graph as it was when the editor was made."""
        return self._shapes[tensor]

    def constant(self, value: Array, name: str) -> str:
        """Adds a constant under a name like the given one and returns its name."""
        while name in self.constants:
            name += "_"
        self.constants[name] = value.copy()  # contiguous, and a scalar stays one
        return name

    def integers(self, *values: int) -> str:
        """Adds a list of integers (axes, sizes) as a constant, once for each value, and returns its name."""
        name = "integers." + ".".join(str(value) for value in values)
        self.constants[name] = np.array(values, np.int64)
        return name

    def emit(
        self, op_type: str, inputs: Sequence[str], *, scope: str, output: str | None = None, **attributes: Any
    ) -> str:
        """Adds a node named ``<scope>/<op_type>`` and returns its output's name, its own unless one is given."""
        name = self._unique(f"{scope}/{op_type}")
        node = helper.make_node(op_type, list(inputs), [output or name], name=name, **attributes)
        self.nodes.append(node)
        return output or name

    def channels(self, tensor: str, start: int, stop: int, *, scope: str) -> str:
        """Adds a slice of channels (axis 1) and returns its output's name."""
        return self.cut(tensor, axis=1, start=start, stop=stop, scope=scope)

    def cut(self, tensor: str, *, axis: int, start: int, stop: int, scope: str, step: int = 1) -> str:
        """Adds a slice along one axis and returns its output's name."""
        bounds = [self.integers(start), self.integers(stop), self.integers(axis), self.integers(step)]
        return self.emit("Slice", [tensor, *bounds], scope=scope)

    def remove(self, nodes: Iterable[onnx.NodeProto | None]) -> None:
        """Removes nodes; their outputs must be given by others, or be read by none, when the editor finishes."""
        gone = {id(node): node for node in nodes if node is not None}
        self._taken -= {node.name for node in gone.values()}
        self.nodes = [node for node in self.nodes if id(node) not in gone]

    def finish(self) -> None:
        """Sorts the nodes, drops what no output needs, and writes the graph into the model."""
        ordered = self._needed(self._sorted())
        used = {name for node in ordered for name in node.input}
        constants = [
            numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used
        ]
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.node.extend(ordered)
        self._graph.initializer.extend(constants)
        onnx.checker.check_model(self._model)

    def _sorted(self) -> list[onnx.NodeProto]:
        known = {"", *self.constants, *(value.name for value in self._graph.input)}
        ordered: list[onnx.NodeProto] = []
        left = self.nodes
        while left:
            waiting = []
            for node in left:
                if known.issuperset(node.input):
                    if twice := known & set(filter(None, node.output)):
                        raise ValueError(f"given twice: {sorted(twice)}")
                    ordered.append(node)
                    known.update(node.output)
                else:
                    waiting.append(node)
            if len(waiting) == len(left):
                raise ValueError(f"no order for the nodes {[node.name for node in waiting]}")
            left = waiting
        return ordered

    def _needed(self, ordered: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        needed = {value.name for value in self._graph.output}
        kept = []
        for node in reversed(ordered):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(filter(None, node.input))
        return kept[::-1]

    def _unique(self, name: str) -> str:
        candidate, number = name, 1
        while candidate in self._taken:
            number += 1
            candidate = f"{name}_{number}"
        self._taken.add(candidate)
        return candidate


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    shapes = {value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim) for value in values}
    return {**shapes, **{tensor.name: tuple(tensor.dims) for tensor in graph.initializer}}
