"""What an engine or a graph on disk says of itself, in one form for all of them, read without running it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rvm_trt.contract import TensorSpec
from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.graph_operations import read_onnx_nodes, read_openvino_xml
from rvm_trt.engines.layer_info import read_layer_info
from rvm_trt.engines.operations import (
    Operations,
    PrecisionChange,
    Traffic,
    largest_traffic,
    precision_changes,
)
from rvm_trt.engines.plan import PlanKernel, read_plan
from rvm_trt.errors import EngineError
from rvm_trt.options import Backend


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What an artifact says of itself.

    Attributes:
        path: the folder or file.
        form: what it is, in words.
        targets: what it runs on, such as ``sm_89`` or ``cpu``; none for a graph.
        tensors: inputs and outputs. Of an engine's folder, those of its manifest; a plan alone has the compiler's
            names for them, which differ from the network's now and then. A size only known at run time is -1.
        kernels: what one run launches, in order; of OpenVINO and ONNX, the operations.
        precision_changes: the kernels whose activations change their element type.
        traffic: the ten activations for which most bytes are moved.
        files: name → bytes.
        device_memory_bytes: what a run needs besides weights, inputs and outputs; None where nothing says so.
    """

    path: Path
    form: str
    targets: tuple[str, ...]
    tensors: tuple[TensorSpec, ...]
    kernels: tuple[PlanKernel, ...]
    precision_changes: tuple[PrecisionChange, ...]
    traffic: tuple[Traffic, ...]
    files: Mapping[str, int]
    device_memory_bytes: int | None = None

    @property
    def kinds(self) -> Counter[str]:
        """How many kernels there are of each kind."""
        return Counter(kernel.kind for kernel in self.kernels)

    def to_json(self) -> dict[str, Any]:
        """The inspection as plain JSON values."""
        return {
            "path": str(self.path),
            "form": self.form,
            "targets": list(self.targets),
            "tensors": [spec.to_json() for spec in self.tensors],
            "kinds": dict(self.kinds.most_common()),
            "kernels": [asdict(kernel) for kernel in self.kernels],
            "precision_changes": [asdict(change) for change in self.precision_changes],
            "traffic": [{**asdict(entry), "moved_bytes": entry.moved_bytes} for entry in self.traffic],
            "files": dict(self.files),
            "device_memory_bytes": self.device_memory_bytes,
        }


def inspect_artifact(path: str | os.PathLike[str]) -> Inspection:
    """Returns what an artifact says of itself.

    Args:
        path: the folder of an engine, an ``.onnx`` file, or a plan of TensorRT-RTX that ends in ``.plan``.

    Raises:
        EngineError: there is no such artifact, or it is damaged.
        DependencyError: an ONNX file is given and onnx is not installed.
    """
    path = Path(path)
    if path.is_dir():
        return _inspect_engine(Engine.load(path))
    read = {".onnx": _inspect_onnx, ".plan": _inspect_plan}.get(path.suffix)
    if read is None or not path.exists():
        raise EngineError(
            str(path),
            got=f"a file that ends in {path.suffix!r}" if path.exists() else "no such file or folder",
            expected="an engine's folder, a .plan file of TensorRT-RTX or an .onnx file",
            todo="Name one of these: rvm-trt build and rvm-trt export make them.",
        )
    return read(path)


def _inspect_engine(engine: Engine) -> Inspection:
    manifest = engine.manifest
    if manifest.backend is Backend.TENSORRT_RTX:
        found = _inspect_plan(engine.file("engine.plan"))
    elif manifest.backend is Backend.TENSORRT:
        path = engine.file("layers.json")
        found = _inspection(path, "TensorRT engine", read_layer_info(path))
    else:
        path = engine.file(".xml")
        found = _inspection(path, "OpenVINO engine", read_openvino_xml(path))
    return replace(
        found,
        path=engine.path,
        targets=manifest.targets,
        tensors=manifest.tensors,
        files={name: (engine.path / name).stat().st_size for name in manifest.files},
    )


def _inspect_plan(path: Path) -> Inspection:
    plan = read_plan(path)
    operations = Operations(
        kernels=plan.kernels, tensors=plan.tensors, inputs=plan.inputs, outputs=plan.outputs
    )
    return replace(
        _inspection(path, "TensorRT-RTX plan", operations),
        targets=plan.targets,
        device_memory_bytes=plan.device_memory_bytes,
    )


def _inspect_onnx(path: Path) -> Inspection:
    return _inspection(path, "ONNX graph", read_onnx_nodes(path))


def _inspection(path: Path, form: str, operations: Operations) -> Inspection:
    return Inspection(
        path=path,
        form=form,
        targets=(),
        tensors=tuple(
            TensorSpec(
                name=name,
                shape=operations.tensors[name].shape,
                dtype=operations.tensors[name].dtype,
                direction=direction,
            )
            for direction, names in (("input", operations.inputs), ("output", operations.outputs))
            for name in names
        ),
        kernels=operations.kernels,
        precision_changes=precision_changes(operations),
        traffic=largest_traffic(operations),
        files={path.name: path.stat().st_size},
    )
