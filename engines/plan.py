"""A TensorRT-RTX plan read without a GPU: the kernels it will launch and the tensors between them.

A plan cannot be deserialised where there is no GPU of its targets, but the program that TensorRT's compiler made
stands in it as text. Small programs nested in the main one are what a fused kernel is generated from when the plan
is loaded; they are not launched by themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rvm_trt.engines.element_types import element_type, tensor_bytes
from rvm_trt.engines.plan_file import read_texts, unreadable
from rvm_trt.engines.plan_kinds import layer_names, statement_kind
from rvm_trt.engines.plan_text import Block, parse_blocks
from rvm_trt.untrusted import shown

# Statements that run on the host or order the streams.
_NO_KERNELS = frozenset({"signal", "wait", "jmp", "cjmp", "assert", "shape_call"})


@dataclass(frozen=True, kw_only=True)
class PlanTensor:
    """A tensor that kernels read or write.

    Attributes:
        name: the network's own name for inputs and outputs, the compiler's for what lies between.
        shape: sizes; -1 where only known at run time.
        dtype: NumPy's word for the element type, or the nearest to it.
        bytes: of its elements without padding; None where the shape or the element type is not known.
        activation: whether it holds values of a run, in device memory: no weight, no constant, nothing on the host.
        base: the tensor of which it is a part, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int | None
    activation: bool = True
    base: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlanKernel:
    """A kernel that one run launches.

    Attributes:
        name: the compiler's name; not unique.
        kind: what it does, such as ``convolution``, ``fused convolution``, ``pointwise``, ``reduction``, ``pooling``
            or ``reformat`` (moves or casts values and computes none); the compiler's own word where it is another.
        layers: the network's layers that it stands for; none where the compiler added it.
        inputs, outputs: names of tensors, each once.
        stream: number of the stream, from 0.
    """

    name: str
    kind: str
    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stream: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a plan says of itself.

    Attributes:
        targets: compute capabilities, such as ``sm_89``.
        kernels: in the order of the program; those in a loop or a branch once.
        tensors: by name.
        inputs, outputs: names of the network's own tensors.
        device_memory_bytes: what a run needs on the device besides weights, inputs and outputs.
        size_bytes: of the file.
        streams: how many streams a run uses.
    """

    targets: tuple[str, ...]
    kernels: tuple[PlanKernel, ...]
    tensors: Mapping[str, PlanTensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    device_memory_bytes: int
    size_bytes: int
    streams: int


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Returns what a plan file says of itself; loads no library and needs no GPU.

    Raises:
        EngineError: the file cannot be read, is no plan of TensorRT-RTX, is not whole, or holds no program that this
            version can read.
    """
    path = Path(path)
    texts, size = read_texts(path)
    try:
        blocks = [parse_blocks(text) for text in texts]
        programs = [_program(block) for block in blocks if _header(block).texts("accelerators") != ("*",)]
    except ValueError as error:
        raise unreadable(path, shown(f"a program that cannot be read: {error}", limit=500)) from None
    if not programs:
        raise unreadable(path, "no program that is launched")
    return _joined(programs, size)


def _joined(programs: list[Plan], size: int) -> Plan:
    """Returns one plan for the programs of a network that was compiled in several parts."""
    programs = [_numbered(program, index) if index else program for index, program in enumerate(programs)]
    read = {name for program in programs for name in program.inputs}
    written = {name for program in programs for name in program.outputs}
    return Plan(
        targets=_unique(target for program in programs for target in program.targets),
        kernels=tuple(kernel for program in programs for kernel in program.kernels),
        tensors={name: tensor for program in programs for name, tensor in program.tensors.items()},
        # What one part hands to another is neither.
        inputs=_unique(name for program in programs for name in program.inputs if name not in written),
        outputs=_unique(name for program in programs for name in program.outputs if name not in read),
        device_memory_bytes=sum(program.device_memory_bytes for program in programs),
        size_bytes=size,
        streams=max(program.streams for program in programs),
    )


def _numbered(program: Plan, index: int) -> Plan:
    # Every part numbers its own tensors from the beginning.
    shared = {*program.inputs, *program.outputs}
    names = {name: name if name in shared else f"{index}:{name}" for name in program.tensors}
    return _renamed(program, names)


def _program(block: Block) -> Plan:
    header = _header(block)
    shapes = set(header.texts("shape_inputs"))
    inputs = tuple(name for name in header.texts("inputs") if name not in shapes)
    outputs = header.texts("outputs")
    tensors, on_host = _tensors(block, header)
    _check_described((*inputs, *outputs), tensors, "the network")
    plan = Plan(
        targets=tuple(re.sub(r"^sm(?=\d)", "sm_", word) for word in header.texts("accelerators")),
        kernels=tuple(_kernels(block, tensors, on_host)),
        tensors=tensors,
        inputs=inputs,
        outputs=outputs,
        device_memory_bytes=sum(
            region.number("size")
            for region in header.blocks("region")
            if region.text("place") == "accelerator" and region.text("constant") != "true"
        ),
        size_bytes=0,
        streams=header.number("n_streams", 1),
    )
    # The compiler numbers the versions of every tensor: the network's "src" is its "src.1".
    own = {name: re.sub(r"\.\d+$", "", name) for name in (*inputs, *outputs)}
    return _renamed(plan, {name: own.get(name, name) for name in tensors})


def _header(block: Block) -> Block:
    header = next(block.blocks("header"), None)
    if header is None or next(block.blocks("main"), None) is None:
        raise ValueError("it has no header or no statements")
    return header


def _tensors(block: Block, header: Block) -> tuple[dict[str, PlanTensor], set[str]]:
    """Returns the tensors by name, and which of them live in the host's memory."""
    host = {r.text("name") for r in header.blocks("region") if r.text("place").startswith("host")}
    tensors: dict[str, PlanTensor] = {}
    on_host: set[str] = set()
    for descriptors in block.blocks("descriptors"):
        for kind in ("tensor", "sub_tensor"):
            for fields in descriptors.blocks(kind):
                tensor = _tensor(fields)
                base = tensors.get(fields.text("base"), tensor)
                in_host = fields.text("region") in host or base.name in on_host
                constant = "const_payload_size" in dict(fields.entries) or not base.activation
                tensors[tensor.name] = replace(tensor, activation=not (constant or in_host))
                if in_host:
                    on_host.add(tensor.name)
    return tensors, on_host


def _tensor(fields: Block) -> PlanTensor:
    name = fields.text("name")
    shape = tuple(int(size) if size.isdecimal() else -1 for size in fields.texts("dims"))
    dtype = element_type(fields.text("type"))
    if not name or not dtype:
        raise ValueError("a tensor without a name or a type")
    return PlanTensor(
        name=name,
        shape=shape,
        dtype=dtype,
        bytes=tensor_bytes(shape, dtype),
        base=fields.text("base") or None,
    )


def _kernels(block: Block, tensors: Mapping[str, PlanTensor], on_host: set[str]) -> Iterator[PlanKernel]:
    for main in block.blocks("main"):
        for keyword, fields in main.entries:
            if not isinstance(fields, Block) or keyword in _NO_KERNELS:
                continue
            kernel = _kernel(keyword, fields)
            names = {*kernel.inputs, *kernel.outputs}
            _check_described(names, tensors, kernel.name)
            if names and names <= on_host:
                continue  # arithmetic of the host: a loop's counter, a condition
            yield kernel


def _kernel(keyword: str, fields: Block) -> PlanKernel:
    name = fields.text("name", keyword)
    return PlanKernel(
        name=name,
        kind=statement_kind(
            keyword, name, backbone=fields.text("backbone"), kernel_kind=fields.text("kernel_kind")
        ),
        layers=layer_names(fields.text("layers")),
        inputs=_unique((*fields.texts("input_args"), *fields.texts("input"))),
        outputs=_unique((*fields.texts("output_args"), *fields.texts("output"))),
        stream=fields.number("stream"),
    )


def _check_described(names: Iterable[str], tensors: Mapping[str, PlanTensor], user: str) -> None:
    for name in names:
        if name not in tensors:
            raise ValueError(f"{user} uses the tensor {name!r}, which is not described")


def _renamed(plan: Plan, names: Mapping[str, str]) -> Plan:
    """Returns the plan with other names for its tensors."""
    return replace(
        plan,
        kernels=tuple(
            replace(
                kernel,
                inputs=tuple(names[name] for name in kernel.inputs),
                outputs=tuple(names[name] for name in kernel.outputs),
            )
            for kernel in plan.kernels
        ),
        tensors={
            names[tensor.name]: replace(tensor, name=names[tensor.name], base=names.get(tensor.base or ""))
            for tensor in plan.tensors.values()
        },
        inputs=tuple(names[name] for name in plan.inputs),
        outputs=tuple(names[name] for name in plan.outputs),
    )


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
