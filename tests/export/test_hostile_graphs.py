"""ONNX files that were not written by the export: what they name, claim and nest is refused before it is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from rvm_trt.errors import ExportError
from rvm_trt.export import graph_info
from rvm_trt.export.graph_info import read_graph_info, seal_graph

NOTES = {
    "graph": "core",
    "precision": "fp32",
    "checkpoint_sha256": "a" * 64,
    "checkpoint_refiner": "deep_guided_filter",
    "torch": "2.13.0",
    "version": "0.1.0",
}
PROFILE = {
    "width": 1920,
    "height": 1080,
    "ratio": 0.25,
    "refiner": "deep_guided_filter",
    "variant": "mobilenetv3",
    "batch": 1,
}


def small_graph(profile: str = json.dumps(PROFILE)) -> onnx.ModelProto:
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["src", "w"], ["pha"])],
        "core",
        [value("src", 1, [1])],
        [value("pha", 1, [1])],
        [onnx.numpy_helper.from_array(np.ones(1, np.float32), "w")],
    )
    model = onnx.helper.make_model(graph)
    notes = {**NOTES, "profile": profile}
    onnx.helper.set_model_props(model, {f"rvm_trt.{key}": text for key, text in notes.items()})
    seal_graph(model)
    return model


def refused(path: Path, model: onnx.ModelProto | bytes) -> str:
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    with pytest.raises(ExportError, match="expected an ONNX file written by rvm-trt") as caught:
        read_graph_info(path)
    assert len(str(caught.value)) < 1500
    return caught.value.got


def external() -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w2", dims=[1], data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def in_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("value", external()))


def in_branch(model: onnx.ModelProto) -> None:
    branch = onnx.GraphProto(name="branch", initializer=[external()])
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("then_branch", branch))


def in_branches(model: onnx.ModelProto) -> None:
    branch = onnx.GraphProto(name="branch", initializer=[external()])
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("branches", [onnx.GraphProto(), branch]))


def in_sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add(dims=[1]).values.CopyFrom(external())


def in_function(model: onnx.ModelProto) -> None:
    node = onnx.NodeProto(op_type="Constant", output=["y"])
    node.attribute.append(onnx.helper.make_attribute("value", external()))
    model.functions.add(name="f", domain="d").node.append(node)


def test_the_small_graph_itself_is_read(tmp_path: Path) -> None:
    (tmp_path / "core.onnx").write_bytes(small_graph().SerializeToString())
    assert read_graph_info(tmp_path / "core.onnx").profile.name == "hd"


def other_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full(1, 2, np.float32), "w"))


@pytest.mark.parametrize(
    "edit",
    [
        other_weights,
        lambda model: model.graph.node.append(onnx.helper.make_node("Relu", ["pha"], ["new"])),
        lambda model: setattr(model.graph.node[0], "op_type", "Sub"),
        lambda model: setattr(model.opset_import[0], "version", 11),
        lambda model: setattr(model.metadata_props[0], "value", "full"),
        lambda model: model.metadata_props.add(key="rvm_trt.note", value="a"),
        lambda model: setattr(model.metadata_props[-1], "value", "a" * 64),
    ],
)
def test_a_graph_or_description_changed_since_the_export_is_refused(
    edit: Callable[[onnx.ModelProto], Any], tmp_path: Path
) -> None:
    model = small_graph()
    edit(model)
    assert "changed since its export" in refused(tmp_path / "core.onnx", model)


def test_a_graph_without_a_seal_as_older_versions_wrote_it_is_refused(tmp_path: Path) -> None:
    model = small_graph()
    del model.metadata_props[-1]
    assert "without the entry 'rvm_trt.seal'" in refused(tmp_path / "core.onnx", model)


def test_a_graph_can_be_sealed_anew(tmp_path: Path) -> None:
    model = small_graph()
    other_weights(model)
    seal_graph(model)
    (tmp_path / "core.onnx").write_bytes(model.SerializeToString())
    assert read_graph_info(tmp_path / "core.onnx").profile.name == "hd"


@pytest.mark.parametrize(
    "place",
    [
        lambda model: model.graph.initializer.append(external()),
        in_attribute,
        in_branch,
        in_branches,
        in_sparse,
        in_function,
    ],
)
def test_weights_in_other_files_are_refused_wherever_they_are_named(
    place: Callable[[onnx.ModelProto], Any], tmp_path: Path
) -> None:
    model = small_graph()
    place(model)
    assert "weights in other files" in refused(tmp_path / "core.onnx", model)


@pytest.mark.parametrize(
    "profile",
    [
        "[" * 50_000,
        "[" * 100 + "]" * 100,
        json.dumps({**PROFILE, "ratio": 10**400}),
        json.dumps({**PROFILE, "width": 10**6}),
        "9" * 6000,
        "7",
        json.dumps({**PROFILE, "variant": "\x1b[2J" * 1000}),
    ],
)
def test_a_profile_that_is_none_is_refused(profile: str, tmp_path: Path) -> None:
    refused(tmp_path / "core.onnx", small_graph(profile))


def test_a_description_that_is_no_text_is_refused(tmp_path: Path) -> None:
    content = small_graph().SerializeToString()
    assert "no text" in refused(tmp_path / "core.onnx", content.replace(b"a" * 64, b"\xff" * 64))


@pytest.mark.parametrize("name", ["core.json", "core.textproto", "core.onnxtxt"])
def test_the_name_of_a_file_does_not_choose_its_parser(name: str, tmp_path: Path) -> None:
    assert "unreadable" in refused(tmp_path / name, b'{"graph": {}}')


def test_a_file_too_large_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_info, "MAX_BYTES", 100)
    assert "more than 100 bytes" in refused(tmp_path / "core.onnx", small_graph())
