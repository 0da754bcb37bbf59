"""The operations of an engine or a graph, whatever described them: where precision changes, and what moves most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rvm_trt.engines.plan import PlanKernel, PlanTensor


@dataclass(frozen=True, kw_only=True)
class Operations:
    """What runs, in the words of a plan.

    Attributes:
        kernels: in order.
        tensors: by name, all that the kernels name.
        inputs, outputs: names of the network's own tensors.
    """

    kernels: tuple[PlanKernel, ...]
    tensors: Mapping[str, PlanTensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PrecisionChange:
    """A kernel whose activations come in other element types than they leave.

    Attributes:
        kernel: its name.
        layers: the layers that it stands for.
        from_dtype, to_dtype: element types; several are joined by ``+``.
    """

    kernel: str
    layers: tuple[str, ...]
    from_dtype: str
    to_dtype: str


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What is moved for one tensor in a run; parts of a tensor count towards the whole.

    Attributes:
        tensor: the tensor.
        written_bytes: by all kernels that write it.
        read_bytes: by all that read it, each reading it once.
        readers: how many kernels read it.
    """

    tensor: PlanTensor
    written_bytes: int
    read_bytes: int
    readers: int

    @property
    def moved_bytes(self) -> int:
        """Written and read."""
        return self.written_bytes + self.read_bytes


def precision_changes(operations: Operations) -> tuple[PrecisionChange, ...]:
    """Returns the kernels whose activations change their element type, in order. Weights do not count."""
    found = []
    for kernel in operations.kernels:
        sources, targets = (
            {operations.tensors[name].dtype for name in names if operations.tensors[name].activation}
            for names in (kernel.inputs, kernel.outputs)
        )
        if sources and targets and sources != targets:
            found.append(
                PrecisionChange(
                    kernel=kernel.name,
                    layers=kernel.layers,
                    from_dtype="+".join(sorted(sources)),
                    to_dtype="+".join(sorted(targets)),
                )
            )
    return tuple(found)


def largest_traffic(operations: Operations, *, count: int = 10) -> tuple[Traffic, ...]:
    """Returns the activations for which most bytes are moved, largest first. Tensors of unknown size are left out."""
    written, read, readers = Counter[str](), Counter[str](), Counter[str]()
    for kernel in operations.kernels:
        for names, moved in ((kernel.outputs, written), (kernel.inputs, read)):
            for tensor in (operations.tensors[name] for name in names):
                if tensor.activation and tensor.bytes is not None:
                    moved[tensor.base or tensor.name] += tensor.bytes
        tensors = (operations.tensors[name] for name in kernel.inputs)
        readers.update({tensor.base or tensor.name for tensor in tensors})
    moved = written + read
    names_by_size = sorted(moved, key=lambda name: (-moved[name], name))
    return tuple(
        Traffic(
            tensor=operations.tensors[name],
            written_bytes=written[name],
            read_bytes=read[name],
            readers=readers[name],
        )
        for name in names_by_size[:count]
    )
