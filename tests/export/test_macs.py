"""Multiply-accumulates, counted by hand, in exported graphs and without exporting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rvm_trt import Profile
from rvm_trt.errors import ExportError
from rvm_trt.export.macs import layer_macs, profile_macs
from rvm_trt.options import Refiner, Variant

SMALL = Profile(width=160, height=96, ratio=0.5)
ODD = Profile(width=161, height=97, ratio=0.6)
WHOLE = Profile(width=70, height=90, ratio=1.0)
RESNET = replace(SMALL, variant=Variant.RESNET50)
# Output sides 8 and 16: height (16 + 2 - 3) / 2 + 1, width likewise.
GROUPED = """
<ir_version: 9, opset_import: ["" : 18]>
net (float[2, 8, 16, 32] x) => (float[2, 12, 8, 16] y) {
    [grouped] y = Conv <group = 2, pads = [1, 1, 1, 1], strides = [2, 2]> (x, w)
}
"""
# A pointwise convolution as a quantiser writes it: int8 weights and activations, and no shape but at the ends.
QUANTISED = """
<ir_version: 9, opset_import: ["" : 18]>
net (float[1, 8, 5, 7] x) => (float[1, 6, 5, 7] y) <float scale = {0.1}, int8 zero = {0}> {
    xq = QuantizeLinear (x, scale, zero)
    xd = DequantizeLinear (xq, scale, zero)
    wd = DequantizeLinear <axis = 0> (wq, ws, wz)
    z = Relu (xd)
    [quantised] c = Conv (z, wd)
    y = Relu (c)
}
"""
PRODUCTS = """
<ir_version: 9, opset_import: ["" : 18]>
net (float[3, 4, 5] a, float[5, 6] b, float[7, 2] c, float[8, 7] d) => (float[3, 4, 6] y, float[2, 8] z) {
    [matmul] y = MatMul (a, b)
    [gemm] z = Gemm <transA = 1, transB = 1> (c, d)
}
"""
NAMELESS = """
<ir_version: 9, opset_import: ["" : 18]>
net (float[1, 5] a, float[5, 6] b, float[6, 2] c) => (float[1, 2] z) {
    y = MatMul (a, b)
    z = MatMul (y, c)
}
"""
DYNAMIC = """
<ir_version: 9, opset_import: ["" : 18]>
net (float[1, 8, h, 7] x, float[6, 8, 1, 1] w) => (float[1, 6, h, 7] y) { [wide] y = Conv (x, w) }
"""


def parsed(text: str, **weights: Any) -> onnx.ModelProto:
    """The graph in ONNX's text form, with its weights."""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    return model


def test_a_grouped_convolution_counts_the_channels_of_its_group() -> None:
    model = parsed(GROUPED, w=np.zeros((12, 4, 3, 3), np.float32))
    assert layer_macs(model) == {"grouped": 2 * 12 * 8 * 16 * (8 // 2) * 3 * 3}


def test_a_quantised_convolution_counts_as_the_plain_one() -> None:
    model = parsed(
        QUANTISED, wq=np.zeros((6, 8, 1, 1), np.int8), ws=np.ones(6, np.float32), wz=np.zeros(6, np.int8)
    )
    assert not model.graph.value_info
    assert layer_macs(model) == {"quantised": 6 * 5 * 7 * 8}


def test_matrix_products_count_the_shared_side() -> None:
    assert layer_macs(parsed(PRODUCTS)) == {"matmul": 3 * 4 * 6 * 5, "gemm": 2 * 8 * 7}


def test_nodes_without_names_are_told_apart() -> None:
    assert layer_macs(parsed(NAMELESS)) == {"y": 30, "z": 12}


def test_a_size_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(ExportError, match="wide: got a Conv of unknown size, expected static shapes"):
        layer_macs(parsed(DYNAMIC))


@pytest.mark.parametrize(
    ("profile", "graph"),
    [(ODD, "core"), (replace(ODD, refiner=Refiner.FAST), "core"), (WHOLE, "core"), (RESNET, "full")],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_graph_and_the_network_agree(profile: Profile, graph: str, exported: Callable[..., Path]) -> None:
    model = onnx.load_model(exported(profile, graph))
    layers = layer_macs(model)
    assert len(layers) == sum(node.op_type == "Conv" for node in model.graph.node)
    assert sum(layers.values()) == profile_macs(profile)


def test_the_graph_does_not_need_its_intermediate_shapes(exported: Callable[..., Path]) -> None:
    model = onnx.load_model(exported(ODD))
    del model.graph.value_info[:]
    assert sum(layer_macs(model).values()) == profile_macs(ODD)


def test_counting_leaves_the_graph_as_it_was(exported: Callable[..., Path]) -> None:
    model = onnx.load_model(exported(ODD))
    before = model.SerializeToString(deterministic=True)
    layer_macs(model)
    assert model.SerializeToString(deterministic=True) == before


def test_the_published_total_is_reproduced() -> None:
    assert profile_macs(Profile(width=512, height=288, ratio=1)) == pytest.approx(4.5e9, rel=0.02)


def test_frames_of_one_low_resolution_cost_the_same() -> None:
    totals = {profile_macs(Profile.named(name)) for name in ("720p", "hd", "4k")}
    assert len(totals) == 1
    assert totals != {profile_macs(Profile.named("dci4k"))}


def test_the_count_is_that_of_one_frame() -> None:
    assert profile_macs(replace(SMALL, batch=4)) == profile_macs(SMALL)


def test_filters_cost_what_their_convolutions_do() -> None:
    plain = profile_macs(Profile(width=80, height=48, ratio=1))
    pixels = 80 * 48
    boxes = 4 * 4 * 9 * pixels  # four box filters over four channels
    mlp = (24 * 16 + 16 * 16 + 16 * 4) * pixels
    assert profile_macs(replace(SMALL, refiner=Refiner.FAST)) == plain + boxes
    assert profile_macs(SMALL) == plain + boxes + mlp
