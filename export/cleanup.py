"""Graph surgery after tracing: plain operators, shared initialisers, names that follow the network."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper

from rvm_trt.errors import ExportError

# Each either makes shapes dynamic, branches, or costs a copy that a static graph has no need of.
FORBIDDEN = frozenset(
    {
        "Shape",
        "Expand",
        "If",
        "Loop",
        "Scan",
        "NonZero",
        "Range",
        "ConstantOfShape",
        "Where",
        "BatchNormalization",
    }
)
_SCOPES = "pkg.torch.onnx.name_scopes"


def clean(model: onnx.ModelProto) -> None:
    """Cleans a traced model in place; results stay the same to the bit.

    Raises:
        ExportError: the model holds an operator that has no place in a static graph.
    """
    graph = model.graph
    _check_operators(graph)
    _constants_to_initialisers(graph)
    _use_global_pooling(graph)
    _merge_initialisers(graph)
    _name_nodes(graph)
    _drop_notes(model)


def _check_operators(graph: onnx.GraphProto) -> None:
    found = Counter(node.op_type for node in graph.node if node.op_type in FORBIDDEN)
    if found:
        listed = ", ".join(f"{count} {name}" for name, count in sorted(found.items()))
        raise ExportError(
            "graph",
            got=f"the operators {listed}",
            expected="none of them",
            todo="This is a bug in the export: please report it with the profile.",
        )


def _constants_to_initialisers(graph: onnx.GraphProto) -> None:
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        # A constant that is itself an output (A at ratio 1) stays a node: builders disagree on initialiser outputs.
        if node.op_type == "Constant" and values and node.output[0] not in outputs:
            values[0].name = node.output[0]
            graph.initializer.append(values[0])
        else:
            kept.append(node)
    _replace(graph.node, kept)


def _use_global_pooling(graph: onnx.GraphProto) -> None:
    # The tracer writes a mean over both axes; builders know GlobalAveragePool and fuse it.
    values = {tensor.name: tensor for tensor in graph.initializer}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.value_info}
    for node in graph.node:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or ranks.get(node.input[0]) != 4:
            continue
        axes = sorted(int(axis) % 4 for axis in numpy_helper.to_array(values[node.input[1]]))
        keeps = all(attribute.i == 1 for attribute in node.attribute if attribute.name == "keepdims")
        if axes == [2, 3] and keeps:
            node.op_type = "GlobalAveragePool"
            del node.input[1:]
            del node.attribute[:]


def _merge_initialisers(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed: dict[str, str] = {}
    kept = []
    for tensor in graph.initializer:
        if tensor.name not in used:
            continue
        array = np.ascontiguousarray(numpy_helper.to_array(tensor))
        name = first.setdefault((tensor.data_type, tuple(tensor.dims), array.tobytes()), tensor.name)
        renamed[tensor.name] = name
        if name == tensor.name:
            kept.append(tensor)
    _replace(graph.initializer, kept)
    for node in graph.node:
        _replace(node.input, [renamed.get(name, name) for name in node.input])


def _name_nodes(graph: onnx.GraphProto) -> None:
    fixed = {value.name for value in (*graph.input, *graph.output)}
    renamed: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for node in graph.node:
        node.name = _unique(f"{_scope(node)}{node.op_type}", taken)
        for index, name in enumerate(node.output):
            if name and name not in fixed:
                renamed[name] = node.name if index == 0 else f"{node.name}.{index}"
    for position, tensor in enumerate(graph.initializer):
        plain = tensor.name.removeprefix("network.")
        # Parameters have dotted names. The tracer names its own constants by numbers that change with its version.
        renamed[tensor.name] = plain if "." in plain else f"constant.{position}"
        tensor.name = renamed[tensor.name]
    for node in graph.node:
        _replace(node.input, [renamed.get(name, name) for name in node.input])
        _replace(node.output, [renamed.get(name, name) for name in node.output])
    live = {name for node in graph.node for name in node.output} - fixed
    for value in graph.value_info:
        value.name = renamed.get(value.name, value.name)
    _replace(graph.value_info, [value for value in graph.value_info if value.name in live])


def _scope(node: onnx.NodeProto) -> str:
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            modules = [name for name in ast.literal_eval(entry.value)[:-1] if name]
            deepest = modules[-1].removeprefix("network").removeprefix(".") if modules else ""
            return f"{deepest}/" if deepest else ""
    return ""


def _unique(name: str, taken: Counter[str]) -> str:
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}_{taken[name]}"


def _drop_notes(model: onnx.ModelProto) -> None:
    # The tracer leaves stack traces with file names of the machine it ran on.
    del model.metadata_props[:]
    graph = model.graph
    graph.name = "rvm"
    for holder in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        holder.doc_string = ""
        del holder.metadata_props[:]


def _replace(field: object, values: Iterable[object]) -> None:
    kept = list(values)
    del field[:]  # type: ignore[attr-defined]
    field.extend(kept)  # type: ignore[attr-defined]
