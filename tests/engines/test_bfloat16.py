"""What bfloat16 engines for the CPU keep in FP32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openvino
import pytest
from disk_engines import ODD

_FIRST = "backbone.features.0.1/Conv"
_RESIDUAL = "backbone.features.1/Add"
_LATE = "backbone.features.15.block.0.1/Conv"


@pytest.fixture(scope="module")
def nodes(built: Callable[..., Any]) -> dict[str, Any]:
    model = openvino.Core().read_model(built(ODD, precision="bf16").file(".xml"))
    return {node.get_friendly_name(): node for node in model.get_ordered_ops()}


@pytest.mark.parametrize(
    ("name", "element_type"),
    [(_FIRST, "f32"), (_RESIDUAL, "f32"), ("backbone.features.12/Add", "f32"), (_LATE, "bf16")],
)
def test_the_first_blocks_are_single_to_the_end_of_each_and_the_late_ones_half(
    nodes: dict[str, Any], name: str, element_type: str
) -> None:
    assert nodes[name].get_element_type().get_type_name() == element_type
