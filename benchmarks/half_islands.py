"""Which FP32 islands an FP16 graph might have: the choices that the FP16 report compares."""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx

from rvm_trt.export.float16 import ISLANDS

PRODUCT = "product"
# name → nodes of the fused graph that are no island, but might have been.
CANDIDATES: Mapping[str, str] = {
    "GRU state update": r"decoder\.decode\d\.gru/(?!Concat|Slice).*",
    "LR-ASPP": r"aspp[./].*",
    "rows at 1/16": r"backbone\.features\.([7-9]|1\d)[./].*",
    "output block": r"decoder\.decode0[./].*",
}


def island_choices(fused: onnx.ModelProto) -> dict[str, Mapping[str, str]]:
    """Returns name → islands: none, each of the product's alone, all of them, and all with one candidate more.

    A candidate that the graph has no nodes for is left out.
    """
    choices: dict[str, Mapping[str, str]] = {"none": {}}
    choices |= {f"{name} alone": {name: nodes} for name, nodes in ISLANDS.items()}
    choices[PRODUCT] = ISLANDS
    for name, nodes in CANDIDATES.items():
        if matching_nodes(fused, {name: nodes}):
            choices[f"{PRODUCT} + {name}"] = {**ISLANDS, name: nodes}
    return choices


def matching_nodes(fused: onnx.ModelProto, islands: Mapping[str, str]) -> int:
    """Returns how many of a graph's nodes are on the islands."""
    return sum(any(re.fullmatch(nodes, node.name) for nodes in islands.values()) for node in fused.graph.node)
