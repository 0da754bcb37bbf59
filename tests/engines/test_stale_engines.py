"""Engines of other inputs are built again, and files are shared only while they are whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from disk_engines import ODD, RTX, described, edit, flip, names

from rvm_trt import Engine, build_engine
from rvm_trt.engines.manifest import SCHEMA
from rvm_trt.engines.provision import provide_engine
from rvm_trt.errors import EngineError, RvmTrtError


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backend_version": "1.3.0.1"}, r"backend_version is '1\.3\.0\.1', expected '1\."),
        ({"targets": ["sm_86", "sm_89"]}, r"targets is \['sm_86', 'sm_89'\], expected \['sm_89'\]"),
        ({"checkpoint_sha256": "e" * 64}, "checkpoint_sha256 is 'eeee.*', expected '"),
        ({"onnx_sha256": "e" * 64}, "onnx_sha256 is 'eeee.*', expected '"),
        ({"made": {}}, "made is {}, expected {"),
        ({"schema": 1}, f"schema 1, expected schema {SCHEMA}"),
    ],
    ids=["version", "targets", "checkpoint", "onnx", "made", "schema"],
)
def test_an_engine_of_other_inputs_is_built_again(
    changes: dict[str, Any], words: str, engine: Engine, graph: Path, builds: list[Path]
) -> None:
    wanted = engine.manifest
    if "schema" in changes:
        edit(engine, lambda data: data.update(changes))
        with pytest.raises(EngineError, match=words):
            Engine.load(engine.path)
    else:
        fields = {name: tuple(value) if name == "targets" else value for name, value in changes.items()}
        replace(wanted, **fields).write(engine.path)
        (difference,) = Engine.load(engine.path).mismatches(wanted)
        assert re.search(words, difference)
    assert build_engine(graph, engines=engine.path.parent, **RTX) == engine
    assert Engine.load(engine.path).mismatches(wanted) == []
    assert len(builds) == 1


def test_the_command_too_notices_a_changed_hash_of_the_graph(
    engine: Engine,
    graph: Path,
    checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    builds: list[Path],
) -> None:
    monkeypatch.setattr("rvm_trt.export.onnx_graph.export_onnx", lambda *_, **__: graph)
    edit(engine, lambda data: data.update(onnx_sha256="e" * 64))
    again = provide_engine(ODD, checkpoint=checkpoint(), engines_dir=engine.path.parent, **RTX)
    assert again == engine
    assert len(builds) == 1


def test_a_graph_that_is_replaced_during_the_build_gives_no_engine_under_its_hash(
    graph: Path, tmp_path: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = described(graph, tmp_path / "core.onnx")

    def meanwhile(*_: object, **__: object) -> None:  # the last step before the graph is read
        described(graph, path, version="another export")

    monkeypatch.setattr("rvm_trt.engines.build.share_engine", meanwhile)
    with pytest.raises(RvmTrtError, match=r"core\.onnx"):
        build_engine(path, engines=tmp_path / "engines", **RTX)
    assert names(tmp_path / "engines") == []
    assert len(builds) <= 1


def test_damage_to_a_shared_file_is_noticed_in_both_engines(
    engine: Engine, graph: Path, twin: Path, builds: list[Path]
) -> None:
    engines = engine.path.parent
    shared = build_engine(twin, engines=engines, **RTX)
    assert builds == []
    assert (shared.path / "engine.plan").samefile(engine.path / "engine.plan")
    flip(shared.path / "engine.plan", 1_000_000)
    for path in (engine.path, shared.path):
        with pytest.raises(EngineError, match=r"engine\.plan does not have the SHA-256"):
            Engine.load(path)
    assert build_engine(graph, engines=engines, **RTX) == engine
    assert len(builds) == 1, "the damaged neighbour must not be shared"
    assert Engine.load(build_engine(twin, engines=engines, **RTX).path) == shared
    assert len(builds) == 1


def test_a_neighbour_that_changes_while_it_is_shared_is_not_taken(
    engine: Engine, twin: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    right, load = engine.manifest.files["engine.plan"], Engine.load

    def loaded_and_replaced(path: Path) -> Engine:
        found = load(path)
        (engine.path / "engine.plan").unlink()
        (engine.path / "engine.plan").write_bytes(b"the plan of another checkpoint")
        return found

    monkeypatch.setattr(Engine, "load", loaded_and_replaced)
    shared = build_engine(twin, engines=engine.path.parent, **RTX)
    assert shared.manifest.files["engine.plan"] == right
    assert len(builds) == 1
