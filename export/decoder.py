"""LR-ASPP and the recurrent decoder (paper, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rvm_trt.export.layers import ConvBnAct, ConvGru, upsample_to

States = tuple[Tensor, Tensor, Tensor, Tensor]


class LrAspp(nn.Module):
    """``relu(bn(conv1x1(x))) · sigmoid(conv1x1(global average of x))``."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.aspp1 = ConvBnAct(channels_in, channels_out, activation=nn.ReLU())
        self.aspp2 = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.aspp1(x)
        gate: Tensor = self.aspp2(x)
        return features * gate


class BottleneckBlock(nn.Module):
    """At 1/16: half of the channels pass through a GRU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru = ConvGru(channels // 2)

    def forward(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, dim=1)
        r = self.gru(b, r)
        return torch.cat([a, r], dim=1), r


class UpsamplingBlock(nn.Module):
    """At 1/8, 1/4 and 1/2: upsample, join the skip feature and the image, convolve, half through a GRU."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int) -> None:
        super().__init__()
        self.conv = ConvBnAct(channels_in + channels_skip + 3, channels_out, kernel=3, activation=nn.ReLU())
        self.gru = ConvGru(channels_out // 2)

    def forward(self, x: Tensor, f: Tensor, s: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(torch.cat([upsample_to(x, s), f, s], dim=1))
        a, b = x.chunk(2, dim=1)
        r = self.gru(b, r)
        return torch.cat([a, r], dim=1), r


class OutputBlock(nn.Module):
    """At full (low-res) size: upsample, join the image, convolve twice. No GRU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *ConvBnAct(channels_in + 3, channels_out, kernel=3, activation=nn.ReLU()),
            *ConvBnAct(channels_out, channels_out, kernel=3, activation=nn.ReLU()),
        )

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        y: Tensor = self.conv(torch.cat([upsample_to(x, s), s], dim=1))
        return y


class RecurrentDecoder(nn.Module):
    """From encoder features, the image and the states to 16 hidden channels and the next states."""

    def __init__(self, features: tuple[int, int, int], aspp: int, decoded: tuple[int, int, int, int]) -> None:
        super().__init__()
        f1, f2, f3 = features
        d3, d2, d1, d0 = decoded
        self.decode4 = BottleneckBlock(aspp)
        self.decode3 = UpsamplingBlock(aspp, f3, d3)
        self.decode2 = UpsamplingBlock(d3, f2, d2)
        self.decode1 = UpsamplingBlock(d2, f1, d1)
        self.decode0 = OutputBlock(d1, d0)

    def forward(
        self, src: Tensor, f1: Tensor, f2: Tensor, f3: Tensor, f4: Tensor, states: States
    ) -> tuple[Tensor, States]:
        s1, s2, s3 = _pyramid(src)
        r1, r2, r3, r4 = states
        x, r4 = self.decode4(f4, r4)
        x, r3 = self.decode3(x, f3, s3, r3)
        x, r2 = self.decode2(x, f2, s2, r2)
        x, r1 = self.decode1(x, f1, s1, r1)
        return self.decode0(x, src), (r1, r2, r3, r4)


class Projection(nn.Module):
    """A 1x1 convolution from the hidden channels to an output."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


def _pyramid(src: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    def halve(x: Tensor) -> Tensor:
        # With even sides the windows never leave the image; the plain form then exports without padding logic.
        odd = bool(x.shape[-2] % 2 or x.shape[-1] % 2)
        return F.avg_pool2d(x, 2, 2, ceil_mode=odd, count_include_pad=False)

    s1 = halve(src)
    s2 = halve(s1)
    return s1, s2, halve(s2)
