"""Parity: an exported graph in ONNX Runtime beside the network in PyTorch, over a sequence with carried states."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor

from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.errors import OptionError
from rvm_trt.export.checkpoint import Checkpoint, load_checkpoint
from rvm_trt.export.graph_info import read_graph_info
from rvm_trt.export.model import downsample
from rvm_trt.export.onnx_graph import load_network
from rvm_trt.export.refiner import apply_coefficients
from rvm_trt.frame_check import require_size
from rvm_trt.options import Graph
from rvm_trt.profile import Profile

COMPARED = ("pha", "fgr", *STATE_OUTPUTS)


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """Largest absolute differences between a graph and the network, per tensor and frame.

    Attributes:
        errors: tensor name → one largest absolute difference per frame. ``pha`` and ``fgr`` are in 0..1; for the
            core they are made from ``A`` and ``b`` at frame size.
    """

    errors: Mapping[str, tuple[float, ...]] = field(repr=False)

    @property
    def frames(self) -> int:
        """Number of frames compared."""
        return len(self.errors["pha"])

    def worst(self, name: str) -> tuple[float, int]:
        """Returns the largest error of a tensor and the frame where it stands; one that is no number is worst."""
        values = self.errors[name]
        index = max(range(len(values)), key=lambda i: math.inf if math.isnan(values[i]) else values[i])
        return values[index], index

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        worst = {name: dict(zip(("error", "frame"), self.worst(name), strict=True)) for name in self.errors}
        return {"frames": self.frames, "worst": worst}

    def table(self) -> str:
        """The worst error of each tensor, one line each."""
        lines = [f"{'tensor':<8}{'worst error':>14}{'frame':>8}"]
        for name in self.errors:
            error, frame = self.worst(name)
            lines.append(f"{name:<8}{error:>14.3g}{frame:>8}")
        return "\n".join(lines)


def compare(
    checkpoint: str | os.PathLike[str] | Checkpoint,
    onnx_path: str | os.PathLike[str],
    frames: Iterable[npt.NDArray[np.uint8]],
    *,
    threads: int | None = None,
) -> ParityReport:
    """Runs the network in PyTorch and the graph in ONNX Runtime on the same frames, each carrying its own states.

    Args:
        checkpoint: the checkpoint that the graph was exported from.
        onnx_path: a graph written by `export_onnx`, batch 1.
        frames: (H, W, 3) uint8 RGB, of the profile's size.
        threads: threads of ONNX Runtime; None leaves its default.

    Raises:
        FrameError: a frame does not have the profile's size.
        OptionError: the graph has a batch, or there is no frame.
    """
    info = read_graph_info(onnx_path)
    if info.profile.batch != 1:
        raise OptionError(
            "batch", got=str(info.profile.batch), expected="1", todo="Compare a graph exported with batch 1."
        )
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    network = load_network(loaded, info.profile)
    candidate = _OnnxNetwork(onnx_path, info.profile, info.graph, threads)
    errors: dict[str, list[float]] = {name: [] for name in COMPARED}
    states: list[Tensor | None] = [None] * 4
    for index, frame in enumerate(frames):
        src = frame_tensor(frame, info.profile, index)
        with torch.inference_mode():
            fgr, pha, *states_out = network(src, *states, info.profile.ratio)
        states = list(states_out)
        expected = dict(zip(COMPARED, (pha, fgr, *states_out), strict=True))
        for name, value in candidate(src).items():
            errors[name].append(float((value - expected[name]).abs().max()))
    if not errors["pha"]:
        raise OptionError("frames", got="none", expected="at least one", todo="Give a clip with frames.")
    return ParityReport(errors={name: tuple(values) for name, values in errors.items()})


def frame_tensor(frame: npt.NDArray[np.uint8], profile: Profile, index: int = 0) -> Tensor:
    """Returns an (H, W, 3) uint8 RGB frame as (1, 3, H, W) float32 in 0..1; raises `FrameError` on another size."""
    require_size(frame, profile, subject=f"frame {index}")
    # Dividing after the cast, as users of the original do; multiplying by 1/255 differs in the last bit.
    return torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float() / 255


class _OnnxNetwork:
    """A graph in ONNX Runtime with its states; gives the tensors of `COMPARED`."""

    def __init__(
        self, path: str | os.PathLike[str], profile: Profile, graph: Graph, threads: int | None
    ) -> None:
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(os.fspath(path), options, ["CPUExecutionProvider"])
        self._states = [np.zeros(shape, np.float32) for shape in profile.state_shapes]
        self._profile = profile
        self._graph = graph

    def __call__(self, src: Tensor) -> dict[str, Tensor]:
        core = self._graph is Graph.CORE
        fed = downsample(src, self._profile.ratio) if core and self._profile.uses_refiner else src
        feeds = {"src": fed.numpy(), **dict(zip(STATE_INPUTS, self._states, strict=True))}
        first, second, *self._states = self._session.run(None, feeds)
        fgr, pha = torch.from_numpy(first), torch.from_numpy(second)
        if core:
            fgr, pha = compose(fgr, pha, src)
        states = [torch.from_numpy(state) for state in self._states]
        return dict(zip(COMPARED, (pha, fgr, *states), strict=True))


def compose(slope: Tensor, intercept: Tensor, src: Tensor) -> tuple[Tensor, Tensor]:
    """Returns ``fgr`` and ``pha`` in 0..1 at frame size from the core's ``A`` and ``b``: the runtime's reference."""
    residual, pha = apply_coefficients(slope, intercept, src)
    return (residual + src).clamp(0, 1), pha.clamp(0, 1)
