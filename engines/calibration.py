"""Calibration: the range of each convolution's input over real footage, with rolled-out states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from rvm_trt.engines.alpha import AlphaRunner
from rvm_trt.engines.openvino_library import import_openvino
from rvm_trt.engines.quantise import InputRange
from rvm_trt.export.graph_editor import GraphEditor
from rvm_trt.options import Graph
from rvm_trt.profile import Profile

Array = npt.NDArray[np.float32]
_THIN = 16
# The encoder stays in FP16: its projections lost the person on some footage, and each of its layers costs TensorRT-RTX
# kernels that quantise (149 against 113 for the HD core with 18 % more of its work in INT8; benchmarks/LOG.md).
_ALLOWED = "decoder."
# A channel that was nearly dead on the footage is not scaled up without limit: on other footage it may wake.
_FLOOR = 1 / 32


def quantisable(model: onnx.ModelProto) -> dict[str, str]:
    """Returns the convolutions that may be quantised: name → name of the input tensor.

    The decoder's dense convolutions with at least 16 channels in and out, the GRUs' among them: states and gates stay
    in floating point, what is quantised is what the convolutions read.
    """
    editor = GraphEditor(model)
    found = {}
    for node in editor.find("Conv"):
        weight = editor.constants.get(node.input[1])
        if weight is not None and node.name.startswith(_ALLOWED) and min(weight.shape[:2]) >= _THIN:
            found[node.name] = node.input[0]
    return found


def calibrate(
    model: onnx.ModelProto,
    profile: Profile,
    sequences: Iterable[Sequence[Array]],
    *,
    progress: Callable[[], None] | None = None,
) -> dict[str, InputRange]:
    """Returns the range of each quantisable convolution's input.

    The network runs in FP32 over each sequence from zero states, so that the decoder sees what its GRUs remember.
    Ranges are the largest values seen: clipping lost more than finer steps gained (benchmarks/LOG.md). Inputs join
    channels of very different ranges, and the kernel that joins them can scale them on the way: they are equalised by
    channel (Xiao et al., SmoothQuant, strength 1/2). The same footage always gives the same ranges.

    Args:
        model: an FP32 core graph as exported.
        profile: its profile, batch 1.
        sequences: consecutive frames each, (1, 3, h, w) float32 low-resolution inputs.
        progress: called after each frame.
    """
    inputs = quantisable(model)
    seen = _Seen()
    _watch(model, profile, sequences, sorted(set(inputs.values())), seen, progress)
    weights = GraphEditor(model)
    ranges = {}
    for name, tensor in inputs.items():
        node = weights.named(name)
        assert node is not None
        scales = _equalise(seen.largest[tensor], weights.constants[node.input[1]])
        ranges[name] = InputRange(
            largest=float((seen.largest[tensor] / scales).max()) or 1.0,
            scales=tuple(scales.tolist()),
            means=tuple((seen.sums[tensor] / seen.frames).tolist()),
        )
    return ranges


@dataclass
class _Seen:
    frames: int = 0
    largest: dict[str, Array] = field(default_factory=dict)
    sums: dict[str, Array] = field(default_factory=dict)

    def add(self, name: str, values: Array) -> None:
        largest, mean = np.abs(values).max(axis=(0, 2, 3)), values.mean(axis=(0, 2, 3))
        self.largest[name] = np.maximum(self.largest.get(name, 0.0), largest)
        self.sums[name] = self.sums.get(name, np.zeros_like(mean)) + mean


def _watch(
    model: onnx.ModelProto,
    profile: Profile,
    sequences: Iterable[Sequence[Array]],
    tensors: Sequence[str],
    seen: _Seen,
    progress: Callable[[], None] | None,
) -> None:
    network: Any = import_openvino().Core().read_model(model.SerializeToString())
    network.add_outputs(list(tensors))
    runner = AlphaRunner(network, profile, Graph.CORE)
    for sequence in sequences:
        runner.reset()
        for frame in sequence:
            runner(frame)
            seen.frames += 1
            for name in tensors:
                seen.add(name, runner.value(name))
            if progress is not None:
                progress()


def _equalise(channels: Array, weight: Array) -> Array:
    """Returns what to divide each input channel by, and its weights to multiply with: geometric mean 1."""
    seen = np.maximum(channels, channels.max() * _FLOOR)
    heavy = np.abs(weight).max(axis=(0, 2, 3))
    scales = np.sqrt(seen / np.maximum(heavy, heavy.max() * _FLOOR))
    return np.asarray(scales / np.exp(np.log(scales).mean()), np.float32)
