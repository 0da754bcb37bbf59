"""Engines for the CPU: OpenVINO's intermediate representation, with the precision chosen in the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from rvm_trt.engines.alpha import AlphaRunner, difference
from rvm_trt.engines.bfloat16 import guard_quantisers, lower_to_bfloat16
from rvm_trt.engines.openvino_library import import_openvino
from rvm_trt.engines.quantise import quantise
from rvm_trt.engines.recipe import Recipe
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.export.graph_info import GraphInfo
from rvm_trt.frame_check import require_size
from rvm_trt.options import Graph, Precision
from rvm_trt.resample import sample_frame


def write_openvino(
    info: GraphInfo,
    precision: Precision,
    folder: Path,
    footage: Iterable[npt.NDArray[np.uint8]] | None,
    recipe: Recipe | None = None,
) -> Mapping[str, Any]:
    """Writes ``engine.xml`` and ``engine.bin`` into a folder and returns the accuracy measured on the footage.

    INT8 engines compute in FP32 around the quantised convolutions, as their recipe was measured: bfloat16 in the
    encoder can cost ten times the whole budget (benchmarks/LOG.md). They carry the recipe; without footage their
    accuracy is the recipe's on its held-out footage.

    Raises:
        EngineError: OpenVINO refuses the graph.
    """
    openvino = import_openvino()
    try:
        core = openvino.Core()
        source = _bare(info)
        reference = core.read_model(source.SerializeToString())
        if recipe is None:
            model = reference.clone()
            _fold(model)
        else:
            # Not folded: that would turn the int8 weights back into floating point before they are saved.
            quantise(source, recipe.ranges)
            model = core.read_model(source.SerializeToString())
            guard_quantisers(model)
        if precision is Precision.BF16:
            lower_to_bfloat16(model)
            _fold(model)
        _name(model, info)
    except RuntimeError as error:
        raise EngineError(
            str(info.path),
            got=f"OpenVINO's refusal: {str(error).splitlines()[-1]}",
            expected="a graph that OpenVINO reads",
            todo="Export the graph again with this version of rvm-trt.",
        ) from None
    _save(openvino, model, folder / "engine.xml")
    if recipe is not None:
        recipe.write(folder / "recipe.json")
    if footage is not None:
        return _measure(reference, model, info, footage)
    return {} if recipe is None else {"reference": "the core in fp32 on held-out footage", **recipe.held_out}


def _save(openvino: Any, model: Any, path: Path) -> None:
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise EngineError(
            path.name,
            got=f"OpenVINO's refusal: {str(error).splitlines()[-1]}",
            expected="a folder with room to write the engine",
            todo="Make room, or choose another folder for the engines.",
        ) from None


def _bare(info: GraphInfo) -> onnx.ModelProto:
    # Without its description, which the manifest has: profiles that share a network share the engine's bytes.
    model = onnx.load_model(info.path)
    del model.metadata_props[:]
    return model


def _name(model: Any, info: GraphInfo) -> None:
    # The library numbers its own nodes by a counter of the process: renamed, one graph always gives one file.
    graph = onnx.load_model(info.path).graph
    ours = {node.name for node in graph.node} | {value.name for value in (*graph.input, *graph.initializer)}
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() not in ours:
            node.set_friendly_name(f"{node.get_type_name()}.{index}")


def _fold(model: Any) -> None:
    # The reader leaves shape arithmetic around every bias.
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


def _measure(
    original: Any, built: Any, info: GraphInfo, footage: Iterable[npt.NDArray[np.uint8]]
) -> Mapping[str, Any]:
    """Returns the difference of alpha between the built graph and the original, states carried, over the footage."""
    reference, candidate = (AlphaRunner(model, info.profile, info.graph) for model in (original, built))
    ratio = info.profile.ratio if info.graph is Graph.CORE else 1.0
    inputs = [sample_frame(_checked(frame, info, index), ratio)[None] for index, frame in enumerate(footage)]
    if not inputs:
        raise OptionError("footage", got="no frame", expected="at least one", todo="Give a clip with frames.")
    error = difference(map(reference, inputs), map(candidate, inputs))
    if not error.finite:
        raise EngineError(
            str(info.path),
            got="alpha that is not a number on the footage",
            expected="finite values",
            todo="Build in fp32, and report the clip.",
        )
    return {"reference": "the same graph in fp32", **error.to_json()}


def _checked(frame: npt.NDArray[np.uint8], info: GraphInfo, index: int) -> npt.NDArray[np.uint8]:
    require_size(frame, info.profile, subject=f"footage, frame {index}")
    return frame
