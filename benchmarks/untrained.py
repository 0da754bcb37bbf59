"""An untrained network that behaves like a trained one numerically, for parity where no trained weights can be had.

Random weights alone will not do: activations grow through fifty layers until float32 and float64 differ by 2e-2 in
alpha after twenty frames. With the batch normalisation's statistics gathered on footage they stay in range, and any two
sound implementations agree.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rvm_trt.export.model import MattingNetwork
from rvm_trt.export.parity import frame_tensor
from rvm_trt.options import Variant
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.scaled import scaled_frames


def untrained_state_dict(
    variant: str | Variant, profile: Profile, frames: Iterable[npt.NDArray[np.uint8]]
) -> dict[str, Tensor]:
    """Returns a state dict from a fixed seed, normalised on frames of the profile's size; it mattes nothing."""
    torch.manual_seed(0)
    network = MattingNetwork(variant).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain average over all frames
    states: list[Tensor | None] = [None] * 4
    with torch.no_grad():
        for frame in frames:
            _, _, *states_out = network(frame_tensor(frame, profile), *states, profile.ratio)
            states = list(states_out)
        # In the middle of its range alpha is clamped nowhere, and every difference shows.
        assert network.project_mat.conv.bias is not None
        network.project_mat.conv.bias[3] = 0.5
    return network.state_dict()


def untrained_checkpoint(clip: str | os.PathLike[str], path: Path) -> Path:
    """Writes a resnet50 checkpoint of `untrained_state_dict`, normalised on a clip, and returns its path."""
    profile = Profile.for_size(width=640, height=480, ratio=0.5, variant=Variant.RESNET50)
    frames = scaled_frames(clip, width=profile.width, height=profile.height, count=8)
    torch.save(untrained_state_dict(Variant.RESNET50, profile, frames), path)
    return path
