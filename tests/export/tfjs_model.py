"""A TensorFlow.js graph model with the web model's names, made from seeded values, for the tests beside it.

The names are written out from the published graph, not taken from the converter: the two can disagree.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = "StatefulPartitionedCall/matting_network_wrapper/StatefulPartitionedCall/"
ENCODER = ROOT + "mobile_net_v3_encoder/"
DECODER = ROOT + "recurrent_decoder/"

# Row: expansion, depthwise, squeeze-and-excitation, projection, as numbered in the published graph.
# (conv_bn_activation, conv2d) pairs; the depthwise convolution of row k is number k − 1.
ROWS: dict[int, dict[str, Any]] = {
    1: {"dw": 1, "project": (2, 1)},
    2: {"expand": (3, 2), "dw": 4, "project": (5, 3)},
    3: {"expand": (6, 4), "dw": 7, "project": (8, 5)},
    4: {"expand": (9, 6), "dw": 10, "se": ("squeeze_excitation", 7, 8), "project": (11, 9)},
    5: {"expand": (12, 10), "dw": 13, "se": ("squeeze_excitation_1", 11, 12), "project": (14, 13)},
    6: {"expand": (15, 14), "dw": 16, "se": ("squeeze_excitation_2", 15, 16), "project": (17, 17)},
    7: {"expand": (18, 18), "dw": 19, "project": (20, 19)},
    8: {"expand": (21, 20), "dw": 22, "project": (23, 21)},
    9: {"expand": (24, 22), "dw": 25, "project": (26, 23)},
    10: {"expand": (27, 24), "dw": 28, "project": (29, 25)},
    11: {"expand": (30, 26), "dw": 31, "se": ("squeeze_excitation_3", 27, 28), "project": (32, 29)},
    12: {"expand": (33, 30), "dw": 34, "se": ("squeeze_excitation_4", 31, 32), "project": (35, 33)},
    13: {"expand": (36, 34), "dw": 37, "se": ("squeeze_excitation_5", 35, 36), "project": (38, 37)},
    14: {"expand": (39, 38), "dw": 40, "se": ("squeeze_excitation_6", 39, 40), "project": (41, 41)},
    15: {"expand": (42, 42), "dw": 43, "se": ("squeeze_excitation_7", 43, 44), "project": (44, 45)},
}
# Convolution and BatchNorm in the state dict: folded convolution in the web model.
FOLDED = {
    ("backbone.features.0.0", "backbone.features.0.1"): ENCODER + "conv_bn_activation/conv2d",
    ("backbone.features.16.0", "backbone.features.16.1"): ENCODER + "conv_bn_activation_45/conv2d_46",
    ("aspp.aspp1.0", "aspp.aspp1.1"): ROOT + "lraspp/sequential_15/conv2d_47",
    ("decoder.decode3.conv.0", "decoder.decode3.conv.1"): DECODER
    + "upsampling_block/sequential_16/conv2d_51",
    ("decoder.decode2.conv.0", "decoder.decode2.conv.1"): DECODER
    + "upsampling_block_1/sequential_17/conv2d_54",
    ("decoder.decode1.conv.0", "decoder.decode1.conv.1"): DECODER
    + "upsampling_block_2/sequential_18/conv2d_57",
    ("decoder.decode0.conv.0", "decoder.decode0.conv.1"): DECODER + "output_block/sequential_19/conv2d_60",
    ("decoder.decode0.conv.3", "decoder.decode0.conv.4"): DECODER + "output_block/sequential_19/conv2d_61",
}
BIASED = {
    "decoder.decode4.gru.ih.0": DECODER + "bottleneck_block/conv_gru/conv2d_49",
    "decoder.decode4.gru.hh.0": DECODER + "bottleneck_block/conv_gru/conv2d_50",
    "decoder.decode3.gru.ih.0": DECODER + "upsampling_block/conv_gru_1/conv2d_52",
    "decoder.decode3.gru.hh.0": DECODER + "upsampling_block/conv_gru_1/conv2d_53",
    "decoder.decode2.gru.ih.0": DECODER + "upsampling_block_1/conv_gru_2/conv2d_55",
    "decoder.decode2.gru.hh.0": DECODER + "upsampling_block_1/conv_gru_2/conv2d_56",
    "decoder.decode1.gru.ih.0": DECODER + "upsampling_block_2/conv_gru_3/conv2d_58",
    "decoder.decode1.gru.hh.0": DECODER + "upsampling_block_2/conv_gru_3/conv2d_59",
    "project_mat.conv": ROOT + "conv2d_62",
}


class WebModel:
    """The two files, and what each key of the state dict must become, float32."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.weights = b""
        self.expected: dict[str, NDArray[np.float32]] = {}

    def model(self) -> bytes:
        """The content of ``rvm.json``."""
        manifest = [{"paths": ["rvm.bin"], "weights": self.entries}]
        return json.dumps({"format": "graph-model", "weightsManifest": manifest}).encode()

    def add(self, name: str, value: NDArray[Any]) -> NDArray[np.float32]:
        """Stores a tensor in 8 bits and returns it as it will be read."""
        low, high = float(value.min()), float(value.max())
        scale = (high - low) / 255 or 1.0
        stored = np.rint((value - low) / scale).astype(np.uint8)
        quantization = {"dtype": "uint8", "min": low, "scale": scale, "original_dtype": "float32"}
        entry = {"name": name, "shape": list(value.shape), "dtype": "float32", "quantization": quantization}
        self.entries.append(entry)
        self.weights += stored.tobytes()
        return (stored.astype(np.float64) * scale + low).astype(np.float32)

    def add_int(self, name: str) -> None:
        """Stores a tensor that is none of the network's, as the graph's constants are."""
        self.entries.append({"name": name, "shape": [2], "dtype": "int32"})
        self.weights += np.array([1, 2], dtype="<i4").tobytes()


def seeded_web_model(shapes: dict[str, list[int]]) -> WebModel:
    """Makes the web model of seeded weights; ``shapes`` is the official state dict's key → shape."""
    web = WebModel()
    web.add(ENCODER + "Const", np.array([0.485, 0.456, 0.406]))
    web.add_int("a/constant")
    web.add("ConstantFolding/" + ENCODER + "truediv_recip", 1 / np.array([0.229, 0.224, 0.225]))
    for (conv, norm), name in _folded().items():
        _kernel(web, shapes, conv, name + "/Conv2D_weights")
        _norm(web, shapes, norm, name + "/Conv2D_bn_offset")
    for row, numbers in ROWS.items():
        _depthwise(web, shapes, row, numbers["dw"])
    for conv, name in _biased().items():
        _kernel(web, shapes, conv, name + "/Conv2D/ReadVariableOp")
        web.expected[f"{conv}.bias"] = web.add(
            name + "/BiasAdd/ReadVariableOp", _seeded(shapes, f"{conv}.bias")
        )
    _kernel(web, shapes, "aspp.aspp2.1", ROOT + "lraspp/conv2d_48/Conv2D/ReadVariableOp")
    for key in ("project_seg.conv.weight", "project_seg.conv.bias"):
        web.expected[key] = np.zeros(shapes[key], np.float32)
    return web


def _scope(row: int) -> str:
    suffix = f"_{row - 1}" if row > 1 else ""
    return f"{ENCODER}inverted_residual{suffix}/sequential{suffix}/"


def _folded() -> dict[tuple[str, str], str]:
    names = dict(FOLDED)
    for row, numbers in ROWS.items():
        block = f"backbone.features.{row}.block"
        last = 1 + ("expand" in numbers) + ("se" in numbers)
        for index, part in ((0, "expand"), (last, "project")):
            if part in numbers:
                activation, conv = numbers[part]
                names[f"{block}.{index}.0", f"{block}.{index}.1"] = (
                    f"{_scope(row)}conv_bn_activation_{activation}/conv2d_{conv}"
                )
    return names


def _biased() -> dict[str, str]:
    names = dict(BIASED)
    for row, numbers in ROWS.items():
        if "se" in numbers:
            scope, first, second = numbers["se"]
            block = f"backbone.features.{row}.block.2"
            names[f"{block}.fc1"] = f"{_scope(row)}{scope}/conv2d_{first}"
            names[f"{block}.fc2"] = f"{_scope(row)}{scope}/conv2d_{second}"
    return names


def _depthwise(web: WebModel, shapes: dict[str, list[int]], row: int, activation: int) -> None:
    key = f"backbone.features.{row}.block.{0 if row == 1 else 1}"
    scope = f"{_scope(row)}conv_bn_activation_{activation}/"
    conv = scope + (f"depthwise_conv2d_{row - 1}" if row > 1 else "depthwise_conv2d")
    if row < 13:
        _kernel(web, shapes, f"{key}.0", conv + "/depthwise_weights", depthwise=True)
        _norm(web, shapes, f"{key}.1", conv + "/depthwise_bn_offset")
        return
    _kernel(web, shapes, f"{key}.0", conv + "/depthwise/ReadVariableOp", depthwise=True)
    norm = f"{scope}batch_normalization_{activation}/FusedBatchNormV3"
    _norm(web, shapes, f"{key}.1", norm + "/Offset")
    web.expected[f"{key}.1.weight"] = web.add(norm + "/Scaled", _seeded(shapes, f"{key}.1.weight") + 1.5)


def _kernel(
    web: WebModel, shapes: dict[str, list[int]], conv: str, name: str, *, depthwise: bool = False
) -> None:
    value = _seeded(shapes, f"{conv}.weight")
    # (out, in, H, W) to (H, W, in, out), or (C, 1, H, W) to (H, W, C, 1)
    stored = web.add(name, np.moveaxis(value, (2, 3), (0, 1)) if depthwise else value.transpose(2, 3, 1, 0))
    back = np.moveaxis(stored, (0, 1), (2, 3)) if depthwise else stored.transpose(3, 2, 0, 1)
    web.expected[f"{conv}.weight"] = back


def _norm(web: WebModel, shapes: dict[str, list[int]], norm: str, name: str) -> None:
    bias = web.add(name, _seeded(shapes, f"{norm}.bias"))
    web.expected[f"{norm}.bias"] = bias
    web.expected[f"{norm}.weight"] = np.ones_like(bias)
    web.expected[f"{norm}.running_mean"] = np.zeros_like(bias)


def _seeded(shapes: dict[str, list[int]], key: str) -> NDArray[np.float32]:
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    values: NDArray[np.float32] = generator.standard_normal(shapes[key], dtype=np.float32) * np.float32(0.1)
    return values
