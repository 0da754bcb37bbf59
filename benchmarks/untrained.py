"""An untrained network that behaves like a trained one numerically, for parity where no trained weights can be had.

Random weights alone will not do: activations grow through fifty layers until float32 and float64 differ by 2e-2 in
alpha after twenty frames. With the batch normalisation's statistics gathered on footage they stay in range, and any two
sound implementations agree.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rvm_trt.export.model import MattingNetwork
from rvm_trt.export.parity import frame_tensor
from rvm_trt.options import Variant
from rvm_trt.profile import Profile


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
