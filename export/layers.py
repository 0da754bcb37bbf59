"""Small layers that several parts of the network share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvBnAct(nn.Sequential):
    """Convolution without bias, batch normalisation, activation; keys ``0`` and ``1`` in the state dict."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        eps: float = 1e-5,
        activation: nn.Module | None = None,
    ) -> None:
        padding = (kernel - 1) // 2 * dilation
        convolution = nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        layers: list[nn.Module] = [convolution, nn.BatchNorm2d(channels_out, eps=eps)]
        if activation is not None:
            layers.append(activation)
        super().__init__(*layers)


class ConvGru(nn.Module):
    """Convolutional GRU (paper, section 3.2): ``h = (1 − z)·h + z·c`` with 3x3 convolutions for the gates."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ih = nn.Sequential(nn.Conv2d(2 * channels, 2 * channels, 3, padding=1), nn.Sigmoid())
        self.hh = nn.Sequential(nn.Conv2d(2 * channels, channels, 3, padding=1), nn.Tanh())

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Returns the next state from the input and the last state, all ``(B, C, H, W)``."""
        reset, update = self.ih(torch.cat([x, h], dim=1)).chunk(2, dim=1)
        candidate = self.hh(torch.cat([x, reset * h], dim=1))
        state: Tensor = (1 - update) * h + update * candidate
        return state


def upsample_to(x: Tensor, like: Tensor) -> Tensor:
    """Returns ``x`` doubled in size bilinearly and cropped to the height and width of ``like``."""
    doubled: Tensor = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    height, width = like.shape[-2:]
    # No slice where none is needed: it would stay in the exported graph as a copy.
    if doubled.shape[-2] != height:
        doubled = doubled[:, :, :height]
    if doubled.shape[-1] != width:
        doubled = doubled[:, :, :, :width]
    return doubled
