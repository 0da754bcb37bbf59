"""The quantised network: its results, and that TensorRT-RTX runs the named convolutions in int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from rvm_trt import Profile
from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS, tensors
from rvm_trt.engines.plan import PlanKernel, read_plan
from rvm_trt.engines.quantise import InputRange, quantise
from rvm_trt.engines.tensorrt import build_plan
from rvm_trt.engines.tensorrt_library import load_library
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.export.float16 import lower_to_half
from rvm_trt.export.fusion import fuse
from rvm_trt.options import Backend, Graph
from rvm_trt.resample import sample_frame

Array = npt.NDArray[np.float32]
Frames = Callable[..., list[npt.NDArray[np.uint8]]]
ODD = Profile(width=161, height=97, ratio=0.6)
PROJECTION = "backbone.features.14.block.3.1/Conv"
# One of each kind: joined inputs, gates of a GRU, thin, the encoder's, after an island's edge, after a gate.
CHOSEN = (
    "decoder.decode3.conv.1/Conv",
    "decoder.decode3.gru.ih.0/Conv",
    "decoder.decode0.conv.4/Conv",
    "backbone.features.4.block.0.1/Conv",
    "backbone.features.14.block.0.1/Conv",
    PROJECTION,
)


def fused(path: Path) -> onnx.ModelProto:
    model = onnx.load_model(path)
    fuse(model, keep=CHOSEN)
    return model


def sequence(
    model: onnx.ModelProto, frames: Sequence[Array], extra: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Every output and the extra tensors for each frame, with the states carried along."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in extra)
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    states = {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()[1:]}
    found = []
    for src in frames:
        given = dict(zip(names, session.run(None, {"src": src, **states}), strict=True))
        states = {i: given[o] for i, o in zip(STATE_INPUTS, STATE_OUTPUTS, strict=True)}
        found.append(given)
    return found


def test_a_network_with_measured_ranges_stays_close_to_fp32(
    exported: Callable[..., Path], moving_frames: Frames
) -> None:
    plain = fused(exported(ODD))
    frames = [sample_frame(frame, ODD.ratio)[None] for frame in moving_frames(ODD.width, ODD.height, 4)]
    inputs = {node.name: node.input[0] for node in plain.graph.node if node.name in CHOSEN}
    expected = sequence(plain, frames, sorted(set(inputs.values())))
    ranges = {
        name: InputRange(largest=float(max(np.abs(given[tensor]).max() for given in expected)))
        for name, tensor in inputs.items()
    }
    model = fused(exported(ODD))
    quantise(model, ranges)
    assert {node.op_type for node in model.graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    assert [value.name for value in model.graph.output] == [value.name for value in plain.graph.output]
    found = sequence(model, frames)
    for name in STATE_OUTPUTS:  # within −1..1, as int8 would show with a step of 1/127
        difference = np.abs(np.stack([a[name] - b[name] for a, b in zip(found, expected, strict=True)]))
        assert 1e-6 < difference.mean() < 0.5 / 127, name
        assert difference.max() < 4 / 127, name


def convolution(kernels: Sequence[PlanKernel], layer: str) -> PlanKernel:
    (found,) = (kernel for kernel in kernels if layer in kernel.layers and "convolution" in kernel.kind)
    return found


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_tensorrt_rtx_runs_the_named_convolutions_in_int8(
    half: bool, exported: Callable[..., Path], tmp_path: Path
) -> None:
    model = fused(exported(ODD))
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    inputs = {node.name: node.input[1] for node in model.graph.node if node.name in CHOSEN}
    weights = {shapes[inputs[name]] for name in CHOSEN}
    ones = (1.0,) * shapes[inputs[CHOSEN[0]]][1]
    ranges = {name: InputRange(largest=4.0) for name in CHOSEN}
    quantise(model, {**ranges, CHOSEN[0]: InputRange(largest=4.0, scales=ones)})
    if half:
        lower_to_half(model)
    built = build_plan(
        model.SerializeToString(),
        library=load_library(Backend.TENSORRT_RTX),
        options=TensorRtOptions(targets=("sm_89",)),
        tensors=tensors(ODD, Graph.CORE, dtype="float16" if half else "float32"),
    )
    path = tmp_path / "int8.plan"
    path.write_bytes(built.plan)
    plan = read_plan(path)
    for name in CHOSEN:
        read = [plan.tensors[tensor] for tensor in convolution(plan.kernels, name).inputs]
        assert {tensor.dtype for tensor in read if tensor.activation} == {"int8"}, name
    for kernel in plan.kernels:
        constants = (plan.tensors[name] for name in kernel.inputs if not plan.tensors[name].activation)
        if any(tensor.dtype == "int8" and tensor.shape in weights for tensor in constants):
            assert "convolution" in kernel.kind, f"{kernel.name} dequantises weights"
    other = convolution(plan.kernels, "decoder.decode2.conv.1/Conv")
    assert "int8" not in {plan.tensors[tensor].dtype for tensor in other.inputs}
