"""Graphs in half arithmetic, how far their alpha is from a reference on the CPU, and frames to see it on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor
from torch.nn import functional as F

from rvm_trt.benchmarks.accuracy import AlphaError
from rvm_trt.benchmarks.clips import Image
from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.engines.half_arithmetic import emulate_half
from rvm_trt.export.float16 import lower_to_half
from rvm_trt.export.model import downsample
from rvm_trt.export.parity import frame_tensor
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.scaled import scaled_frames

THREADS = 2  # of each network
_TENTHS = 10


@dataclass(frozen=True, kw_only=True)
class HalfError:
    """Difference of an alpha sequence from a reference.

    Attributes:
        alpha: mean and largest difference.
        dtssd_e2: flicker: root mean square of what the difference changes by from one frame to the next, mean over the
            frames, times 100.
        mad_e3_tenths: drift: mean absolute difference in each tenth of the sequence, times 1000.
        non_finite: number of NaN and infinite values in all outputs and states.
    """

    alpha: AlphaError
    dtssd_e2: float
    mad_e3_tenths: tuple[float, ...]
    non_finite: int

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values, rounded; None where one is no number."""
        figures: dict[str, Any] = {**self.alpha.to_json(), "dtssd_e2": round(self.dtssd_e2, 4)}
        plain = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        tenths = [round(value, 4) if math.isfinite(value) else None for value in self.mad_e3_tenths]
        return {**plain, "mad_e3_tenths": tenths, "non_finite": self.non_finite}


class AlphaNetwork:
    """A core graph of batch 1, in float32 in ONNX Runtime, with its states."""

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # many networks, few cores
        # Half arithmetic is written as pairs of casts, which an optimiser may take for nothing.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        content = model.SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        self.reset()

    def reset(self) -> None:
        """Goes back to zero states."""
        shapes = {value.name: value.shape for value in self._session.get_inputs()}
        self._states = {name: np.zeros(shapes[name], np.float32) for name in STATE_INPUTS}

    def __call__(self, low: Tensor, mean: Tensor) -> tuple[Tensor, int]:
        """Returns alpha (1, 1, H, W) in 0..1, and how many values of the outputs and states are not finite.

        Args:
            low: (1, 3, h, w) float32 in 0..1, the frame at the network's size.
            mean: (1, 1, H, W) float32 in 0..1, the mean of the frame's channels.
        """
        outputs = self._session.run(("A", "b", *STATE_OUTPUTS), {"src": low.numpy(), **self._states})
        self._states = dict(zip(STATE_INPUTS, outputs[2:], strict=True))
        line = torch.from_numpy(np.concatenate([outputs[0][:, 3:], outputs[1][:, 3:]], axis=1))
        line = F.interpolate(line, size=mean.shape[-2:], mode="bilinear", align_corners=False)
        alpha = (line[:, :1] * mean + line[:, 1:]).clamp(0, 1)
        return alpha, sum(value.size - int(np.isfinite(value).sum()) for value in outputs)


def compare_networks(
    reference: AlphaNetwork,
    candidates: Mapping[str, AlphaNetwork],
    frames: Iterable[Image],
    profile: Profile,
    *,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, HalfError]:
    """Runs all networks side by side from zero states, and returns each candidate's error.

    Args:
        reference: what is right.
        candidates: name → network.
        frames: (H, W, 3) uint8 RGB of the profile's size, at least one.
        profile: says how the frames are sampled.
        advance: called after each frame.

    Raises:
        FrameError: a frame does not have the profile's size.
    """
    for network in (reference, *candidates.values()):
        network.reset()
    tallies = {name: _Tally() for name in candidates}
    for index, frame in enumerate(frames):
        src = frame_tensor(frame, profile, index)
        low = downsample(src, profile.ratio) if profile.uses_refiner else src
        mean = src.mean(dim=1, keepdim=True)
        expected, _ = reference(low, mean)
        for name, network in candidates.items():
            tallies[name].add(expected, *network(low, mean))
        advance()
    return {name: tally.result() for name, tally in tallies.items()}


class _Tally:
    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float]] = []
        self._flicker: list[float] = []
        self._last: Tensor | None = None
        self._non_finite = 0

    def add(self, expected: Tensor, alpha: Tensor, non_finite: int) -> None:
        difference = alpha - expected
        size = difference.abs()
        self._rows.append((float(size.max()), _mean(size), _mean(expected)))
        if self._last is not None:
            self._flicker.append(_mean((difference - self._last).square()) ** 0.5)
        self._last = difference
        self._non_finite += non_finite

    def result(self) -> HalfError:
        worst, means, coverage = np.array(self._rows).T
        alpha = AlphaError(
            frames=len(means),
            mad_e3=float(means.mean()) * 1e3,
            max=float(worst.max()),
            worst_frame=int(worst.argmax()),
            reference_mean=float(coverage.mean()),
        )
        tenths = [float(part.mean()) * 1e3 for part in np.array_split(means, _TENTHS) if part.size]
        return HalfError(
            alpha=alpha,
            dtssd_e2=100 * sum(self._flicker) / max(1, len(self._flicker)),
            mad_e3_tenths=tuple(tenths),
            non_finite=self._non_finite,
        )


def _mean(tensor: Tensor) -> float:
    return float(tensor.mean(dtype=torch.float64))


def back_and_forth(length: int, count: int) -> Iterator[int]:
    """Yields ``count`` indices into ``length`` frames, 0, 1, … last, … 1, 0, 1 …: neighbours stay neighbours."""
    period = max(1, 2 * (length - 1))
    for position in range(count):
        yield min(position % period, period - position % period)


def clip_frames(clip: Path, profile: Profile, count: int) -> Iterator[Image]:
    """Yields ``count`` frames of a clip at the profile's size, `back_and_forth` where it has fewer; holds them all.

    Raises:
        VideoError: the clip cannot be read, or has no frames.
    """
    frames = list(scaled_frames(clip, width=profile.width, height=profile.height, count=count))
    for index in back_and_forth(len(frames), count):
        yield frames[index]


def hostile_frames(profile: Profile, count: int) -> dict[str, Iterator[Image]]:
    """Returns name → ``count`` frames: black, white, noise, saturated colour bars that move, and these in turns."""
    shape = (profile.height, profile.width, 3)

    def bars(index: int) -> Image:
        number = (np.arange(profile.width) * 16 // profile.width + index) // 2 % 8
        row = np.stack([number & 1, number >> 1 & 1, number >> 2], axis=-1) * 255
        return np.broadcast_to(row.astype(np.uint8), shape)

    makers: dict[str, Callable[[int], Image]] = {
        "black": lambda _: np.zeros(shape, np.uint8),
        "white": lambda _: np.full(shape, 255, np.uint8),
        "noise": lambda index: np.random.default_rng(index).integers(0, 256, shape, np.uint8),
        "colour bars": bars,
    }
    turns = tuple(makers.values())
    makers["in turns"] = lambda index: turns[index % len(turns)](index)
    return {name: map(make, range(count)) for name, make in makers.items()}


def half_graph(fused: onnx.ModelProto, islands: Mapping[str, str]) -> onnx.ModelProto:
    """Returns a graph after `fuse` in half arithmetic but for the islands; the given graph stays as it is."""
    lowered = onnx.ModelProto()
    lowered.CopyFrom(fused)
    lower_to_half(lowered, islands=islands)
    return emulate_half(lowered)
