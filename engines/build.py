"""Building: an exported graph becomes an engine on disk, or the one that is already there is returned."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

import rvm_trt
from rvm_trt.contract import tensors
from rvm_trt.digest import source_digest
from rvm_trt.engines.artifact import Engine, write_engine
from rvm_trt.engines.manifest import NAME, Manifest
from rvm_trt.engines.openvino_library import check_precision, import_openvino
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.options import Backend, Graph, Precision, Refiner, choice
from rvm_trt.profile import Profile

ENGINES = Path("build/engines")


def build_engine(
    onnx: str | os.PathLike[str],
    *,
    backend: str | Backend = Backend.AUTO,
    precision: str | Precision = Precision.FP32,
    engines: str | os.PathLike[str] = ENGINES,
    footage: Iterable[npt.NDArray[np.uint8]] | None = None,
    force: bool = False,
) -> Engine:
    """Builds an engine from an exported graph and returns it.

    Where an engine with the same inputs stands in ``engines`` already and its files are unharmed, that one is
    returned and nothing is built.

    Args:
        onnx: a graph written by `export_onnx`.
        backend: ``cpu`` (OpenVINO), or ``auto``, which is ``cpu`` in this version.
        precision: ``fp32`` or ``bf16`` (computed in bfloat16; inputs and outputs stay float32).
        engines: folder that holds the engines' folders.
        footage: (H, W, 3) uint8 RGB frames of the profile's size on which the built precision is compared with
            FP32; the result goes into the manifest. Read only if something is built.
        force: build even where an equal engine exists.

    Raises:
        ExportError: the ONNX file is not one of ours.
        OptionError: the backend or precision is not offered.
        EngineError: the builder refused the graph.
        DependencyError: the builder's library is not installed.
    """
    check_backend(backend)
    # Here, not above: whoever only looks for an engine needs neither onnx nor a builder.
    from rvm_trt.engines.openvino import write_openvino
    from rvm_trt.export.graph_info import read_graph_info

    info = read_graph_info(onnx)
    wanted = describe_cpu(
        info.profile,
        info.graph,
        choice(Precision, precision, subject="precision"),
        checkpoint_sha256=info.checkpoint_sha256,
        checkpoint_refiner=info.checkpoint_refiner,
        onnx_sha256=info.sha256,
        torch=info.torch,
    )
    folder = Path(engines) / wanted.name
    if not force and (current := find_engine(folder, wanted)) is not None:
        return current
    return write_engine(
        folder, wanted, lambda target: write_openvino(info, wanted.precision, target, footage)
    )


def find_engine(folder: Path, wanted: Manifest) -> Engine | None:
    """Returns the engine in a folder if its inputs are the wanted ones and its files are unharmed, else None."""
    if not (folder / NAME).is_file():
        return None
    try:
        engine = Engine.load(folder)
    except EngineError:
        return None  # damaged or from another version: it is built again
    return None if engine.mismatches(wanted) else engine


def check_backend(backend: str | Backend) -> None:
    """Raises `OptionError` unless this version builds for the backend."""
    chosen = choice(Backend, backend, subject="backend")
    if chosen not in (Backend.AUTO, Backend.CPU):
        raise OptionError(
            "backend",
            got=repr(chosen.value),
            expected="'cpu' or 'auto'",
            todo="This version builds for the CPU only; the ONNX file itself can be given to TensorRT.",
        )


def describe_cpu(
    profile: Profile,
    graph: Graph,
    precision: Precision,
    *,
    checkpoint_sha256: str,
    checkpoint_refiner: Refiner,
    onnx_sha256: str,
    torch: str,
) -> Manifest:
    """Returns the manifest that a CPU engine of these inputs would have, without files and accuracy.

    Raises:
        OptionError: the CPU backend does not offer the precision.
        DependencyError: OpenVINO is not installed.
    """
    check_precision(precision)
    return Manifest(
        profile=profile,
        graph=graph,
        precision=precision,
        backend=Backend.CPU,
        backend_version=str(import_openvino().__version__),
        tensors=tensors(profile, graph),
        targets=("cpu",),
        checkpoint_sha256=checkpoint_sha256,
        onnx_sha256=onnx_sha256,
        made={
            "rvm_trt": rvm_trt.__version__,
            "source": source_digest("rvm_trt", "rvm_trt.export", "rvm_trt.engines"),
            "checkpoint_refiner": checkpoint_refiner.value,
            "torch": torch,
        },
    )
