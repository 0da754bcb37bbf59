"""The MobileNetV3-Large encoder, with the last stage dilated instead of strided."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rvm_trt.export.layers import ConvBnAct

_EPS = 1e-3
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Row(NamedTuple):
    """One row of the architecture table: ``in, kernel, expanded, out, squeeze, hardswish, stride, dilation``."""

    channels_in: int
    kernel: int
    expanded: int
    channels_out: int
    squeeze: int  # channels of the squeeze-and-excitation bottleneck, 0 for none
    hardswish: bool
    stride: int
    dilation: int = 1


ROWS = (
    Row(16, 3, 16, 16, 0, False, 1),
    Row(16, 3, 64, 24, 0, False, 2),
    Row(24, 3, 72, 24, 0, False, 1),
    Row(24, 5, 72, 40, 24, False, 2),
    Row(40, 5, 120, 40, 32, False, 1),
    Row(40, 5, 120, 40, 32, False, 1),
    Row(40, 3, 240, 80, 0, True, 2),
    Row(80, 3, 200, 80, 0, True, 1),
    Row(80, 3, 184, 80, 0, True, 1),
    Row(80, 3, 184, 80, 0, True, 1),
    Row(80, 3, 480, 112, 120, True, 1),
    Row(112, 3, 672, 112, 168, True, 1),
    Row(112, 5, 672, 160, 168, True, 1, 2),
    Row(160, 5, 960, 160, 240, True, 1, 2),
    Row(160, 5, 960, 160, 240, True, 1, 2),
)


class SqueezeExcitation(nn.Module):
    """Scales channels by a gate computed from their global averages."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.fc2 = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.fc2(gate))


class InvertedResidual(nn.Module):
    """Expand, depthwise, squeeze-and-excitation, project; with a skip where the shape stays."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if row.expanded != row.channels_in:
            layers.append(
                ConvBnAct(row.channels_in, row.expanded, eps=_EPS, activation=_activation(row.hardswish))
            )
        layers.append(
            ConvBnAct(
                row.expanded,
                row.expanded,
                kernel=row.kernel,
                stride=row.stride,
                dilation=row.dilation,
                groups=row.expanded,
                eps=_EPS,
                activation=_activation(row.hardswish),
            )
        )
        if row.squeeze:
            layers.append(SqueezeExcitation(row.expanded, row.squeeze))
        layers.append(ConvBnAct(row.expanded, row.channels_out, eps=_EPS))
        self.block = nn.Sequential(*layers)
        self.skips = row.stride == 1 and row.channels_in == row.channels_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.skips else y


class MobileNetV3Encoder(nn.Module):
    """Features at 1/2, 1/4, 1/8 and 1/16 with 16, 24, 40 and 960 channels, from RGB in 0..1."""

    channels = (16, 24, 40, 960)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvBnAct(3, 16, kernel=3, stride=2, eps=_EPS, activation=nn.Hardswish()),
            *(InvertedResidual(row) for row in ROWS),
            ConvBnAct(160, 960, eps=_EPS, activation=nn.Hardswish()),
        )
        self.mean: Tensor
        self.std: Tensor
        # Not in the state dict of the official checkpoints.
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = (x - self.mean) / self.std
        f1 = self.features[:2](x)
        f2 = self.features[2:4](f1)
        f3 = self.features[4:7](f2)
        return f1, f2, f3, self.features[7:](f3)


def _activation(hardswish: bool) -> nn.Module:
    return nn.Hardswish() if hardswish else nn.ReLU()
