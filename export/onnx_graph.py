"""Export of the network to ONNX: static shapes, explicit states, the ratio baked in, clean operators."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

import rvm_trt
from rvm_trt.contract import tensors
from rvm_trt.digest import source_digest
from rvm_trt.errors import ExportError, OptionError
from rvm_trt.export.checkpoint import Checkpoint, load_checkpoint
from rvm_trt.export.cleanup import clean
from rvm_trt.export.float16 import lower_to_half
from rvm_trt.export.fusion import fuse
from rvm_trt.export.graph_info import seal_graph
from rvm_trt.export.model import MattingNetwork
from rvm_trt.files import atomic_file
from rvm_trt.options import Graph, Precision, Refiner, choice
from rvm_trt.profile import Profile

OPSET = 18


def export_onnx(
    checkpoint: str | os.PathLike[str] | Checkpoint,
    profile: Profile,
    path: str | os.PathLike[str],
    *,
    graph: str | Graph = Graph.CORE,
    precision: str | Precision = Precision.FP32,
) -> Path:
    """Writes one graph of the network as ONNX and returns its path.

    The tensors are those of `rvm_trt.contract.tensors`: float32 (float16 in ``fp16``), static, with full-size zero
    states to start from. A checkpoint without a deep guided filter gives a graph with the fast one (see
    `resolve_profile`).

    Args:
        checkpoint: a checkpoint file in the official format, or one that is already loaded.
        profile: frame size, ratio, refiner, variant and batch.
        path: the ``.onnx`` file to write; it appears whole or not at all.
        graph: ``core`` (low resolution, ``A`` and ``b``) or ``full`` (``fgr`` and ``pha``).
        precision: ``fp32``, from which every engine can be built, or ``fp16``: half inputs, outputs, weights and
            activations with FP32 islands, and fewer kernels, as TensorRT engines are built from it.

    Raises:
        CheckpointError: the checkpoint is unreadable or does not fit the profile's variant.
        OptionError: the graph or the precision is not offered.
        ExportError: the exported graph breaks a promise made here.
    """
    graph = choice(Graph, graph, subject="graph")
    precision = choice(Precision, precision, subject="precision")
    if precision not in (Precision.FP32, Precision.FP16):
        raise OptionError(
            "precision",
            got=repr(precision.value),
            expected="'fp32' or 'fp16' at export",
            todo="Export in fp32 and give the precision to build_engine.",
        )
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    profile = resolve_profile(profile, loaded)
    model = _trace(_wrap(load_network(loaded, profile), profile, graph), profile, graph)
    clean(model)
    _check(model, profile, graph)
    if precision is Precision.FP16:
        fuse(model)
        lower_to_half(model)
    _describe(model, profile, graph, precision, loaded)
    seal_graph(model)
    try:
        with atomic_file(path) as temporary:
            onnx.save_model(model, temporary)
    except OSError as error:
        raise ExportError(
            str(path),
            got=error.strerror or str(error),
            expected="a folder with room to write the graph",
            todo="Make room, or choose another folder.",
        ) from None
    return Path(path)


def resolve_profile(profile: Profile, checkpoint: Checkpoint) -> Profile:
    """Returns the profile that the checkpoint can serve: with the fast guided filter if it has no deep one.

    Raises:
        OptionError: the checkpoint holds another variant.
    """
    if checkpoint.variant is not profile.variant:
        raise OptionError(
            "variant",
            got=f"a {checkpoint.variant.value} checkpoint ({checkpoint.path.name})",
            expected=f"{profile.variant.value}, as the profile {profile.name!r} asks",
            todo="Give a checkpoint of that variant, or change the profile's variant.",
        )
    if checkpoint.refiner is Refiner.FAST:
        return replace(profile, refiner=Refiner.FAST)
    return profile


def load_network(checkpoint: Checkpoint, profile: Profile) -> MattingNetwork:
    """Returns the network of a profile with the checkpoint's weights, in evaluation mode on the CPU."""
    network = MattingNetwork(profile.variant, profile.refiner)
    expected = network.state_dict().keys()
    network.load_state_dict({key: value for key, value in checkpoint.state_dict.items() if key in expected})
    return network.eval().requires_grad_(False)


class _Core(nn.Module):
    def __init__(self, network: MattingNetwork, refined: bool) -> None:
        super().__init__()
        self.network = network
        self.refined = refined

    def forward(self, src: Tensor, r1: Tensor, r2: Tensor, r3: Tensor, r4: Tensor) -> tuple[Tensor, ...]:
        slope, intercept, states = self.network.coefficients(src, (r1, r2, r3, r4), refined=self.refined)
        return slope, intercept, *states


class _Full(nn.Module):
    def __init__(self, network: MattingNetwork, ratio: float) -> None:
        super().__init__()
        self.network = network
        self.ratio = ratio

    def forward(self, src: Tensor, r1: Tensor, r2: Tensor, r3: Tensor, r4: Tensor) -> tuple[Tensor, ...]:
        results: tuple[Tensor, ...] = self.network(src, r1, r2, r3, r4, self.ratio)
        return results


def _wrap(network: MattingNetwork, profile: Profile, graph: Graph) -> nn.Module:
    if graph is Graph.CORE:
        return _Core(network, profile.uses_refiner)
    return _Full(network, profile.ratio)


def _trace(module: nn.Module, profile: Profile, graph: Graph) -> onnx.ModelProto:
    specs = tensors(profile, graph)
    inputs = [spec for spec in specs if spec.direction == "input"]
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(torch.zeros(spec.shape) for spec in inputs),
            input_names=[spec.name for spec in inputs],
            output_names=[spec.name for spec in specs if spec.direction == "output"],
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise ExportError(
            "export", got="no graph from torch.onnx", expected="a graph", todo="Install torch 2.13.0."
        )
    model: onnx.ModelProto = program.model_proto
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter reports on stdout, and warns of packages that this project does not use.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _describe(
    model: onnx.ModelProto, profile: Profile, graph: Graph, precision: Precision, checkpoint: Checkpoint
) -> None:
    model.producer_name = "rvm-trt"
    model.producer_version = rvm_trt.__version__
    onnx.helper.set_model_props(
        model,
        {
            "rvm_trt.version": rvm_trt.__version__,
            "rvm_trt.graph": graph.value,
            "rvm_trt.precision": precision.value,
            "rvm_trt.profile": json.dumps(profile.to_json(), sort_keys=True),
            "rvm_trt.variant": profile.variant.value,
            "rvm_trt.refiner": profile.refiner.value if profile.uses_refiner else "none",
            "rvm_trt.checkpoint_sha256": checkpoint.sha256,
            "rvm_trt.checkpoint_refiner": checkpoint.refiner.value,
            "rvm_trt.torch": torch.__version__,
            "rvm_trt.source": source_digest("rvm_trt", "rvm_trt.export"),
        },
    )


def _check(model: onnx.ModelProto, profile: Profile, graph: Graph) -> None:
    onnx.checker.check_model(model, full_check=True)
    for direction, values in (("input", model.graph.input), ("output", model.graph.output)):
        got = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
        expected = {s.name: s.shape for s in tensors(profile, graph) if s.direction == direction}
        if got != expected:
            raise ExportError(
                f"{graph.value} graph, {direction}s",
                got=str(got),
                expected=str(expected),
                todo="This is a bug in the export: please report it with the profile.",
            )
