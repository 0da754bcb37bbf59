"""Weights and pictures that tests generate: always the same, and never near each other by accident."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


def seeded_values(key: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Returns values for a parameter or a buffer, from its name alone."""
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    if len(shape) == 4:
        values = generator.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif key.endswith("running_var"):
        values = generator.uniform(0.5, 1.5, shape)
    elif key.endswith(("running_mean", "bias")):
        values = generator.standard_normal(shape) * 0.05
    else:
        values = generator.uniform(0.8, 1.2, shape)
    return np.asarray(values, np.float32)


def moving_frame(width: int, height: int, index: int) -> Image:
    """Returns a picture of a sequence: a textured ellipse that crosses a textured gradient."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([(2 * x + 5 * index) % 256, (3 * y + x) % 256, (x + y + 7 * index) % 256], axis=-1)
    inside = ((x - width * (0.3 + 0.03 * index)) / (0.2 * width)) ** 2 + (
        (y - 0.5 * height) / (0.35 * height)
    ) ** 2
    image[inside < 1] = (180, 140, 110)
    # Without texture the fast guided filter divides rounding error by a variance of zero.
    noise = np.random.default_rng(1234 + index).integers(-30, 31, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def resized(frames: list[Image], width: int, height: int) -> Iterator[Image]:
    """Yields the pictures at another size."""
    from PIL import Image as Pillow

    for frame in frames:
        yield np.asarray(Pillow.fromarray(frame).resize((width, height), Pillow.Resampling.BICUBIC)).copy()
