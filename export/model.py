"""Robust Video Matting (arXiv 2108.11515) in PyTorch, written from the paper and the facts of the network.

The state dict has the keys and shapes of the official checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rvm_trt.errors import OptionError
from rvm_trt.export.decoder import LrAspp, Projection, RecurrentDecoder, States
from rvm_trt.export.mobilenetv3 import MobileNetV3Encoder
from rvm_trt.export.refiner import DeepGuidedFilter, FastGuidedFilter, apply_coefficients
from rvm_trt.export.resnet50 import ResNet50Encoder
from rvm_trt.options import Refiner, Variant, choice
from rvm_trt.profile import STATE_CHANNELS

Result = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class MattingNetwork(nn.Module):
    """The matting network.

    Args:
        variant: encoder, ``mobilenetv3`` or ``resnet50``.
        refiner: ``deep_guided_filter`` (learned) or ``fast_guided_filter`` (no parameters).

    Raises:
        OptionError: the variant or the refiner has no such name.
    """

    def __init__(
        self, variant: str | Variant = Variant.MOBILENETV3, refiner: str | Refiner = Refiner.DEEP
    ) -> None:
        super().__init__()
        self.variant = choice(Variant, variant, subject="variant")
        self.refiner_kind = choice(Refiner, refiner, subject="refiner")
        self.backbone: MobileNetV3Encoder | ResNet50Encoder
        if self.variant is Variant.MOBILENETV3:
            self.backbone, aspp, decoded = MobileNetV3Encoder(), 128, (80, 40, 32, 16)
        else:
            self.backbone, aspp, decoded = ResNet50Encoder(), 256, (128, 64, 32, 16)
        f1, f2, f3, f4 = self.backbone.channels
        self.aspp = LrAspp(f4, aspp)
        self.decoder = RecurrentDecoder((f1, f2, f3), aspp, decoded)
        self.project_mat = Projection(16, 4)
        self.project_seg = Projection(16, 1)  # training only; kept so that official checkpoints load strictly
        self.refiner = DeepGuidedFilter() if self.refiner_kind is Refiner.DEEP else FastGuidedFilter()

    def forward(
        self,
        src: Tensor,
        r1: Tensor | None = None,
        r2: Tensor | None = None,
        r3: Tensor | None = None,
        r4: Tensor | None = None,
        downsample_ratio: float = 1.0,
    ) -> Result:
        """Mattes a frame ``(B, 3, H, W)`` or a clip ``(B, T, 3, H, W)``, RGB in 0..1.

        Returns ``fgr`` (…, 3, H, W) and ``pha`` (…, 1, H, W), clamped to 0..1, and the states ``r1..r4`` after the
        last frame, always of rank 4. States that are None are zeros.

        Raises:
            OptionError: the rank is neither 4 nor 5, a clip has no frame, or the ratio is not in (0, 1].
        """
        _check(src, downsample_ratio)
        if src.ndim == 4:
            return self._frame(src, (r1, r2, r3, r4), downsample_ratio)
        results = []
        states: tuple[Tensor | None, ...] = (r1, r2, r3, r4)
        for frame in src.unbind(dim=1):
            fgr, pha, *states_out = self._frame(frame, states, downsample_ratio)
            states = tuple(states_out)
            results.append((fgr, pha))
        fgrs, phas = zip(*results, strict=True)
        return (torch.stack(fgrs, dim=1), torch.stack(phas, dim=1), *states_out)  # type: ignore[return-value]

    def coefficients(self, src_sm: Tensor, states: States, *, refined: bool) -> tuple[Tensor, Tensor, States]:
        """Runs the low-resolution part: returns ``A`` and ``b``, (B, 4, h, w) each, and the next states.

        Where ``refined`` is False (ratio 1) ``A`` is 0 and ``b`` is the network's own output.
        """
        f1, f2, f3, f4 = self.backbone(src_sm)
        hidden, states = self.decoder(src_sm, f1, f2, f3, self.aspp(f4), states)
        y = self.project_mat(hidden)
        if not refined:
            # Not zeros_like: traced, that becomes an Expand of a constant.
            return y * 0.0, y, states
        slope, intercept = self.refiner.coefficients(src_sm, y, hidden)
        return slope, intercept, states

    def _frame(self, src: Tensor, states: tuple[Tensor | None, ...], ratio: float) -> Result:
        refined = ratio != 1.0
        src_sm = downsample(src, ratio) if refined else src
        slope, intercept, next_states = self.coefficients(
            src_sm, self._states(src_sm, states), refined=refined
        )
        if refined:
            residual, pha = apply_coefficients(slope, intercept, src)
        else:
            residual, pha = torch.split(intercept, [3, 1], dim=1)
        return ((residual + src).clamp(0, 1), pha.clamp(0, 1), *next_states)

    def _states(self, src_sm: Tensor, given: tuple[Tensor | None, ...]) -> States:
        height, width = src_sm.shape[-2:]
        states = []
        for state, channels in zip(given, STATE_CHANNELS[self.variant], strict=True):
            height, width = -(-height // 2), -(-width // 2)
            states.append(
                src_sm.new_zeros(src_sm.shape[0], channels, height, width) if state is None else state
            )
        r1, r2, r3, r4 = states
        return r1, r2, r3, r4


def downsample(src: Tensor, ratio: float) -> Tensor:
    """Returns ``src`` (B, C, H, W) bilinearly at ``floor(H·ratio) x floor(W·ratio)``.

    Positions follow the ratio itself, ``(x + 0.5) / ratio − 0.5``, not the ratio of the rounded sizes.
    """
    return F.interpolate(
        src, scale_factor=ratio, mode="bilinear", align_corners=False, recompute_scale_factor=False
    )


def _check(src: Tensor, ratio: float) -> None:
    if src.ndim not in (4, 5) or src.shape[-3] != 3 or 0 in src.shape:
        raise OptionError(
            "src",
            got=f"{tuple(src.shape)}",
            expected="(B, 3, H, W) or (B, T, 3, H, W) with no empty dimension",
            todo="Give RGB frames with the channels before the height.",
        )
    if not 0 < ratio <= 1:
        raise OptionError(
            "downsample_ratio",
            got=repr(ratio),
            expected="a number above 0 and at most 1",
            todo="Give another ratio.",
        )
