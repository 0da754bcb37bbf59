"""Frames to model: graphs exported for a profile, and what runs around them.

Traffic and arithmetic follow from the architecture. Without a checkpoint the graph is exported from random numbers,
which have the shapes of trained weights and tell as much.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

import onnx
import torch

from rvm_trt.benchmarks.roofline_bounds import FrameModel
from rvm_trt.benchmarks.roofline_graph import Network, read_network
from rvm_trt.engines.head import cut_head
from rvm_trt.engines.launches import LAUNCH_US, TRUNK_KERNELS
from rvm_trt.export.checkpoint import Checkpoint
from rvm_trt.export.fusion import fuse
from rvm_trt.export.model import MattingNetwork
from rvm_trt.export.onnx_graph import export_onnx
from rvm_trt.options import Graph, Refiner, Variant
from rvm_trt.profile import Profile
from rvm_trt.runtime.pixels import PixelFormat


def random_checkpoint(variant: Variant = Variant.MOBILENETV3) -> Checkpoint:
    """Returns weights from a fixed seed, none equal to another, so that the export shares none of them."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        state = MattingNetwork(variant, Refiner.DEEP).state_dict()
    return Checkpoint(
        state_dict={
            key: torch.rand(value.shape, generator=generator) * 0.1 + 0.05
            if value.is_floating_point()
            else torch.zeros(value.shape, dtype=value.dtype)
            for key, value in state.items()
        },
        variant=variant,
        refiner=Refiner.DEEP,
        sha256="",
        path=Path("random"),
    )


def core_key(profile: Profile) -> tuple[object, ...]:
    """Returns what a core depends on of its profile: equal for those that share one."""
    return (profile.low_width, profile.low_height, profile.uses_refiner, profile.refiner, profile.variant)


def export_graph(
    profile: Profile, *, checkpoint: Checkpoint | None = None, graph: Graph = Graph.CORE
) -> onnx.ModelProto:
    """Returns a profile's FP32 graph as exported (about five seconds)."""
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(
            checkpoint or random_checkpoint(profile.variant),
            profile,
            Path(folder) / "graph.onnx",
            graph=graph,
        )
        return onnx.load_model(path)


def gpu_model(
    profile: Profile,
    core: onnx.ModelProto,
    *,
    launches: int | None = TRUNK_KERNELS,
    launch_us: float = LAUNCH_US,
    int8: Collection[str] | None = None,
    pixel_format: PixelFormat = PixelFormat.RGB8,
) -> FrameModel:
    """Returns what a GPU runs: the trunk that TensorRT gets, and our three kernels.

    Args:
        profile: of the frame.
        core: as exported.
        launches: kernels of the trunk.
        launch_us: least time of a kernel.
        int8: names of the convolutions in INT8, which are not joined with others; None means every dense one of the
            decoder.
        pixel_format: of frame and composite.
    """
    trunk = onnx.ModelProto()
    trunk.CopyFrom(core)
    fuse(trunk, keep=tuple(int8 or ()))
    cut_head(trunk)
    return FrameModel(
        profile=profile,
        network=read_network(trunk),
        launches=launches,
        launch_us=launch_us,
        int8=int8,
        pixel_format=pixel_format,
    )


def cpu_model(profile: Profile, core: Network) -> FrameModel:
    """Returns what a CPU runs: the whole core as exported, and our kernels around it. A call costs nothing."""
    return FrameModel(profile=profile, network=core, kernels=("sample", "compose"), launch_us=0.0)


def full_model(profile: Profile, full: onnx.ModelProto, *, launch_us: float = LAUNCH_US) -> FrameModel:
    """Returns the full graph alone, frames and mattes as tensors in device memory."""
    return FrameModel(profile=profile, network=read_network(full), kernels=(), launch_us=launch_us)
