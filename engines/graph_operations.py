"""The operations of graphs that name them one by one: OpenVINO's XML and ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from rvm_trt.engines.element_types import element_type, tensor_bytes
from rvm_trt.engines.operations import Operations
from rvm_trt.engines.plan import PlanKernel, PlanTensor
from rvm_trt.errors import DependencyError, EngineError
from rvm_trt.untrusted import read_bounded, shown

if TYPE_CHECKING:
    import onnx

MAX_XML_BYTES, MAX_ONNX_BYTES = 64 << 20, 512 << 20
Port = tuple[str, str]  # ids of a layer and of one of its ports


def read_openvino_xml(path: Path) -> Operations:
    """Returns the operations in an OpenVINO model's XML, their kind being OpenVINO's name for them.

    The bodies of loops are not looked into.

    Raises:
        EngineError: the file cannot be read or is no such XML.
    """
    try:
        root = ElementTree.fromstring(read_bounded(path, max_bytes=MAX_XML_BYTES))
        sources = {
            (edge.attrib["to-layer"], edge.attrib["to-port"]): (
                edge.attrib["from-layer"],
                edge.attrib["from-port"],
            )
            for edge in root.iterfind("edges/edge")
        }
        return _openvino_operations(root.findall("layers/layer"), sources)
    except OSError as error:
        raise _unreadable(path, f"no readable file ({error.strerror})", "an OpenVINO model") from None
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # an encoding that Python lacks is one
        got = f"no description of operations ({type(error).__name__}: {error})"
        raise _unreadable(path, got, "an OpenVINO model") from None


def _openvino_operations(layers: list[ElementTree.Element], sources: Mapping[Port, Port]) -> Operations:
    written = {port: tensor for layer in layers for port, tensor in _written(layer)}
    kernels, constants = [], set()
    outputs = []
    for layer in layers:
        ports = (port.attrib["id"] for port in layer.iterfind("input/port"))
        inputs = [written[sources[layer.attrib["id"], port]].name for port in ports]
        kind = layer.attrib["type"]
        results = [tensor.name for _, tensor in _written(layer)]
        if kind == "Result":
            outputs += inputs
        elif kind == "Const":
            constants.update(results)
        elif kind != "Parameter":
            kernels.append(_operation(layer.attrib["name"], kind, inputs, results))
    return _with_constants(
        Operations(
            kernels=tuple(kernels),
            tensors={tensor.name: tensor for tensor in written.values()},
            inputs=tuple(layer.attrib["name"] for layer in layers if layer.attrib["type"] == "Parameter"),
            outputs=tuple(outputs),
        ),
        constants,
    )


def _written(layer: ElementTree.Element) -> Iterator[tuple[Port, PlanTensor]]:
    ports = layer.findall("output/port")
    for index, port in enumerate(ports):
        name = layer.attrib["name"] if len(ports) == 1 else f"{layer.attrib['name']}:{index}"
        shape = tuple(int(size.text or "") for size in port.iterfind("dim"))
        yield (
            (layer.attrib["id"], port.attrib["id"]),
            _tensor(name, shape, port.attrib["precision"]),
        )


def read_onnx_nodes(path: Path) -> Operations:
    """Returns the nodes of an ONNX file, also those of its subgraphs, their kind being the operator.

    Raises:
        EngineError: the file cannot be read or is no ONNX graph.
        DependencyError: onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx.shape_inference import InferenceError, infer_shapes
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "onnx", extra="export", stage="reading an ONNX graph") from None
    try:
        model = onnx.load_model_from_string(read_bounded(path, max_bytes=MAX_ONNX_BYTES))
        graphs = list(_graphs(infer_shapes(model).graph))
        if not graphs[0].node:
            raise _unreadable(path, "no graph with nodes", "an ONNX graph")
        return _onnx_operations(graphs)
    except OSError as error:
        raise _unreadable(path, f"no readable file ({error.strerror})", "an ONNX graph") from None
    except (DecodeError, InferenceError, ValueError) as error:
        raise _unreadable(path, f"no graph ({error})", "an ONNX graph") from None


def _onnx_operations(graphs: list[onnx.GraphProto]) -> Operations:
    nodes = [node for graph in graphs for node in graph.node]
    stored = [tensor for graph in graphs for tensor in graph.initializer]
    constants = {tensor.name for tensor in stored}
    constants.update(name for node in nodes if node.op_type == "Constant" for name in node.output)
    kernels = tuple(
        _operation(node.name or node.op_type, node.op_type, node.input, node.output)
        for node in nodes
        if node.op_type != "Constant"
    )
    unknown = {name: None for kernel in kernels for name in (*kernel.inputs, *kernel.outputs)}
    tensors = {name: _tensor(name, (-1,), "unknown") for name in unknown}
    tensors.update(_onnx_tensors(graphs))
    return _with_constants(
        Operations(
            kernels=kernels,
            tensors=tensors,
            inputs=tuple(value.name for value in graphs[0].input if value.name not in constants),
            outputs=tuple(value.name for value in graphs[0].output),
        ),
        constants,
    )


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _graphs(inner)


def _onnx_tensors(graphs: list[onnx.GraphProto]) -> Iterator[tuple[str, PlanTensor]]:
    for graph in graphs:
        for tensor in graph.initializer:
            yield tensor.name, _tensor(tensor.name, tuple(tensor.dims), _onnx_type(tensor.data_type))
        for value in (*graph.value_info, *graph.input, *graph.output):
            kind = value.type.tensor_type
            shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
            known = shape if kind.HasField("shape") else (-1,)
            yield value.name, _tensor(value.name, known, _onnx_type(kind.elem_type))


def _onnx_type(number: int) -> str:
    from onnx import TensorProto

    types = TensorProto.DataType
    return str(types.Name(number)) if number in types.values() else "unknown"


def _with_constants(operations: Operations, constants: set[str]) -> Operations:
    """Returns the operations with constants, and all that is computed from constants alone, marked as such."""
    still = set(constants)
    for kernel in operations.kernels:
        if kernel.inputs and still.issuperset(kernel.inputs):
            still.update(kernel.outputs)
    tensors = {
        name: replace(tensor, activation=name not in still) for name, tensor in operations.tensors.items()
    }
    return replace(operations, tensors=tensors)


def _operation(name: str, kind: str, inputs: Iterable[str], outputs: Iterable[str]) -> PlanKernel:
    # An input that an ONNX node leaves out has an empty name.
    return PlanKernel(
        name=name,
        kind=kind,
        layers=(),
        inputs=tuple(dict.fromkeys(filter(None, inputs))),
        outputs=tuple(dict.fromkeys(filter(None, outputs))),
    )


def _tensor(name: str, shape: tuple[int, ...], type_words: str) -> PlanTensor:
    dtype = element_type(type_words)
    return PlanTensor(name=name, shape=shape, dtype=dtype, bytes=tensor_bytes(shape, dtype))


def _unreadable(path: Path, got: str, expected: str) -> EngineError:
    got = shown(got, limit=500)
    return EngineError(str(path), got=got, expected=expected, todo="Make the file again.")
