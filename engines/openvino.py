"""Engines for the CPU: OpenVINO's intermediate representation, with the precision chosen in the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from rvm_trt.contract import HIDDEN, STATE_OUTPUTS
from rvm_trt.engines.alpha import AlphaDifference, AlphaRunner, Array, difference, pool
from rvm_trt.engines.bfloat16 import guard_quantisers, lower_to_bfloat16
from rvm_trt.engines.head import LAST_LAYER, cut_head, write_head
from rvm_trt.engines.lowering import lower
from rvm_trt.engines.openvino_library import fastest_precision, import_openvino
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
    *,
    held_out: Sequence[Sequence[Array]] = (),
    mad_budget: float = 0.0,
) -> Mapping[str, Any]:
    """Writes ``engine.xml`` and ``engine.bin`` into a folder and returns the accuracy measured on the footage.

    A core is cut behind the decoder, as for TensorRT: ``head.npz`` holds the weights of the rest, which the runtime
    computes in FP32. The accuracy is that of both together.

    Around its quantised convolutions an INT8 core computes in bfloat16, where this CPU has it and alpha stays within
    ``mad_budget`` on the footage held out. Else it computes in FP32, as its recipe was measured. It carries the recipe;
    without footage its accuracy is that on the held-out part.

    Raises:
        EngineError: OpenVINO refuses the graph.
    """
    openvino = import_openvino()
    try:
        core = openvino.Core()
        source = _bare(info)
        reference = core.read_model(source.SerializeToString())
        accuracy: Mapping[str, Any] = {}
        if recipe is None:
            model = reference.clone()
            _fold(model)
        else:
            # Not folded: that would turn the int8 weights back into floating point before they are saved.
            quantise(source, recipe.ranges)
            model, accuracy = _around_int8(
                reference,
                lambda: core.read_model(source.SerializeToString()),
                info,
                recipe,
                held_out,
                mad_budget,
            )
        if precision is Precision.BF16:
            lower_to_bfloat16(model)
            _fold(model)
        if footage is not None:
            accuracy = _measure(reference, model, info, footage)
        if info.graph is Graph.CORE:
            model = _trunk(openvino, model, half=precision is not Precision.FP32)
            write_head(folder, cut_head(lower(_bare(info), Precision.FP32)))
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
    return accuracy


def _around_int8(
    reference: Any,
    read: Callable[[], Any],
    info: GraphInfo,
    recipe: Recipe,
    held_out: Sequence[Sequence[Array]],
    mad_budget: float,
) -> tuple[Any, Mapping[str, Any]]:
    """Returns a quantised model with bfloat16 around where the budget allows it, else FP32, and its accuracy."""
    words = "the core in fp32 on held-out footage"
    measurable = held_out and info.graph is Graph.CORE and info.profile.batch == 1
    if measurable and fastest_precision() is Precision.BF16:
        model = read()
        lower_to_bfloat16(model)
        measured = _difference(reference, model, info, held_out)
        if measured.finite and measured.mad <= mad_budget:
            return model, {"reference": words, "around": "bf16", **measured.to_json()}
    model = read()
    guard_quantisers(model)
    return model, {"reference": words, "around": "fp32", **recipe.held_out}


def _difference(
    reference: Any, model: Any, info: GraphInfo, sequences: Sequence[Sequence[Array]]
) -> AlphaDifference:
    runners = [AlphaRunner(each, info.profile, info.graph) for each in (reference, model)]
    parts = []
    for sequence in sequences:
        for runner in runners:
            runner.reset()
        parts.append(difference(*(map(runner, sequence) for runner in runners)))
    return pool(parts)


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


def _trunk(openvino: Any, model: Any, *, half: bool) -> Any:
    """Returns a core up to its hidden features ``hid`` (N, 16, h, w), which are bfloat16 where ``half``."""
    (last,) = (node for node in model.get_ordered_ops() if node.get_friendly_name() == LAST_LAYER)
    features = last.output(0)
    wanted = openvino.Type.bf16 if half else openvino.Type.f32
    if features.get_element_type() != wanted:
        features = openvino.opset13.convert(features, wanted).output(0)
    hidden = openvino.opset13.result(features)
    hidden.output(0).get_tensor().set_names({HIDDEN})
    states = [model.output(name).get_node() for name in STATE_OUTPUTS]
    return openvino.Model([hidden, *states], model.get_parameters(), model.get_friendly_name())


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
