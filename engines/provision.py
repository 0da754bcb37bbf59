"""Provision: an engine for a profile, making whatever is missing on the way from the checkpoint to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.build import ENGINES, build_engine, describe_cpu, find_engine
from rvm_trt.engines.manifest import NAME, read_manifest
from rvm_trt.errors import CheckpointError, DependencyError, EngineError
from rvm_trt.files import sha256_file
from rvm_trt.options import Backend, Graph, Precision, Refiner, choice
from rvm_trt.profile import Profile

Tell = Callable[[str], None]


def provide_engine(
    profile: Profile,
    *,
    backend: str | Backend = Backend.CPU,
    precision: str | Precision = Precision.FP32,
    graph: str | Graph = Graph.CORE,
    checkpoint: str | os.PathLike[str] | None = None,
    engines_dir: str | os.PathLike[str] = ENGINES,
    footage: Iterable[npt.NDArray[np.uint8]] | None = None,
    force: bool = False,
    progress: Tell | None = None,
) -> Engine:
    """Returns an engine for a profile; weights, graph and engine are made where they are missing.

    Where everything is current this loads neither PyTorch nor ONNX. The graph is kept in ``onnx`` beside the
    folder of engines.

    Args:
        profile: what to build for. With weights that have no deep guided filter the engine's profile names the
            fast one.
        backend, precision, graph: as `build_engine`.
        checkpoint: a checkpoint file; None finds or fetches one (see `rvm_trt.export.weights.find_weights`).
        engines_dir: folder of the engines' folders.
        footage, force: as `build_engine`.
        progress: called with one line of text before each slow step, and with notes on the weights.

    Raises:
        WeightsError, CheckpointError: no usable weights.
        ExportError, EngineError, OptionError, DependencyError: as `export_onnx` and `build_engine`.
    """
    precision = choice(Precision, precision, subject="precision")
    graph = choice(Graph, graph, subject="graph")
    engines = Path(engines_dir)
    tell = progress or _silent
    current = None if force else _current_engine(profile, precision, graph, checkpoint, engines)
    if current is not None and choice(Backend, backend, subject="backend") in (Backend.AUTO, Backend.CPU):
        return current
    onnx_path = _export(profile, graph, checkpoint, engines, tell, quiet=progress is None)
    tell(f"Building the engine: {onnx_path.stem}, {precision.value}")
    return build_engine(
        onnx_path, backend=backend, precision=precision, engines=engines, footage=footage, force=force
    )


def _current_engine(
    profile: Profile,
    precision: Precision,
    graph: Graph,
    checkpoint: str | os.PathLike[str] | None,
    engines: Path,
) -> Engine | None:
    """Returns the engine that stands on disk already if nothing it was made from has changed."""
    known = _known_checkpoint(profile, checkpoint)
    if known is None:
        return None
    sha256, refiner = known
    served = replace(profile, refiner=refiner) if refiner is Refiner.FAST else profile
    wanted = describe_cpu(served, graph, precision, checkpoint_sha256=sha256, onnx_sha256="")
    folder = engines / wanted.name
    if not (folder / NAME).is_file():
        return None
    try:
        # The graph follows from the checkpoint, the profile and our own source, which are all in the key.
        wanted = replace(wanted, onnx_sha256=read_manifest(folder).onnx_sha256)
    except EngineError:
        return None
    return find_engine(folder, wanted)


def _known_checkpoint(
    profile: Profile, checkpoint: str | os.PathLike[str] | None
) -> tuple[str, Refiner] | None:
    """Returns the hash of the checkpoint that would be used, and its refiner, without loading it."""
    if checkpoint is not None:
        path = Path(checkpoint)
        if not path.is_file():
            raise CheckpointError(
                str(path),
                got="no such file" if not path.exists() else "no regular file",
                expected="a checkpoint in the official format (.pth)",
                todo="Check the path, or leave --checkpoint out to fetch the official weights.",
            )
        return sha256_file(path), profile.refiner
    from rvm_trt.export.weight_cache import find_cached

    record = find_cached(profile.variant)
    return None if record is None else (record.sha256, record.refiner)


def _export(
    profile: Profile,
    graph: Graph,
    checkpoint: str | os.PathLike[str] | None,
    engines: Path,
    tell: Tell,
    *,
    quiet: bool,
) -> Path:
    weights_module, onnx_module, checkpoint_module = _export_stage()
    from rvm_trt.export.download import silent, terminal_progress

    if quiet:
        weights = weights_module.find_weights(variant=profile.variant, checkpoint=checkpoint, progress=silent)
    else:
        with terminal_progress() as show:
            weights = weights_module.find_weights(
                variant=profile.variant, checkpoint=checkpoint, progress=show
            )
    if weights.note:
        tell(f"note: {weights.note}")
    loaded = checkpoint_module.load_checkpoint(weights.path)
    served = onnx_module.resolve_profile(profile, loaded)
    path = engines.parent / "onnx" / f"{served.name}-{graph.value}.onnx"
    tell(f"Exporting the network: {served.name}, {graph.value} graph")
    exported: Path = onnx_module.export_onnx(loaded, served, path, graph=graph)
    return exported


def _export_stage() -> tuple[ModuleType, ModuleType, ModuleType]:
    try:
        from rvm_trt.export import checkpoint, onnx_graph, weights
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rvm_trt"):
            raise
        raise DependencyError(error.name, extra="export", stage="exporting the network") from None
    return weights, onnx_graph, checkpoint


def _silent(_text: str) -> None:
    """Says nothing."""
