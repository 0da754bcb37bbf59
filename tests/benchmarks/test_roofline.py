"""The roofline: totals that are known, a convolution by hand, and bounds that behave as bounds must."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from rvm_trt import Profile
from rvm_trt.benchmarks.gpu import Gpu
from rvm_trt.benchmarks.gpus import GPUS, gpu_named
from rvm_trt.benchmarks.roofline_bounds import (
    FrameModel,
    copy_ms,
    engine_bound,
    engine_ms,
    file_fps,
    frame_bound,
    kernel_ms,
)
from rvm_trt.benchmarks.roofline_graph import Network, read_network
from rvm_trt.benchmarks.roofline_kernels import frame_kernels
from rvm_trt.benchmarks.roofline_machine import Machine
from rvm_trt.benchmarks.roofline_models import export_graph, full_model, gpu_model
from rvm_trt.engines.launches import LAUNCH_US, TRUNK_KERNELS
from rvm_trt.export.macs import profile_macs
from rvm_trt.export.model import MattingNetwork
from rvm_trt.options import Precision
from rvm_trt.runtime.pixels import PixelFormat
from rvm_trt.runtime.verification.gpu_model import named_gpu, network_of

HD, UHD = Profile.named("hd"), Profile.named("4k")
LOW = 480 * 270
PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)
TOY = Machine(name="toy", tflops={Precision.FP32: 1.0}, vector_tflops=0.5, bandwidth_gbs=100.0, copy_gbs=10.0)
# One convolution with its activation, and a product of the halves of its result.
SMALL = """
<ir_version: 9, opset_import: ["" : 18]>
net (float[1, 8, 10, 20] x) => (float[1, 2, 10, 20] y) {
    [conv] c = Conv <pads = [1, 1, 1, 1]> (x, w, bias)
    [relu] r = Relu (c)
    [split] a, b = Split <axis = 1, num_outputs = 2> (r)
    [next] d = Conv (a, v)
    [mul] y = Mul (d, b)
}
"""


def add_weights(model: onnx.ModelProto) -> None:
    values = {"w": (4, 8, 3, 3), "bias": (4,), "v": (2, 2, 1, 1)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in values.items()
    )


def small_network() -> Network:
    model = onnx.parser.parse_model(SMALL)
    add_weights(model)
    return read_network(model)


@pytest.fixture(scope="module")
def core(exported: Callable[..., Path]) -> onnx.ModelProto:
    """The core graph of HD and 4K."""
    return onnx.load_model(exported(HD))


@pytest.fixture(scope="module")
def models(core: onnx.ModelProto) -> dict[str, FrameModel]:
    model = gpu_model(HD, core)
    return {"hd": model, "4k": replace(model, profile=UHD)}


def test_a_convolution_by_hand() -> None:
    conv, after = small_network().kernels
    assert (conv.name, conv.macs, conv.weights) == ("conv", 4 * 10 * 20 * 8 * 9, 4 * 8 * 9 + 4)
    assert (conv.read, conv.written) == (8 * 200, 4 * 200)
    assert (after.macs, after.weights) == (2 * 200 * 2, 4)
    # It reads each half of what was split once, and the product is made before the result is written.
    assert (after.read, after.written) == (4 * 200, 2 * 200)


def test_the_time_of_a_convolution_by_hand() -> None:
    model = FrameModel(profile=HD, network=small_network(), kernels=(), launch_us=0.0)
    first, second = (kernel for stage in engine_bound(model, TOY, Precision.FP32) for kernel in stage.kernels)
    assert first.compute_ms == pytest.approx(2 * 57600 / 1e12 * 1e3)
    assert first.memory_ms == pytest.approx(4 * (292 + 1600 + 800) / 100e9 * 1e3)
    assert (first.ms, first.limit) == (first.compute_ms, "compute")
    assert (second.ms, second.limit) == (second.memory_ms, "memory")


def test_nodes_are_counted_one_by_one() -> None:
    nodes = {node.name: (node.macs, node.read, node.written) for node in small_network().nodes}
    assert nodes["relu"] == (0, 800, 800)
    assert nodes["split"] == (0, 0, 0)
    assert nodes["mul"] == (0, 800, 400)


def test_the_parameters_are_the_published_ones(core: onnx.ModelProto) -> None:
    network = MattingNetwork("mobilenetv3")
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_748_633
    # Folding turns a normalisation's scale and shift into a bias; the training head is not exported; the ONNX has the
    # input's mean and deviation beside, and a few scalars.
    scales = sum(m.weight.numel() for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    training = sum(parameter.numel() for parameter in network.project_seg.parameters())
    expected = 3_748_633 - scales - training + 6
    assert 0 <= read_network(core).parameters - expected < 20


def test_the_published_total_is_reproduced_from_the_graph() -> None:
    profile = Profile(width=512, height=288, ratio=1)
    network = read_network(export_graph(profile))
    assert network.macs() == pytest.approx(4.5e9, rel=0.02)
    assert network.macs() == profile_macs(profile)


def test_stages_sum_to_the_totals(core: onnx.ModelProto, models: dict[str, FrameModel]) -> None:
    network = read_network(core)
    assert (
        sum(network.macs(stage) for stage in {kernel.stage for kernel in network.kernels}) == network.macs()
    )
    assert sum(node.macs for node in network.nodes) == network.macs() == profile_macs(HD)
    machine = gpu_named("4090").machine
    frame = frame_bound(models["hd"], machine, Precision.FP16)
    assert sum(stage.ms for stage in frame.engine) == pytest.approx(frame.engine_ms)
    parts = [kernel_ms(models["hd"], machine, Precision.FP16, name) for name in ("sample", "head", "compose")]
    parts += [copy_ms(models["hd"], machine, direction) for direction in ("upload", "download")]
    assert frame.engine_ms + sum(parts) == pytest.approx(frame.latency_ms)


def test_the_trunk_has_nearly_as_many_kernels_as_the_compiler_makes(models: dict[str, FrameModel]) -> None:
    assert 0.85 * TRUNK_KERNELS <= len(models["hd"].network.kernels) <= TRUNK_KERNELS
    assert "head" not in {kernel.stage for kernel in models["hd"].network.kernels}


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.key)
def test_every_bound_is_finite_and_in_order(gpu: Gpu, models: dict[str, FrameModel]) -> None:
    for model in models.values():
        times = []
        for precision in PRECISIONS:
            frame = frame_bound(model, gpu.machine, precision)
            assert 0 < frame.ideal_ms < frame.device_ms <= frame.latency_ms < math.inf
            assert 0 < frame.ideal_ms < frame.period_ms() <= frame.latency_ms
            times.append(frame.engine_ms)
        assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_better_machine_is_never_slower(precision: Precision, models: dict[str, FrameModel]) -> None:
    machine = gpu_named("t4").machine
    better = (
        replace(machine, bandwidth_gbs=2 * machine.bandwidth_gbs),
        replace(machine, tflops={p: 2 * value for p, value in machine.tflops.items()}),
        replace(machine, copy_gbs=2 * (machine.copy_gbs or 1)),
    )
    model = models["4k"]
    before = frame_bound(model, machine, precision)
    for after in (frame_bound(model, other, precision) for other in better):
        assert after.period_ms() <= before.period_ms()
        assert after.latency_ms < before.latency_ms


def test_launches_are_a_floor(models: dict[str, FrameModel]) -> None:
    model, machine = replace(models["hd"], launches=200, launch_us=50.0), gpu_named("5090").machine
    assert engine_ms(model, machine, Precision.FP16) == pytest.approx(200 * 0.05)
    assert {stage.limit for stage in engine_bound(model, machine, Precision.FP16)} == {"launch"}


def test_roofline_and_timeline_assume_the_same_launches(models: dict[str, FrameModel]) -> None:
    assert models["hd"].launches == network_of(HD).kernels == TRUNK_KERNELS
    assert models["hd"].launch_us == LAUNCH_US == named_gpu("RTX 4090").kernel_s * 1e6


def test_int8_is_for_the_named_convolutions_alone(models: dict[str, FrameModel]) -> None:
    machine = gpu_named("t4").machine
    some = replace(models["hd"], int8={"decoder.decode3.conv.1/Conv"})
    none, every = replace(models["hd"], int8=()), models["hd"]
    times = [engine_ms(model, machine, Precision.INT8) for model in (none, some, every)]
    assert times == sorted(times, reverse=True)
    assert times[0] == pytest.approx(engine_ms(models["hd"], machine, Precision.FP16))
    changed = [
        a.name
        for before, after in zip(
            *(engine_bound(m, machine, Precision.INT8) for m in (none, some)), strict=True
        )
        for a, b in zip(before.kernels, after.kernels, strict=True)
        if a != b
    ]
    assert changed == ["decoder.decode3.conv.1/Conv"]


def test_hd_and_4k_differ_by_what_is_at_frame_size(models: dict[str, FrameModel]) -> None:
    machine = gpu_named("3090").machine
    small, large = (frame_bound(models[name], machine, Precision.FP16) for name in ("hd", "4k"))
    assert small.engine_ms == large.engine_ms
    assert small.own["head"] == large.own["head"]
    assert large.upload_ms == pytest.approx(4 * small.upload_ms)
    assert large.own["compose"].ms > 3 * small.own["compose"].ms


def test_our_kernels_by_hand() -> None:
    works = {work.name: work for work in frame_kernels(UHD, element_bytes=2, outputs=("composite", "pha"))}
    assert works["sample"].read_bytes == 2 * 270 * 3840 * 3  # two of eight rows
    assert works["sample"].written_bytes == 3 * LOW * 2
    assert works["head"].read_bytes == (16 + 3) * LOW * 2
    assert works["head"].written_bytes == works["compose"].read_bytes - 3840 * 2160 * 3 == 8 * LOW * 4
    assert works["compose"].written_bytes == 3840 * 2160 * 4


def test_nv12_moves_half_of_rgb() -> None:
    model = FrameModel(profile=UHD, network=small_network())
    planar = replace(model, pixel_format=PixelFormat.NV12)
    for direction in ("upload", "download"):
        assert planar.copied_bytes[direction] * 2 == model.copied_bytes[direction]


def test_copies_take_a_stream_of_their_own(models: dict[str, FrameModel]) -> None:
    frame = frame_bound(models["4k"], gpu_named("4090").machine, Precision.FP16)
    assert frame.slowest() == "out"
    assert frame.period_ms() == frame.own["compose"].ms + frame.download_ms
    assert frame.period_ms(copies=False) < frame.period_ms()


def test_memory_that_is_shared_needs_no_copies(models: dict[str, FrameModel]) -> None:
    frame = frame_bound(models["4k"], gpu_named("orin").machine, Precision.FP16)
    assert frame.upload_ms == frame.download_ms == 0
    assert frame.latency_ms == frame.device_ms


def test_a_file_is_as_fast_as_the_slowest_engine(models: dict[str, FrameModel]) -> None:
    gpu = gpu_named("4090")
    frame = frame_bound(models["4k"], gpu.machine, Precision.FP16)
    assert file_fps(frame, gpu, "h264", width=3840, height=2160) == pytest.approx(903 / 4)  # the decoder
    assert file_fps(frame, gpu, "hevc", width=3840, height=2160) == pytest.approx(1055 / 4)  # the encoder
    assert file_fps(frame, gpu_named("a100"), "h264", width=3840, height=2160) is None


def test_a_graph_alone_is_bounded_with_all_its_stages(core: onnx.ModelProto) -> None:
    model, machine = full_model(HD, core), gpu_named("3090").machine
    frame = frame_bound(model, machine, Precision.FP16)
    assert frame.engine[-1].name == "head"
    assert frame.latency_ms == frame.device_ms == frame.engine_ms > frame.ideal_ms
    # The head as nodes moves its tensors through memory; as a kernel of ours it does not.
    assert frame.engine[-1].ms > 3 * frame_bound(gpu_model(HD, core), machine, Precision.FP16).own["head"].ms


def test_what_stands_before_the_encoder_is_sampling() -> None:
    names = {"conv": "backbone.features.0.1/Conv", "mul": "Mul"}
    model = onnx.parser.parse_model(SMALL)
    for node in model.graph.node:
        node.name = names.get(node.name, node.name)
    model.graph.node.insert(0, onnx.helper.make_node("Relu", ["x"], ["x2"], name="first"))
    model.graph.node[1].input[0] = "x2"
    add_weights(model)
    stages = {node.name: node.stage for node in read_network(model).nodes}
    assert (stages["first"], stages[names["conv"]], stages["Mul"]) == ("sample", "encoder", "head")
