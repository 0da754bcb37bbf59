"""Provision: an engine for a profile, making whatever is missing on the way from the checkpoint to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from rvm_trt.digest import installed_version
from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.build import ENGINES, build_engine, check_backend, describe_cpu, find_engine
from rvm_trt.engines.manifest import NAME, Manifest, read_manifest
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
    check_backend(backend)
    precision = choice(Precision, precision, subject="precision")
    graph = choice(Graph, graph, subject="graph")
    engines = Path(engines_dir)
    tell = progress or _silent
    current = None if force else _current_engine(profile, precision, graph, checkpoint, engines)
    if current is not None:
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
    for sha256, refiner in _known_checkpoints(profile, checkpoint):
        served = replace(profile, refiner=refiner) if refiner is Refiner.FAST else profile
        wanted = describe_cpu(
            served,
            graph,
            precision,
            checkpoint_sha256=sha256,
            checkpoint_refiner=refiner,
            onnx_sha256="",
            torch="",
        )
        current = _unchanged_engine(engines / wanted.name, wanted)
        if current is not None:
            return current
    return None


def _unchanged_engine(folder: Path, wanted: Manifest) -> Engine | None:
    if not (folder / NAME).is_file():
        return None
    try:
        there = read_manifest(folder)
    except EngineError:
        return None
    # The graph follows from the checkpoint, the profile, our own source and PyTorch, which are all in the key. Where
    # PyTorch is not installed nothing else can be made.
    torch = installed_version("torch") or there.made.get("torch")
    wanted = replace(wanted, onnx_sha256=there.onnx_sha256, made={**wanted.made, "torch": torch})
    return find_engine(folder, wanted)


def _known_checkpoints(
    profile: Profile, checkpoint: str | os.PathLike[str] | None
) -> list[tuple[str, Refiner]]:
    """Returns hash and refiner of the checkpoint that would be used, without loading it; of a file, both refiners."""
    if checkpoint is not None:
        path = Path(checkpoint)
        if not path.is_file():
            raise CheckpointError(
                str(path),
                got="no such file" if not path.exists() else "no regular file",
                expected="a checkpoint in the official format (.pth)",
                todo="Check the path, or leave --checkpoint out to fetch the official weights.",
            )
        sha256 = sha256_file(path)
        return [(sha256, refiner) for refiner in Refiner]
    from rvm_trt.export.weight_cache import find_cached

    record = find_cached(profile.variant)
    return [] if record is None else [(record.sha256, record.refiner)]


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
