"""Engines for TensorRT: the lowered network, its plans, and the accuracy of its arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.engines.alpha import AlphaDifference, difference, pool
from rvm_trt.engines.half_arithmetic import emulate_half
from rvm_trt.engines.head import cut_head, write_head
from rvm_trt.engines.lowering import lower
from rvm_trt.engines.manifest import Manifest
from rvm_trt.engines.recipe import Recipe
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.engines.tensorrt_process import build_in_process
from rvm_trt.errors import DependencyError, EngineError
from rvm_trt.export.graph_info import GraphInfo
from rvm_trt.options import Backend, Precision
from rvm_trt.profile import Profile

Array = npt.NDArray[np.float32]
NETWORK = "network.onnx"
RECIPE = "recipe.json"
_TURING = "sm_75"


def write_tensorrt(
    info: GraphInfo,
    manifest: Manifest,
    folder: Path,
    *,
    options: TensorRtOptions,
    recipe: Recipe | None = None,
    held_out: Sequence[Sequence[Array]] = (),
    progress: Callable[[str], None] | None = None,
) -> Mapping[str, Any]:
    """Writes the lowered network, its plans and, for INT8, the recipe into a folder, and returns the accuracy.

    A core is cut behind the decoder: the network and its plans end at the hidden features ``hid``, and ``head.npz``
    holds the weights of the rest (see `rvm_trt.engines.head`). The accuracy is that of both together.

    There is one plan, ``engine.plan``, and one for Turing of its own, ``engine-sm_75.plan``, where both are asked
    for: in a plan that serves Turing too, TensorRT for RTX runs no convolution in INT8 on any GPU.

    Args:
        info: the FP32 graph as exported.
        manifest: what is built.
        folder: an empty folder.
        options: how.
        recipe: what to quantise, for INT8.
        held_out: low-resolution sequences on which the core's arithmetic is compared with FP32; none measures nothing.
        progress: called with one line of text before each slow step.

    Raises:
        EngineError: TensorRT refuses the graph, or its arithmetic gives values that are no numbers.
    """
    tell = progress or _silent
    model = onnx.load_model(info.path)
    if info.precision is Precision.FP32:
        tell(f"Rewriting the graph: {manifest.precision.value}")
    lowered = lower(model, manifest.precision, None if recipe is None else recipe.ranges)
    network = _write_network(lowered, folder, trunk=manifest.trunk)
    for name, part in plans(options, manifest.backend).items():
        build_in_process(
            network,
            folder / name,
            backend=manifest.backend,
            options=part,
            tensors=manifest.tensors,
            progress=progress,
        )
    if recipe is not None:
        recipe.write(folder / RECIPE)
    if not held_out or not manifest.measurable or info.precision is not Precision.FP32:
        return {}
    tell("Measuring the accuracy of its arithmetic")
    measured = measure_arithmetic(model, lowered, info.profile, held_out)
    return {
        "reference": "the exported graph in fp32",
        "arithmetic": "emulated on the CPU",
        **measured.to_json(),
    }


def _write_network(lowered: onnx.ModelProto, folder: Path, *, trunk: bool) -> Path:
    network = folder / NETWORK
    if trunk:
        body = onnx.ModelProto()
        body.CopyFrom(lowered)
        write_head(folder, cut_head(body))
        lowered = body
    onnx.save_model(lowered, network)
    return network


def plans(options: TensorRtOptions, backend: Backend) -> dict[str, TensorRtOptions]:
    """Returns the plan files that serve the targets: file name → options."""
    others = tuple(target for target in options.targets if target != _TURING)
    if backend is Backend.TENSORRT or not others or len(others) == len(options.targets):
        return {"engine.plan": options}
    return {
        "engine.plan": replace(options, targets=others),
        f"engine-{_TURING}.plan": replace(options, targets=(_TURING,)),
    }


def measure_arithmetic(
    model: onnx.ModelProto, lowered: onnx.ModelProto, profile: Profile, sequences: Sequence[Sequence[Array]]
) -> AlphaDifference:
    """Returns how far a lowered core is from the exported one, in half (and INT8) arithmetic emulated on the CPU.

    Raises:
        EngineError: a value is no number.
        DependencyError: ONNX Runtime is not installed.
    """
    reference, candidate = _Core(model, profile), _Core(emulate_half(lowered), profile)
    parts = []
    for sequence in sequences:
        reference.reset()
        candidate.reset()
        parts.append(difference(map(reference, sequence), map(candidate, sequence)))
    total = pool(parts)
    if not total.finite:
        raise EngineError(
            "accuracy",
            got="alpha that is not a number on the footage",
            expected="finite values",
            todo="Build in fp32, and report the clip.",
        )
    return total


class _Core:
    """A core graph in ONNX Runtime with its states; gives alpha at low resolution."""

    def __init__(self, model: onnx.ModelProto, profile: Profile) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise DependencyError("onnxruntime", extra="export", stage="accuracy of an engine") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, ["CPUExecutionProvider"]
        )
        self._profile = profile
        self.reset()

    def reset(self) -> None:
        self._states = [np.zeros(shape, np.float32) for shape in self._profile.state_shapes]

    def __call__(self, src: Array) -> Array:
        feeds = {"src": src, **dict(zip(STATE_INPUTS, self._states, strict=True))}
        slope, intercept, *self._states = self._session.run(["A", "b", *STATE_OUTPUTS], feeds)
        alpha: Array = slope[:, 3] * src.mean(axis=1) + intercept[:, 3]
        return np.clip(alpha, 0, 1)


def _silent(_text: str) -> None:
    """Says nothing."""
