"""Building: an exported graph becomes an engine on disk, or the one that is already there is returned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rvm_trt.engines.artifact import Engine, share_engine, write_engine
from rvm_trt.engines.describe import describe
from rvm_trt.engines.manifest import NAME, Manifest
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import EngineError, ExportError, OptionError
from rvm_trt.files import sha256_file
from rvm_trt.options import Backend, Graph, Precision, choice

if TYPE_CHECKING:
    from rvm_trt.engines.footage import CalibrationFootage
    from rvm_trt.engines.recipe import Recipe
    from rvm_trt.engines.sensitivity import Progress
    from rvm_trt.export.graph_info import GraphInfo

ENGINES = Path("build/engines")
MAD_BUDGET = 1.0e-3


def build_engine(
    onnx: str | os.PathLike[str],
    *,
    backend: str | Backend = Backend.AUTO,
    precision: str | Precision | None = None,
    engines: str | os.PathLike[str] = ENGINES,
    options: TensorRtOptions | None = None,
    calibration: CalibrationFootage | None = None,
    mad_budget: float = MAD_BUDGET,
    core: str | os.PathLike[str] | None = None,
    footage: Iterable[npt.NDArray[np.uint8]] | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
    search_progress: Progress | None = None,
) -> Engine:
    """Builds an engine from an exported graph and returns it.

    Where an engine with the same inputs stands in ``engines`` already and its files are unharmed, that one is
    returned and nothing is built. A core engine of another profile with the same network shares its files.

    Args:
        onnx: a graph written by `export_onnx`; one in FP16 gives FP16 engines for TensorRT and nothing else.
        backend: ``cpu`` (OpenVINO), ``tensorrt-rtx`` (TensorRT for RTX, built ahead of time, no GPU needed),
            ``tensorrt`` (needs the GPU), or ``auto``: what this version runs on this machine, which is ``cpu``.
        precision: the graph's own if None; ``fp32``; ``bf16`` (cpu; inputs and outputs stay float32); ``fp16``
            (TensorRT; inputs and outputs float16); ``int8`` (quantised where `calibration` shows that it serves; around
            it FP16 in TensorRT, on the CPU bfloat16 where that keeps within the budget, else FP32).
        engines: folder that holds the engines' folders. Recipes of INT8 searches are kept in ``recipes`` beside it.
        options: how to build with TensorRT.
        calibration: footage for INT8. For FP16 the accuracy is measured on its held-out part.
        mad_budget: for INT8, the largest mean absolute difference of alpha from FP32 on held-out footage.
        core: for INT8, the core graph of the same network with batch 1 that the search runs on; needed where
            ``onnx`` is another graph.
        footage: (H, W, 3) uint8 RGB frames of the profile's size on which a CPU engine is compared with FP32; the
            result goes into the manifest. Read only if something is built.
        force: build even where an equal engine exists.
        progress: called with one line of text before each slow step.
        search_progress: called during the INT8 search (see `rvm_trt.engines.sensitivity.find_recipe`).

    Raises:
        ExportError: the ONNX file is not one of ours.
        OptionError: the backend, precision or options are not offered, or INT8 lacks footage.
        EngineError: the builder refused the graph; the message gives its words.
        DependencyError: the builder's library is not installed.
    """
    backend = resolve_backend(backend)
    # Here, not above: whoever only looks for an engine needs neither onnx nor a builder.
    from rvm_trt.export.graph_info import read_graph_info

    info = read_graph_info(onnx)
    options = options or TensorRtOptions()
    chosen = info.precision if precision is None else choice(Precision, precision, subject="precision")
    _check_source(info, chosen, backend)
    wanted = describe(
        info.profile,
        info.graph,
        chosen,
        backend,
        checkpoint_sha256=info.checkpoint_sha256,
        checkpoint_refiner=info.checkpoint_refiner,
        onnx_sha256=info.sha256,
        network_sha256=info.network_sha256,
        torch=info.torch,
        options=options,
        calibration=None if calibration is None else calibration.words,
        mad_budget=mad_budget,
    )
    folder = Path(engines) / wanted.name
    measured = calibration is not None
    if not force and (current := find_engine(folder, wanted, measured=measured)) is not None:
        return current
    if not force and footage is None:
        shared = share_engine(folder, wanted, measured=measured)
        if shared is not None:
            return shared
    recipe = None
    if wanted.precision is Precision.INT8 and calibration is not None:  # `describe` refuses INT8 without it
        recipe = _recipe(
            info, core, calibration, mad_budget, Path(engines).parent / "recipes", search_progress
        )
    if backend is Backend.CPU:
        from rvm_trt.engines.openvino import write_openvino

        return _write(
            info,
            folder,
            wanted,
            lambda target: write_openvino(
                info,
                wanted.precision,
                target,
                footage,
                recipe,
                held_out=() if calibration is None else calibration.divide(info.profile).held_out,
                mad_budget=mad_budget,
            ),
        )
    from rvm_trt.engines.tensorrt_engine import write_tensorrt

    measures = calibration is not None and wanted.measurable and info.precision is Precision.FP32
    held_out = calibration.divide(info.profile).held_out if calibration is not None and measures else ()
    return _write(
        info,
        folder,
        wanted,
        lambda target: write_tensorrt(
            info, wanted, target, options=options, recipe=recipe, held_out=held_out, progress=progress
        ),
    )


def _write(
    info: GraphInfo, folder: Path, wanted: Manifest, write: Callable[[Path], Mapping[str, Any]]
) -> Engine:
    def write_checked(target: Path) -> Mapping[str, Any]:
        accuracy = write(target)
        # Another process may have exported to the same file since its hash went into the key.
        if not info.path.is_file() or sha256_file(info.path) != info.sha256:
            raise ExportError(
                str(info.path),
                got="a graph that was replaced while it was built",
                expected="one that stays as it is",
                todo="Build again.",
            )
        return accuracy

    return write_engine(folder, wanted, write_checked)


def _check_source(info: GraphInfo, precision: Precision, backend: Backend) -> None:
    if info.precision is not Precision.FP32 and (precision is not info.precision or backend is Backend.CPU):
        raise OptionError(
            str(info.path),
            got=f"a graph in {info.precision.value}",
            expected=f"one in fp32, for {precision.value} with the {backend.value} backend",
            todo="Export it with precision='fp32'.",
        )


def _recipe(
    info: GraphInfo,
    core: str | os.PathLike[str] | None,
    calibration: CalibrationFootage,
    mad_budget: float,
    folder: Path,
    progress: Progress | None,
) -> Recipe:
    from rvm_trt.engines.recipe_cache import recipe_for
    from rvm_trt.export.graph_info import read_graph_info

    searched = info if core is None else read_graph_info(core)
    if searched.graph is not Graph.CORE or searched.profile.batch != 1:
        raise OptionError(
            "core",
            got=f"the {searched.graph.value} graph with batch {searched.profile.batch}",
            expected="the core graph with batch 1, which the INT8 search runs on",
            todo="Export it as well and give it as core=.",
        )
    return recipe_for(searched, calibration, mad_budget=mad_budget, folder=folder, progress=progress)


def find_engine(folder: Path, wanted: Manifest, *, measured: bool = False) -> Engine | None:
    """Returns the engine in a folder if its inputs are the wanted ones and its files are unharmed, else None.

    With ``measured``, one whose accuracy can be measured and was not is none either.
    """
    if not (folder / NAME).is_file():
        return None
    try:
        engine = Engine.load(folder)
    except EngineError:
        return None  # damaged or from another version: it is built again
    if measured and wanted.measurable and not engine.manifest.accuracy:
        return None
    return None if engine.mismatches(wanted) else engine


def resolve_backend(backend: str | Backend) -> Backend:
    """Returns the backend that a word stands for: ``auto`` is what this version of rvm-trt runs on this machine.

    Raises:
        OptionError: there is no such backend.
    """
    chosen = choice(Backend, backend, subject="backend")
    return Backend.CPU if chosen is Backend.AUTO else chosen
