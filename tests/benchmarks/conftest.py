"""A benchmark's ingredients in miniature: a checkpoint and a moving picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def fast_checkpoint(checkpoint: Callable[..., Path]) -> Path:
    """A checkpoint without deep guided filter, like the web model."""
    return checkpoint("mobilenetv3", "fast_guided_filter")


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four images, 64x48: a bright square that moves over noise."""
    folder = tmp_path_factory.mktemp("shots")
    noise = np.random.default_rng(7)
    for index in range(4):
        image = noise.integers(0, 90, (48, 64, 3), dtype=np.uint8)
        image[12:36, 8 + 4 * index : 32 + 4 * index] = (230, 180, 150)
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder
