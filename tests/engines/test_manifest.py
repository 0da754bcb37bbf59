"""The manifest: written and read back whole, and refused in words however it is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rvm_trt import Profile
from rvm_trt.contract import tensors
from rvm_trt.engines.manifest import NAME, SCHEMA, Manifest, read_manifest
from rvm_trt.errors import EngineError
from rvm_trt.options import Backend, Graph, Precision

HD = Profile.named("hd")
WHOLE = Manifest(
    profile=HD,
    graph=Graph.CORE,
    precision=Precision.BF16,
    backend=Backend.CPU,
    backend_version="2026.4.1",
    tensors=tensors(HD, Graph.CORE),
    targets=("cpu",),
    checkpoint_sha256="a" * 64,
    onnx_sha256="b" * 64,
    files={"engine.xml": "c" * 64, "engine.bin": "d" * 64},
    accuracy={"reference": "the same graph in fp32", "frames": 60, "pha_mad": 0.0004, "pha_max": 0.1},
    made={"rvm_trt": "0.1.0", "source": "0123456789abcdef"},
)
FIELDS = sorted(WHOLE.to_json())


def damaged(folder: Path, change: Callable[[dict[str, Any]], Any]) -> EngineError:
    """Writes a changed manifest and returns the error that reading it gives."""
    data = WHOLE.to_json()
    change(data)
    (folder / NAME).write_text(json.dumps(data))
    return refused(folder)


def refused(folder: Path) -> EngineError:
    with pytest.raises(EngineError) as caught:
        read_manifest(folder)
    message = str(caught.value)
    assert ", expected " in message
    assert "uild the engine" in caught.value.todo
    assert len(message) < 3000
    return caught.value


def test_round_trip(tmp_path: Path) -> None:
    WHOLE.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert read_manifest(tmp_path) == WHOLE
    assert read_manifest(str(tmp_path)) == WHOLE


def test_it_holds_what_the_design_asks_for(tmp_path: Path) -> None:
    WHOLE.write(tmp_path)
    data = json.loads((tmp_path / NAME).read_text())
    assert data["schema"] == SCHEMA
    assert data["tensors"][0] == {
        "name": "src",
        "shape": [1, 3, 270, 480],
        "dtype": "float32",
        "direction": "input",
        "layout": "linear",
    }
    for field in (
        "profile",
        "graph",
        "precision",
        "tensors",
        "backend",
        "backend_version",
        "targets",
        "files",
    ):
        assert field in data
    assert {"checkpoint_sha256", "onnx_sha256", "accuracy", "made"} <= set(data)


def test_the_name_says_profile_graph_precision_and_backend() -> None:
    assert WHOLE.name == "hd-core-bf16-cpu"
    assert replace(WHOLE, profile=Profile.named("4k"), graph=Graph.FULL).name == "4k-full-bf16-cpu"


@pytest.mark.parametrize(
    "change",
    [
        {"profile": Profile.named("4k")},
        {"graph": Graph.FULL},
        {"precision": Precision.FP32},
        {"backend": Backend.TENSORRT},
        {"backend_version": "2026.4.2"},
        {"targets": ("sm_89",)},
        {"checkpoint_sha256": "e" * 64},
        {"onnx_sha256": "e" * 64},
        {"made": {**WHOLE.made, "source": "x"}},
    ],
)
def test_the_key_changes_with_every_input(change: dict[str, Any]) -> None:
    assert replace(WHOLE, **change).key() != WHOLE.key()


def test_the_key_leaves_out_the_results() -> None:
    assert replace(WHOLE, files={}, accuracy={}).key() == WHOLE.key()


def test_the_tensors_of_tensorrt_engines_are_in_half_below_fp32() -> None:
    found = {
        (backend.value, precision.value)
        for backend in (Backend.CPU, Backend.TENSORRT, Backend.TENSORRT_RTX)
        for precision in Precision
        if replace(WHOLE, backend=backend, precision=precision).dtype == "float16"
    }
    gpus = ("tensorrt", "tensorrt-rtx")
    assert {(backend, p) for backend in gpus for p in ("fp16", "int8")} <= found
    assert not {pair for pair in found if pair[0] == "cpu" or pair[1] == "fp32"}


def test_profiles_with_one_network_size_have_one_network_key() -> None:
    same = replace(WHOLE, profile=Profile.named("4k"), onnx_sha256="e" * 64)
    assert same.network_key() == WHOLE.network_key()
    assert same.key() != WHOLE.key()


@pytest.mark.parametrize(
    "change",
    [
        {"profile": Profile.named("hd-portrait")},
        {"profile": Profile.named("hd", batch=2)},
        {"precision": Precision.FP32},
        {"backend": Backend.TENSORRT},
        {"backend_version": "2026.4.2"},
        {"targets": ("sm_89",)},
        {"checkpoint_sha256": "e" * 64},
        {"tensors": tensors(HD, Graph.CORE, dtype="float16")},
        {"made": {**WHOLE.made, "network_sha256": "x"}},
    ],
)
def test_the_network_key_changes_with_whatever_the_files_depend_on(change: dict[str, Any]) -> None:
    assert replace(WHOLE, **change).network_key() != WHOLE.network_key()


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(field: str, tmp_path: Path) -> None:
    assert field in str(damaged(tmp_path, lambda data: data.pop(field)))


@pytest.mark.parametrize("schema", [0, SCHEMA - 1, SCHEMA + 1, str(SCHEMA), None, [SCHEMA]])
def test_another_schema_is_refused_before_anything_else(schema: object, tmp_path: Path) -> None:
    error = damaged(tmp_path, lambda data: [data.clear(), data.update(schema=schema)])
    assert (error.got, error.expected) == (f"schema {schema!r}", f"schema {SCHEMA}")


@pytest.mark.parametrize(
    "change",
    [
        {"profile": "hd"},
        {"profile": {**HD.to_json(), "width": 0}},
        {"profile": {**HD.to_json(), "variant": "resnet18"}},
        {"graph": "half"},
        {"precision": 32},
        {"backend": None},
        {"backend_version": 2026},
        {"tensors": None},
        {"tensors": ["src"]},
        {"tensors": [{"name": "src"}]},
        {"targets": 5},
        {"targets": "cpu"},
        {"targets": [{"sm": 89}]},
        {"checkpoint_sha256": "a" * 63},
        {"checkpoint_sha256": "A" * 64},
        {"onnx_sha256": "g" * 64},
        {"onnx_sha256": None},
        {"onnx_sha256": "a" * 64 + "\n"},
        {"files": ["engine.xml"]},
        {"files": {"engine.xml": "x"}},
        {"files": {"engine.xml": 5}},
        {"accuracy": None},
        {"accuracy": "good"},
        {"accuracy": {"frames": 60}},
        {"accuracy": {**WHOLE.accuracy, "pha_mad": "0.1"}},
        {"accuracy": {**WHOLE.accuracy, "pha_max": float("nan")}},
        {"accuracy": {**WHOLE.accuracy, "frames": True}},
        {"accuracy": {**WHOLE.accuracy, "reference": ["fp32"]}},
        {"accuracy": {**WHOLE.accuracy, "arithmetic": "\x1b[2J"}},
        {"backend_version": "\x1b[2J"},
        {"targets": ["\x1b[2J"]},
        {"made": 3},
    ],
)
def test_malformed_fields_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    damaged(tmp_path, lambda data: data.update(change))


@pytest.mark.parametrize(
    "name",
    [
        "../engine.xml",
        "/etc/passwd",
        "a/b",
        "..",
        ".",
        "",
        ".hidden",
        "a\\b",
        "a b",
        "engine.xml\n",
        "-rf",
        "C:x",
    ],
)
def test_file_names_that_are_paths_are_refused(name: str, tmp_path: Path) -> None:
    damaged(tmp_path, lambda data: data.update(files={name: "c" * 64}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"manifest"',
        b"null",
        b"\xff\xfe{}",
        b'{"schema": 3',
        b"[" * 200_000,
        b'{"schema": ' + b"9" * 6000 + b"}",
    ],
    ids=["empty", "cut", "list", "text", "null", "bytes", "open", "deep", "digits"],
)
def test_what_is_no_json_object_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    refused(tmp_path)


def test_a_huge_file_is_refused_by_its_size(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b" " * (1 << 20) + b"{}")
    assert "more than 1048576 bytes" in refused(tmp_path).got


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    assert "no readable manifest.json" in refused(tmp_path).got
    refused(tmp_path / "missing")
    (tmp_path / NAME).mkdir()
    refused(tmp_path)
