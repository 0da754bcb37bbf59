"""The tensors that a graph promises, from the profile alone."""

from __future__ import annotations

from typing import Any

import pytest

from rvm_trt import Profile
from rvm_trt.contract import TensorSpec, tensors
from rvm_trt.errors import EngineError
from rvm_trt.options import Graph

HD = Profile.named("hd")
STATES = [(1, 16, 135, 240), (1, 20, 68, 120), (1, 40, 34, 60), (1, 64, 17, 30)]


def named(profile: Profile, graph: Graph, direction: str) -> list[tuple[str, tuple[int, ...]]]:
    return [(spec.name, spec.shape) for spec in tensors(profile, graph) if spec.direction == direction]


def test_the_core_reads_low_resolution_and_gives_coefficients() -> None:
    assert named(HD, Graph.CORE, "input") == [
        ("src", (1, 3, 270, 480)),
        *zip(("r1i", "r2i", "r3i", "r4i"), STATES, strict=True),
    ]
    assert named(HD, Graph.CORE, "output") == [
        ("A", (1, 4, 270, 480)),
        ("b", (1, 4, 270, 480)),
        *zip(("r1o", "r2o", "r3o", "r4o"), STATES, strict=True),
    ]


def test_the_full_graph_reads_and_gives_frames() -> None:
    assert named(HD, Graph.FULL, "input")[0] == ("src", (1, 3, 1080, 1920))
    assert named(HD, Graph.FULL, "output")[:2] == [("fgr", (1, 3, 1080, 1920)), ("pha", (1, 1, 1080, 1920))]
    assert named(HD, Graph.FULL, "input")[1:] == named(HD, Graph.CORE, "input")[1:]


def test_every_tensor_carries_the_batch_and_the_type() -> None:
    specs = tensors(Profile.named("hd", batch=3), Graph.FULL, dtype="float16")
    assert len(specs) == 11
    assert {spec.shape[0] for spec in specs} == {3}
    assert {spec.dtype for spec in specs} == {"float16"}


def test_hd_and_4k_have_one_core() -> None:
    assert tensors(HD, Graph.CORE) == tensors(Profile.named("4k"), Graph.CORE)
    assert tensors(HD, Graph.FULL) != tensors(Profile.named("4k"), Graph.FULL)


def test_a_trunk_gives_hidden_features_channels_last() -> None:
    specs = {spec.name: spec for spec in tensors(HD, Graph.CORE, dtype="float16", trunk=True)}
    assert list(specs) == ["src", "r1i", "r2i", "r3i", "r4i", "hid", "r1o", "r2o", "r3o", "r4o"]
    assert (specs["hid"].shape, specs["hid"].direction) == ((1, 16, 270, 480), "output")
    assert [name for name, spec in specs.items() if spec.layout == "channels_last"] == ["hid"]
    assert [specs[name].shape for name in ("r1i", "r2i", "r3i", "r4i")] == STATES


def test_graphs_that_are_no_trunk_are_linear_throughout() -> None:
    for graph in Graph:
        assert {spec.layout for spec in tensors(HD, graph)} == {"linear"}


def test_json_round_trip() -> None:
    for spec in (*tensors(HD, Graph.CORE), *tensors(HD, Graph.CORE, trunk=True)):
        assert TensorSpec.from_json(spec.to_json()) == spec
        assert type(spec.to_json()["shape"]) is list


@pytest.mark.parametrize(
    "change",
    [
        {"shape": "1x3"},
        {"shape": 3},
        {"shape": [1, 3, 0, 4]},
        {"shape": [1, -3]},
        {"shape": [1.0, 3]},
        {"shape": [True, 3]},
        {"shape": [[1], 3]},
        {"name": 5},
        {"dtype": None},
        {"direction": ["input"]},
        {"layout": "sideways"},
        {"extra": 1},
    ],
)
def test_malformed_tensors_are_refused(change: dict[str, Any]) -> None:
    data = {**tensors(HD, Graph.CORE)[0].to_json(), **change}
    with pytest.raises(EngineError, match="expected name, shape, dtype, direction and layout"):
        TensorSpec.from_json(data)


@pytest.mark.parametrize("field", ["name", "shape", "dtype", "direction", "layout"])
def test_a_tensor_without_a_field_is_refused(field: str) -> None:
    data = tensors(HD, Graph.CORE)[0].to_json()
    del data[field]
    with pytest.raises(EngineError):
        TensorSpec.from_json(data)


@pytest.mark.parametrize("data", [None, "src", 7, ["src"]])
def test_what_is_no_tensor_at_all_is_refused(data: Any) -> None:
    with pytest.raises(EngineError):
        TensorSpec.from_json(data)
