"""What a graph asks of a machine: multiply-accumulates and elements moved, by node, by kernel and by stage.

A kernel is what a compiler makes of several nodes. The rule here: every convolution, product, pooling, reduction and
resize is a kernel; element-wise nodes of several tensors run in the kernel that makes the last of them; joining,
splitting, reshaping and element-wise nodes of a single tensor cost nothing, as whoever reads the result can do them.
What one kernel leaves for another is written once, and read once by each kernel that needs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import onnx

from rvm_trt.export.macs import layer_macs

_ANCHORS = frozenset(
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "AveragePool", "GlobalAveragePool", "MaxPool"}
    | {"ReduceMean", "ReduceSum", "Resize"}
)
_VIEWS = frozenset(
    {"Cast", "Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose"}
    | {"Unsqueeze"}
)
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8)
_LEVELS = {
    "4": "decoder 1/16",
    "3": "decoder 1/8",
    "2": "decoder 1/4",
    "1": "decoder 1/2",
    "0": "decoder 1/1",
}
HEAD = "head"
STAGES = ("sample", "encoder", "aspp", "pyramid", *_LEVELS.values(), HEAD)

Part = tuple[str, str]  # a tensor in memory, and the view that tells which part of it


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a node, or the nodes of one kernel, ask for.

    Attributes:
        name: of the node; of a kernel, its first.
        op: ONNX's word for it.
        stage: one of `STAGES`.
        macs: multiply-accumulates of convolutions and matrix products.
        dense: whether these are products of matrices: no convolution by channel groups.
        weights, read, written: elements.
    """

    name: str
    op: str
    stage: str
    macs: int
    dense: bool
    weights: int
    read: int
    written: int


@dataclass(frozen=True, kw_only=True)
class Network:
    """A graph's demands.

    Attributes:
        nodes: in the graph's order, each as if it ran alone; those that only rearrange move nothing.
        kernels: by the rule above.
        parameters: elements of all float constants.
        inputs, outputs: elements of the graph's own tensors.
    """

    nodes: tuple[Work, ...]
    kernels: tuple[Work, ...]
    parameters: int
    inputs: int
    outputs: int

    def macs(self, stage: str | None = None) -> int:
        """Returns the multiply-accumulates of a stage, or of all."""
        return sum(kernel.macs for kernel in self.kernels if stage in (None, kernel.stage))


def read_network(model: onnx.ModelProto) -> Network:
    """Returns the demands of an exported graph, plain or lowered, core or full.

    Raises:
        ExportError: a size is not known, even after shape inference.
    """
    graph = _Graph(model)
    return Network(
        nodes=tuple(graph.node_work(node) for node in graph.nodes),
        kernels=tuple(graph.kernels()),
        parameters=sum(graph.weights.values()),
        inputs=sum(map(graph.size, graph.inputs)),
        outputs=sum(map(graph.size, graph.outputs)),
    )


class _Graph:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = [node for node in model.graph.node if node.op_type != "Constant"]
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]
        self._shapes = _shapes(onnx.shape_inference.infer_shapes(model).graph)
        self.weights = {
            tensor.name: prod(tensor.dims)
            for tensor in model.graph.initializer
            if tensor.data_type in _FLOATS
        }
        self._makers = {name: node for node in self.nodes for name in node.output}
        self._macs = layer_macs(model)
        self._stages = dict(_stages(self.nodes))

    def size(self, name: str) -> int:
        return prod(self._shapes[name])

    def node_work(self, node: onnx.NodeProto) -> Work:
        if node.op_type in _VIEWS:
            return self._work([node], 0, 0)
        return self._work([node], sum(map(self.size, self._tensors(node))), sum(map(self.size, node.output)))

    def kernels(self) -> Iterator[Work]:
        groups = self._groups()
        reads = [self._reads(members) for members in groups]
        wanted: dict[Part, float] = {}
        for read in (*reads, *map(self._parts, self.outputs)):
            wanted.update(read)
        for members, read in zip(groups, reads, strict=True):
            written = sum(self._written(name, wanted) for node in members for name in node.output)
            yield self._work(members, round(sum(read.values())), round(written))

    def _work(self, members: list[onnx.NodeProto], read: int, written: int) -> Work:
        first = members[0]
        constants = {name for node in members for name in self._constants(node)}
        return Work(
            name=_name(first),
            op=first.op_type,
            stage=self._stages[_name(first)],
            macs=sum(self._node_macs(node) for node in members),
            dense=first.op_type in ("Gemm", "MatMul") or _is_ungrouped(first),
            weights=sum(self.weights[name] for name in constants),
            read=read,
            written=written,
        )

    def _tensors(self, node: onnx.NodeProto) -> set[str]:
        """Returns the inputs that are no constants."""
        return {name for name in node.input if name in self._makers or name in self.inputs}

    def _is_free(self, node: onnx.NodeProto) -> bool:
        if node.op_type in _ANCHORS:
            return False
        return node.op_type in _VIEWS or len(self._tensors(node)) < 2

    def _groups(self) -> list[list[onnx.NodeProto]]:
        groups: list[list[onnx.NodeProto]] = []
        group_of: dict[str, int] = {}
        for node in self.nodes:
            if self._is_free(node):
                continue
            sources = {source for name in self._tensors(node) for source, _ in self._parts(name)}
            made = [group_of[source] for source in sources if source in group_of]
            if node.op_type in _ANCHORS or not made:
                made = [len(groups)]
                groups.append([])
            groups[max(made)].append(node)
            group_of.update(dict.fromkeys(node.output, max(made)))
        return groups

    def _reads(self, members: list[onnx.NodeProto]) -> dict[Part, float]:
        own = {name for node in members for name in node.output}
        parts: dict[Part, float] = {}
        for name in {name for node in members for name in self._tensors(node)}:
            parts.update({part: size for part, size in self._parts(name).items() if part[0] not in own})
        return parts

    def _written(self, name: str, wanted: Mapping[Part, float]) -> float:
        parts = {view: size for (source, view), size in wanted.items() if source == name}
        return parts[""] if "" in parts else sum(parts.values())

    def _parts(self, name: str) -> dict[Part, float]:
        """Returns the tensors in memory that a name stands for, and how many elements of each."""
        node = self._makers.get(name)
        if node is None or not self._is_free(node):
            return {(name, ""): self.size(name)}
        behind: dict[Part, float] = {}
        for source in self._tensors(node):
            behind.update(self._parts(source))
        share = self.size(name) / sum(behind.values()) if behind else 1
        if share >= 1:
            return behind
        return {(source, name): size * share for (source, _), size in behind.items()}

    def _constants(self, node: onnx.NodeProto) -> Iterator[str]:
        """Yields the constants of a node and of the nodes before it that cost nothing."""
        for name in node.input:
            if name in self.weights:
                yield name
            elif name in self._makers and self._is_free(self._makers[name]):
                yield from self._constants(self._makers[name])

    def _node_macs(self, node: onnx.NodeProto) -> int:
        if node.op_type != "ConvTranspose":
            return self._macs.get(_name(node), 0)
        # Each pixel of the input meets each weight once.
        batch, _, *sides = self._shapes[node.input[0]]
        return batch * prod(sides) * self.size(node.input[1])


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    shapes = {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for values in (graph.input, graph.value_info, graph.output)
        for value in values
    }
    return shapes | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _stages(nodes: list[onnx.NodeProto]) -> Iterator[tuple[str, str]]:
    """Yields each node's name and stage; what stands outside all modules is sampling at first, then the head."""
    elsewhere = "sample"
    for node in nodes:
        name = _name(node)
        level = re.match(r"decoder\.decode(\d)", name)
        if name.startswith("backbone"):
            stage, elsewhere = "encoder", HEAD
        elif level:
            stage = _LEVELS[level[1]]
        elif name.startswith("decoder"):
            stage = "pyramid"
        else:
            stage = "aspp" if name.startswith("aspp") else elsewhere
        yield name, stage


def _is_ungrouped(node: onnx.NodeProto) -> bool:
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return node.op_type in ("Conv", "ConvTranspose") and groups == 1


def _name(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]


def by_stage(works: tuple[Work, ...]) -> Mapping[str, tuple[Work, ...]]:
    """Returns the works of each stage that has any, in the order of `STAGES`."""
    stages = {stage: tuple(work for work in works if work.stage == stage) for stage in STAGES}
    return {stage: found for stage, found in stages.items() if found}
