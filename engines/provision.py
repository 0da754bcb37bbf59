"""Provision: an engine for a profile, making whatever is missing on the way from the checkpoint to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rvm_trt.digest import installed_version
from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.build import ENGINES, MAD_BUDGET, build_engine, find_engine, resolve_backend
from rvm_trt.engines.describe import describe
from rvm_trt.engines.manifest import NAME, Manifest, read_manifest
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import CheckpointError, DependencyError, EngineError
from rvm_trt.files import sha256_file
from rvm_trt.options import Backend, Graph, Precision, Refiner, choice
from rvm_trt.profile import Profile

if TYPE_CHECKING:
    from rvm_trt.engines.footage import CalibrationFootage
    from rvm_trt.engines.sensitivity import Progress

Tell = Callable[[str], None]


def provide_engine(
    profile: Profile,
    *,
    backend: str | Backend = Backend.CPU,
    precision: str | Precision = Precision.FP32,
    graph: str | Graph = Graph.CORE,
    checkpoint: str | os.PathLike[str] | None = None,
    engines_dir: str | os.PathLike[str] = ENGINES,
    options: TensorRtOptions | None = None,
    calibration: CalibrationFootage | None = None,
    mad_budget: float = MAD_BUDGET,
    footage: Iterable[npt.NDArray[np.uint8]] | None = None,
    force: bool = False,
    progress: Tell | None = None,
    search_progress: Progress | None = None,
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
        options, calibration, mad_budget, footage, force, search_progress: as `build_engine`.
        progress: called with one line of text before each slow step, and with notes on the weights.

    Raises:
        WeightsError, CheckpointError: no usable weights.
        ExportError, EngineError, OptionError, DependencyError: as `export_onnx` and `build_engine`.
    """
    wish = _Wish(
        profile=profile,
        backend=resolve_backend(backend),
        precision=choice(Precision, precision, subject="precision"),
        graph=choice(Graph, graph, subject="graph"),
        options=options or TensorRtOptions(),
        calibration=None if calibration is None else calibration.words,
        mad_budget=mad_budget,
    )
    engines = Path(engines_dir)
    tell = progress or _silent
    current = None if force else _current_engine(wish, checkpoint, engines, measured=calibration is not None)
    if current is not None:
        return current
    quiet = progress is None
    onnx_path = _export(profile, wish.graph, checkpoint, engines, tell, quiet=quiet)
    core = None
    if wish.precision is Precision.INT8 and (wish.graph is Graph.FULL or profile.batch != 1):
        core = _export(replace(profile, batch=1), Graph.CORE, checkpoint, engines, tell, quiet=quiet)
    tell(f"Building the engine: {onnx_path.stem}, {wish.precision.value}, {wish.backend.value}")
    return build_engine(
        onnx_path,
        backend=wish.backend,
        precision=wish.precision,
        engines=engines,
        options=wish.options,
        calibration=calibration,
        mad_budget=mad_budget,
        core=core,
        footage=footage,
        force=force,
        progress=progress,
        search_progress=search_progress,
    )


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What is asked for, but for the weights."""

    profile: Profile
    backend: Backend
    precision: Precision
    graph: Graph
    options: TensorRtOptions
    calibration: Mapping[str, Any] | None
    mad_budget: float

    def manifest(self, *, checkpoint_sha256: str, refiner: Refiner) -> Manifest:
        fast = replace(self.profile, refiner=refiner) if refiner is Refiner.FAST else self.profile
        return describe(
            fast,
            self.graph,
            self.precision,
            self.backend,
            checkpoint_sha256=checkpoint_sha256,
            checkpoint_refiner=refiner,
            onnx_sha256="",
            network_sha256="",
            torch="",
            options=self.options,
            calibration=self.calibration,
            mad_budget=self.mad_budget,
        )


def _current_engine(
    wish: _Wish, checkpoint: str | os.PathLike[str] | None, engines: Path, *, measured: bool
) -> Engine | None:
    """Returns the engine that stands on disk already if nothing it was made from has changed."""
    for sha256, refiner in _known_checkpoints(wish.profile, checkpoint):
        wanted = wish.manifest(checkpoint_sha256=sha256, refiner=refiner)
        current = _unchanged_engine(engines / wanted.name, wanted, measured=measured)
        if current is not None:
            return current
    return None


def _unchanged_engine(folder: Path, wanted: Manifest, *, measured: bool) -> Engine | None:
    if not (folder / NAME).is_file():
        return None
    try:
        there = read_manifest(folder)
    except EngineError:
        return None
    # The graph follows from the checkpoint, the profile, our own source and PyTorch, which are all in the key. Where
    # PyTorch is not installed nothing else can be made.
    torch = installed_version("torch") or there.made.get("torch")
    made = {**wanted.made, "torch": torch, "network_sha256": there.made.get("network_sha256")}
    wanted = replace(wanted, onnx_sha256=there.onnx_sha256, made=made)
    return find_engine(folder, wanted, measured=measured)


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
    # By checkpoint: two commands at once, each with weights of its own, do not write one file.
    path = engines.parent / "onnx" / f"{served.name}-{graph.value}-{loaded.sha256[:8]}.onnx"
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
