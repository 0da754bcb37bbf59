"""Engines for the CPU: OpenVINO's intermediate representation, with the precision chosen in the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.engines.bfloat16 import lower_to_bfloat16
from rvm_trt.engines.openvino_library import HINTS, import_openvino
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.export.graph_info import GraphInfo
from rvm_trt.frame_check import require_size
from rvm_trt.options import Graph, Precision
from rvm_trt.resample import sample_frame


def write_openvino(
    info: GraphInfo, precision: Precision, folder: Path, footage: Iterable[npt.NDArray[np.uint8]] | None
) -> Mapping[str, Any]:
    """Writes ``engine.xml`` and ``engine.bin`` into a folder and returns the accuracy measured on the footage.

    Raises:
        EngineError: OpenVINO refuses the graph.
    """
    openvino = import_openvino()
    try:
        model = openvino.Core().read_model(info.path)
        reference = model.clone()
        _fold(model)
        if precision is Precision.BF16:
            lower_to_bfloat16(model)
            _fold(model)
        _name(model, info)
        openvino.save_model(model, folder / "engine.xml", compress_to_fp16=False)
    except RuntimeError as error:
        raise EngineError(
            str(info.path),
            got=f"OpenVINO's refusal: {str(error).splitlines()[-1]}",
            expected="a graph that OpenVINO reads",
            todo="Export the graph again with this version of rvm-trt.",
        ) from None
    return {} if footage is None else _measure(reference, model, info, footage)


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
    reference, candidate = (_Alpha(model, info) for model in (original, built))
    means, worst = [], 0.0
    for index, frame in enumerate(footage):
        require_size(frame, info.profile, subject=f"footage, frame {index}")
        difference = np.abs(reference(frame) - candidate(frame))
        means.append(float(difference.mean()))
        worst = max(worst, float(difference.max()))
    if not np.isfinite(means).all():
        raise EngineError(
            str(info.path),
            got="alpha that is not a number on the footage",
            expected="finite values",
            todo="Build in fp32, and report the clip.",
        )
    if not means:
        raise OptionError("footage", got="no frame", expected="at least one", todo="Give a clip with frames.")
    return {
        "reference": "the same graph in fp32",
        "frames": len(means),
        "pha_mad": round(sum(means) / len(means), 7),
        "pha_max": round(worst, 7),
    }


class _Alpha:
    """Runs a graph frame by frame and gives alpha, at low resolution for the core."""

    def __init__(self, model: Any, info: GraphInfo) -> None:
        compiled = import_openvino().Core().compile_model(model, "CPU", HINTS)
        self._request = compiled.create_infer_request()
        self._states = [np.zeros(shape, np.float32) for shape in info.profile.state_shapes]
        self._info = info

    def __call__(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        core = self._info.graph is Graph.CORE
        src = sample_frame(frame, self._info.profile.ratio if core else 1.0)[None]
        self._request.infer({"src": src, **dict(zip(STATE_INPUTS, self._states, strict=True))})
        self._states = [self._value(name) for name in STATE_OUTPUTS]
        if not core:
            return self._value("pha")
        alpha: npt.NDArray[np.float32] = self._value("A")[:, 3] * src.mean(axis=1) + self._value("b")[:, 3]
        return np.clip(alpha, 0, 1)

    def _value(self, name: str) -> npt.NDArray[np.float32]:
        value: npt.NDArray[np.float32] = self._request.get_tensor(name).data.copy()
        return value
