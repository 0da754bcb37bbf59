"""Building: whole engines only, built once, and built again when anything changed that they are made of."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from disk_engines import described

from rvm_trt import Engine, Profile, build_engine
from rvm_trt.engines.manifest import NAME
from rvm_trt.errors import DependencyError, EngineError, ExportError, FrameError, OptionError
from rvm_trt.files import sha256_file
from rvm_trt.options import Backend, Graph, Precision

ODD = Profile(width=161, height=97, ratio=0.6)
Exported = Callable[..., Path]


@pytest.fixture
def graph(exported: Exported) -> Path:
    return exported(ODD)


@pytest.fixture
def engine(graph: Path, tmp_path: Path) -> Engine:
    """An engine of the test's own, which it may damage."""
    return build_engine(graph, backend="cpu", engines=tmp_path / "engines")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def stamps(engine: Engine) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in engine.path.iterdir()}


def test_an_engine_is_a_folder_with_a_manifest(engine: Engine, graph: Path, tmp_path: Path) -> None:
    assert engine.path == tmp_path / "engines" / "161x97-r0.6-core-fp32-cpu"
    assert set(contents(engine.path)) == {"engine.xml", "engine.bin", "head.npz", NAME}
    assert [path.name for path in engine.path.parent.iterdir()] == [engine.path.name]
    manifest = engine.manifest
    assert (manifest.profile, manifest.graph, manifest.precision) == (ODD, Graph.CORE, Precision.FP32)
    assert (manifest.backend, manifest.targets, manifest.onnx_sha256) == (
        Backend.CPU,
        ("cpu",),
        sha256_file(graph),
    )
    files = ("engine.xml", "engine.bin", "head.npz")
    assert manifest.files == {name: sha256_file(engine.path / name) for name in files}


def test_a_loaded_engine_equals_the_built_one(engine: Engine) -> None:
    assert Engine.load(engine.path) == Engine.load(str(engine.path)) == engine
    assert engine.profile == ODD
    assert engine.mismatches() == engine.damages() == []
    assert engine.file(".xml").is_file()
    with pytest.raises(EngineError, match=r"a file ending in \.plan"):
        engine.file(".plan")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_builds_have_the_same_bytes(precision: str, graph: Path, tmp_path: Path) -> None:
    one, other = (
        build_engine(graph, backend="cpu", precision=precision, engines=tmp_path / name)
        for name in ("one", "other")
    )
    assert contents(one.path) == contents(other.path)


def test_precisions_have_engines_of_their_own(engine: Engine, graph: Path) -> None:
    other = build_engine(graph, backend="auto", precision="bf16", engines=engine.path.parent)
    assert other.path.name == "161x97-r0.6-core-bf16-cpu"
    assert other.manifest.files != engine.manifest.files
    assert Engine.load(engine.path) == engine


def test_what_is_current_is_not_built_again(engine: Engine, graph: Path) -> None:
    before = stamps(engine)
    assert build_engine(graph, backend="cpu", engines=engine.path.parent) == engine
    assert build_engine(graph, backend="auto", engines=str(engine.path.parent)) == engine
    assert stamps(engine) == before


def test_force_builds_again(engine: Engine, graph: Path) -> None:
    before = stamps(engine)
    assert build_engine(graph, backend="cpu", engines=engine.path.parent, force=True) == engine
    assert all(stamps(engine)[name] > stamp for name, stamp in before.items())


def rebuilt(engine: Engine, graph: Path, **options: Any) -> Engine:
    before = stamps(engine)
    again = build_engine(graph, backend="cpu", engines=engine.path.parent, **options)
    assert again.path == engine.path
    assert stamps(again) != before
    assert Engine.load(again.path) == again
    return again


def test_a_new_builder_version_builds_again(
    engine: Engine, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openvino.__version__", "2099.1")
    assert rebuilt(engine, graph).manifest.backend_version == "2099.1"


def test_a_change_of_our_source_builds_again(
    engine: Engine, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rvm_trt.engines.describe.source_digest", lambda *_: "another")
    assert rebuilt(engine, graph).manifest.made["source"] == "another"


def test_our_source_is_that_of_every_stage_that_shapes_the_engine(
    engine: Engine, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("rvm_trt.engines.describe.source_digest", lambda *names: asked.extend(names) or "")
    rebuilt(engine, graph)
    assert {"rvm_trt.export", "rvm_trt.engines"} <= set(asked)


def test_a_graph_of_another_checkpoint_builds_again(engine: Engine, graph: Path, tmp_path: Path) -> None:
    described(graph, tmp_path / "other.onnx", checkpoint_sha256="e" * 64)
    again = rebuilt(engine, tmp_path / "other.onnx")
    assert again.manifest.checkpoint_sha256 == "e" * 64


@pytest.mark.parametrize("name", ["engine.xml", "engine.bin", NAME])
@pytest.mark.parametrize("damage", ["remove", "cut", "alter"])
def test_a_damaged_engine_is_built_again(name: str, damage: str, engine: Engine, graph: Path) -> None:
    whole = contents(engine.path)
    spoil(engine.path / name, damage)
    rebuilt(engine, graph)
    assert contents(engine.path) == whole


def spoil(path: Path, damage: str) -> None:
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:-10] + bytes(byte ^ 1 for byte in content[-10:]))


@pytest.mark.parametrize("name", ["engine.xml", "engine.bin"])
@pytest.mark.parametrize(
    ("damage", "words"), [("remove", "is missing"), ("cut", "SHA-256"), ("alter", "SHA-256")]
)
def test_a_damaged_engine_is_not_loaded(name: str, damage: str, words: str, engine: Engine) -> None:
    spoil(engine.path / name, damage)
    with pytest.raises(EngineError, match=f"{name}.*{words}.*Build the engine again"):
        Engine.load(engine.path)


def test_every_damaged_file_is_named(engine: Engine) -> None:
    spoil(engine.path / "engine.xml", "remove")
    spoil(engine.path / "engine.bin", "alter")
    assert len(engine.damages()) == 2


def edit(engine: Engine, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads((engine.path / NAME).read_text())
    change(data)
    (engine.path / NAME).write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.update(files={}), "names no file"),
        (lambda data: data["tensors"].pop(), "9 tensors, expected 10"),
        (lambda data: data["tensors"][0].update(shape=[1, 3, 58, 97]), "tensor src is"),
        (lambda data: data["tensors"][5].update(name="a"), "expected hid"),
        (lambda data: data["tensors"][0].update(direction="output"), "tensor src"),
        (lambda data: data["tensors"][0].update(dtype="float16"), "float16"),
        (lambda data: data["profile"].update(width=171), "tensor src is"),
        (lambda data: data.update(graph="full"), "expected"),
    ],
    ids=["files", "count", "shape", "name", "direction", "dtype", "profile", "graph"],
)
def test_a_manifest_whose_tensors_are_not_the_profiles_is_not_loaded(
    change: Callable[[dict[str, Any]], Any], words: str, engine: Engine
) -> None:
    edit(engine, change)
    with pytest.raises(EngineError, match=words):
        Engine.load(engine.path)


def test_mismatches_say_in_words_what_differs_from_a_wanted_engine(engine: Engine, graph: Path) -> None:
    other = build_engine(graph, backend="cpu", precision="bf16", engines=engine.path.parent)
    assert engine.mismatches(other.manifest) == ["precision is 'fp32', expected 'bf16'"]


def failing(_model: Any, path: Path, **_: Any) -> None:
    path.write_bytes(b"half")
    raise RuntimeError("Exception from src/core.cpp:\nno space left on device")


def test_a_failing_builder_leaves_nothing(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openvino.save_model", failing)
    with pytest.raises(EngineError, match="OpenVINO's refusal: no space left on device") as caught:
        build_engine(graph, backend="cpu", engines=tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_builder_keeps_the_old_engine(
    engine: Engine, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openvino.save_model", failing)
    with pytest.raises(EngineError):
        build_engine(graph, backend="cpu", engines=engine.path.parent, force=True)
    assert Engine.load(engine.path) == engine
    assert [path.name for path in engine.path.parent.iterdir()] == [engine.path.name]


@pytest.mark.parametrize(
    ("backend", "precision", "offered"),
    [
        ("cpu", "fp16", "'fp32' or 'bf16' or 'int8'"),
        ("tensorrt-rtx", "bf16", "'fp32' or 'fp16' or 'int8'"),
        ("tensorrt", "bf16", "'fp32' or 'fp16' or 'int8'"),
    ],
)
def test_precisions_that_a_backend_does_not_offer(
    backend: str, precision: str, offered: str, graph: Path, tmp_path: Path
) -> None:
    words = f"precision: got '{precision}' for the {backend} backend, expected {offered}"
    with pytest.raises(OptionError, match=words):
        build_engine(graph, backend=backend, precision=precision, engines=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["cpu", "tensorrt-rtx"])
def test_int8_needs_footage(backend: str, graph: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="calibration: got none, expected footage of people") as caught:
        build_engine(graph, backend=backend, precision="int8", engines=tmp_path)
    assert "--calibration" in caught.value.todo
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("backend", "module", "extra"),
    [
        ("tensorrt", "tensorrt", "tensorrt"),
        ("tensorrt-rtx", "tensorrt_rtx", "rtx"),
        ("cpu", "openvino", "cpu"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    backend: str, module: str, extra: str, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyError, match=rf"rvm-trt\[{extra}\]"):
        build_engine(graph, backend=backend, engines=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [{"backend": "tpu"}, {"precision": "fp64"}])
def test_unknown_options_are_refused(option: dict[str, Any], graph: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="one of "):
        build_engine(graph, **{"backend": "cpu", **option}, engines=tmp_path)


def test_foreign_onnx_is_refused(graph: Path, tmp_path: Path) -> None:
    model = onnx.load_model(graph)
    del model.metadata_props[:]
    onnx.save_model(model, tmp_path / "foreign.onnx")
    for path in (tmp_path / "foreign.onnx", tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(ExportError, match="expected an ONNX file written by rvm-trt"):
            build_engine(path, backend="cpu", engines=tmp_path / "engines")
    assert not (tmp_path / "engines").exists()


def test_accuracy_is_measured_on_the_footage(
    graph: Path, tmp_path: Path, moving_frames: Callable[..., list[np.ndarray]]
) -> None:
    frames = moving_frames(161, 97, 3)
    exact = build_engine(graph, backend="cpu", engines=tmp_path, footage=frames).manifest.accuracy
    rounded = build_engine(graph, backend="cpu", precision="bf16", engines=tmp_path, footage=iter(frames))
    accuracy = Engine.load(rounded.path).manifest.accuracy
    assert (exact["frames"], accuracy["frames"]) == (3, 3)
    assert exact["pha_max"] < 1e-4
    assert 1e-5 < accuracy["pha_mad"] <= accuracy["pha_max"]
    assert "fp32" in accuracy["reference"]


@pytest.mark.parametrize("shape", [(96, 161, 3), (97, 161, 4), (97, 161)])
def test_footage_of_another_size_is_an_error_of_the_frame(
    shape: tuple[int, ...], graph: Path, tmp_path: Path
) -> None:
    with pytest.raises(FrameError):
        build_engine(graph, backend="cpu", engines=tmp_path, footage=[np.zeros(shape, np.uint8)])
    assert list(tmp_path.iterdir()) == []


def test_footage_without_frames_is_refused_and_nothing_is_left(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="footage: got no frame"):
        build_engine(graph, backend="cpu", engines=tmp_path, footage=[])
    assert list(tmp_path.iterdir()) == []


def test_a_moved_engine_still_loads(engine: Engine, tmp_path: Path) -> None:
    moved = shutil.move(engine.path, tmp_path / "elsewhere")
    assert Engine.load(moved).manifest == engine.manifest
