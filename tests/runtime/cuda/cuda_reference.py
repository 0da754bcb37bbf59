"""What the kernels must give, in NumPy and double precision, from the published facts of the network and of video.

Colours are (H, W, 3) in 0..255 here, not rounded. The planes of a picture are (H, W, C), or (H, W) and (h, w, 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from cuda_memory import Planes

from rvm_trt.profile import Profile
from rvm_trt.resample import Taps, downsample_taps, upsample_taps
from rvm_trt.runtime.pixels import Colour, ColourMatrix, ColourRange, PixelFormat

Array = npt.NDArray[Any]

# The tables that the standards print: luma of red, green, blue; then red of Cr, green of Cb and of Cr, blue of Cb.
_LUMA = {
    ColourMatrix.BT601: (0.299, 0.587, 0.114),
    ColourMatrix.BT709: (0.2126, 0.7152, 0.0722),
    ColourMatrix.BT2020: (0.2627, 0.6780, 0.0593),
}
_CHROMA = {
    ColourMatrix.BT601: (1.402, -0.344136, -0.714136, 1.772),
    ColourMatrix.BT709: (1.5748, -0.187324, -0.468124, 1.8556),
    ColourMatrix.BT2020: (1.4746, -0.164553, -0.571353, 1.8814),
}


def picture(pixel_format: PixelFormat, width: int, height: int, seed: int) -> list[Array]:
    """Returns planes with a gradient, noise, and a saturated half; as codes, also ones that no colour has."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([255 * x / width, 255 * y / height, 127 + 127 * np.sin(x / 5 + y / 3)], axis=-1)
    base[:, width // 2 :] = (base[:, width // 2 :] - 127) * 3 + 127
    rgb = np.clip(base + generator.normal(0, 12, base.shape), 0, 255).astype(np.uint8)
    rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1] = 255, 0, 255, 1  # an error at an edge is a large one
    if pixel_format is PixelFormat.RGBA8:
        return [np.dstack([rgb, generator.integers(0, 256, (height, width), np.uint8)])]
    if not pixel_format.is_subsampled:
        return [rgb]
    chroma = generator.integers(0, 256, ((height + 1) // 2, (width + 1) // 2, 2), np.uint8)
    chroma[:, ::3] = 128 + chroma[:, ::3] // 8
    if pixel_format is PixelFormat.NV12:
        return [rgb[..., 0], chroma]
    noise = generator.integers(0, 256, rgb.shape[:2], np.uint16)  # two more bits, and six that mean nothing
    return [rgb[..., 0].astype(np.uint16) << 8 | noise, chroma.astype(np.uint16) << 8 | noise[0, 0]]


def to_rgb(planes: Planes, pixel_format: PixelFormat, colour: Colour) -> Array:
    """Returns a picture in red, green and blue, clamped."""
    first = planes[0].astype(np.float64)
    if pixel_format is PixelFormat.BGR8:
        return first[..., ::-1]
    if not pixel_format.is_subsampled:
        return first[..., :3]
    luma, chroma = planes
    if pixel_format is PixelFormat.P010:
        luma, chroma = luma >> 6, chroma >> 6
    chroma = chroma.repeat(2, axis=0).repeat(2, axis=1)[: luma.shape[0], : luma.shape[1]]
    black, luma_span, chroma_span, centre, _ = _codes(pixel_format, colour)
    y = (luma.astype(np.float64) - black) / luma_span
    cb, cr = ((chroma[..., i].astype(np.float64) - centre) / chroma_span for i in (0, 1))
    red_cr, green_cb, green_cr, blue_cb = _CHROMA[colour.matrix]
    rgb = np.stack([y + red_cr * cr, y + green_cb * cb + green_cr * cr, y + blue_cb * cb], axis=-1)
    return np.clip(rgb, 0, 1) * 255


def from_rgb(rgb: Array, pixel_format: PixelFormat, colour: Colour) -> list[Array]:
    """Returns the planes of a picture as samples that are not rounded; P010's in 0..1023."""
    if pixel_format is PixelFormat.BGR8:
        return [rgb[..., ::-1]]
    if not pixel_format.is_subsampled:
        return [rgb]
    black, luma_span, chroma_span, centre, top = _codes(pixel_format, colour)
    weights = np.array(_LUMA[colour.matrix])
    y = rgb / 255 @ weights
    pairs = np.stack(
        [(rgb[..., i] / 255 - y) / (2 * (1 - weights[i])) * chroma_span + centre for i in (2, 0)], axis=-1
    )
    return [np.clip(y * luma_span + black, 0, top), np.clip(_halved(pairs), 0, top)]


def sample(rgb: Array, profile: Profile) -> Array:
    """Returns the network's input, (3, h, w) in 0..1."""
    rows, columns = (downsample_taps(side, profile.ratio) for side in (profile.height, profile.width))
    return _resampled(rgb.transpose(2, 0, 1) / 255, rows, columns)


def head(weights: dict[str, Array], hid: Array, src: Array, refiner: str) -> tuple[Array, Array]:
    """Returns A and b, (N, 4, h, w), from ``hid`` (N, h, w, 16) and ``src`` (N, 3, h, w)."""
    hid = hid.astype(np.float64).transpose(0, 3, 1, 2)
    x = src.astype(np.float64)
    x = np.concatenate([x, x.mean(axis=1, keepdims=True)], axis=1)
    y = _pointwise(hid, weights["project.weight"], weights["project.bias"])
    if refiner == "none":
        return np.zeros_like(y), y
    box = weights.get("box.weight", np.full((4, 3, 3), 1 / 9))
    mean_x, mean_y = _box(x, box), _box(y, box)
    cov, var = _box(x * y, box) - mean_x * mean_y, _box(x * x, box) - mean_x**2
    if refiner == "fast_guided_filter":
        slope = cov / (var + 1e-5)
    else:
        slope = np.concatenate([cov, var, hid], axis=1)
        for layer in ("mlp.0", "mlp.1", "mlp.2"):
            slope = _pointwise(slope, weights[f"{layer}.weight"], weights[f"{layer}.bias"])
            slope = slope if layer == "mlp.2" else np.maximum(slope, 0)
    return slope, mean_y - slope * mean_x


def matte(rgb: Array, slope: Array, intercept: Array) -> tuple[Array, Array]:
    """Returns foreground (H, W, 3) and alpha (H, W, 1), in 0..255, from a frame and its (4, h, w) A and b."""
    height, width = rgb.shape[:2]
    rows, columns = (upsample_taps(a, b) for a, b in zip(slope.shape[1:], (height, width), strict=True))
    A, b = (_resampled(v.astype(np.float64), rows, columns).transpose(1, 2, 0) for v in (slope, intercept))
    x = rgb / 255
    fgr = np.clip(A[..., :3] * x + b[..., :3] + x, 0, 1)
    pha = np.clip(A[..., 3:] * x.mean(axis=2, keepdims=True) + b[..., 3:], 0, 1)
    return fgr * 255, pha * 255


def _codes(pixel_format: PixelFormat, colour: Colour) -> tuple[float, float, float, float, float]:
    unit, top = (4, 1023) if pixel_format is PixelFormat.P010 else (1, 255)
    limited = colour.range is ColourRange.LIMITED
    return (
        (16 * unit if limited else 0),
        *((219 * unit, 224 * unit) if limited else (top, top)),
        128 * unit,
        top,
    )


def _halved(values: Array) -> Array:
    """Returns the means of 2x2 pixels; the last row or column of an odd side stands for two."""
    height, width = values.shape[:2]
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return (padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) / 4


def _resampled(planes: Array, rows: Taps, columns: Taps) -> Array:
    top, bottom = planes[:, rows.first], planes[:, rows.second]
    lines = top + rows.weight[:, None] * (bottom - top)
    left, right = lines[..., columns.first], lines[..., columns.second]
    return np.asarray(left + columns.weight * (right - left))


def _pointwise(x: Array, weight: Array, bias: Array) -> Array:
    return np.einsum("oi,nihw->nohw", weight.astype(np.float64), x) + bias[:, None, None]


def _box(x: Array, weight: Array) -> Array:
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    parts = [
        weight[:, i, j, None, None] * padded[:, :, i : i + height, j : j + width]
        for i in range(3)
        for j in range(3)
    ]
    return np.sum(parts, axis=0)
