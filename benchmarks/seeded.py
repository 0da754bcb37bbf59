"""Weights from a fixed recipe, for checks that need a network and no trained one: each key seeds its own values."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from rvm_trt.export.model import MattingNetwork
from rvm_trt.options import Refiner, Variant


def seeded_state_dict(
    variant: str | Variant = Variant.MOBILENETV3, refiner: str | Refiner = Refiner.DEEP
) -> dict[str, Tensor]:
    """Returns a state dict of `MattingNetwork`, float32, the same everywhere; it mattes nothing."""
    shapes = MattingNetwork(variant, refiner).state_dict()
    return {key: _value(key, value) for key, value in shapes.items()}


def write_checkpoint(state_dict: Mapping[str, Tensor], path: str) -> str:
    """Saves a state dict as a checkpoint in the official format and returns its path."""
    torch.save(dict(state_dict), path)
    return path


def _value(key: str, like: Tensor) -> Tensor:
    if not like.is_floating_point():
        return like
    shape = tuple(like.shape)
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    if len(shape) == 4:
        values = generator.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    elif key.endswith("running_var"):
        values = generator.uniform(0.5, 1.5, shape)
    elif key.endswith(("running_mean", "bias")):
        values = generator.standard_normal(shape) * 0.05
    else:
        values = generator.uniform(0.8, 1.2, shape)
    return torch.from_numpy(values.astype(np.float32))
