"""The guided filters, split where the runtime splits them: low-resolution coefficients, then one multiply-add a pixel.

With ``x = [src, mean_rgb(src)]`` and ``y = [residual, pha]``, 4 channels each:
``cov = box(xy) − box(x)box(y)``, ``var = box(xx) − box(x)²``, ``b = box(y) − A·box(x)``, result ``up(A)·X + up(b)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rvm_trt.export.layers import ConvBnAct

_FAST_EPS = 1e-5


class GuidedFilter(nn.Module, ABC):
    """What both guided filters share. Subclasses give the box filter and the slope ``A``."""

    @abstractmethod
    def box(self, x: Tensor) -> Tensor:
        """Returns the 3x3 mean of each of the 4 channels, zero-padded."""

    @abstractmethod
    def slope(self, cov: Tensor, var: Tensor, hidden: Tensor) -> Tensor:
        """Returns ``A`` from the local statistics and the decoder's hidden channels."""

    def coefficients(self, src: Tensor, y: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Returns ``A`` and ``b``, ``(B, 4, h, w)``, from the low-resolution image, network output and hidden."""
        x = with_mean(src)
        mean_x, mean_y = self.box(x), self.box(y)
        cov = self.box(x * y) - mean_x * mean_y
        var = self.box(x * x) - mean_x * mean_x
        slope = self.slope(cov, var, hidden)
        return slope, mean_y - slope * mean_x


class DeepGuidedFilter(GuidedFilter):
    """The guided filter with a learned box and a learned slope."""

    def __init__(self) -> None:
        super().__init__()
        self.box_filter = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        nn.init.constant_(self.box_filter.weight, 1 / 9)
        self.conv = nn.Sequential(
            *ConvBnAct(24, 16, activation=nn.ReLU()),
            *ConvBnAct(16, 16, activation=nn.ReLU()),
            nn.Conv2d(16, 4, 1),
        )

    def box(self, x: Tensor) -> Tensor:
        y: Tensor = self.box_filter(x)
        return y

    def slope(self, cov: Tensor, var: Tensor, hidden: Tensor) -> Tensor:
        y: Tensor = self.conv(torch.cat([cov, var, hidden], dim=1))
        return y


class FastGuidedFilter(GuidedFilter):
    """The plain guided filter: no parameters, ``A = cov / (var + 1e-5)``; it divides by 9 at borders too."""

    def box(self, x: Tensor) -> Tensor:
        weight = x.new_full((4, 1, 3, 3), 1 / 9)
        return F.conv2d(x, weight, padding=1, groups=4)

    def slope(self, cov: Tensor, var: Tensor, hidden: Tensor) -> Tensor:  # noqa: ARG002
        return cov / (var + _FAST_EPS)


def with_mean(src: Tensor) -> Tensor:
    """Returns RGB with its mean as a fourth channel."""
    return torch.cat([src, src.mean(dim=1, keepdim=True)], dim=1)


def apply_coefficients(slope: Tensor, intercept: Tensor, src: Tensor) -> tuple[Tensor, Tensor]:
    """Returns residual (B, 3, H, W) and alpha (B, 1, H, W) at the size of ``src``, not clamped."""
    size = (src.shape[-2], src.shape[-1])
    if tuple(slope.shape[-2:]) != size:
        slope = F.interpolate(slope, size=size, mode="bilinear", align_corners=False)
        intercept = F.interpolate(intercept, size=size, mode="bilinear", align_corners=False)
    residual, pha = torch.split(slope * with_mean(src) + intercept, [3, 1], dim=1)
    return residual, pha
