"""Engines on disk, as tests build them, damage them and look into them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from rvm_trt import Engine, Profile, build_engine
from rvm_trt.engines.build import find_engine
from rvm_trt.engines.manifest import NAME, Manifest
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import EngineError
from rvm_trt.export.graph_info import seal_graph

ODD = Profile(width=161, height=97, ratio=0.6)
TWIN = replace(ODD, width=160)  # another profile, the same 96×58 network
# Another frame again, as 4K at ratio 0.125 and HD at 0.25.
WIDE = Profile(width=193, height=117, ratio=0.5)
ADA = TensorRtOptions(targets=("sm_89",))
RTX: dict[str, Any] = {"backend": "tensorrt-rtx", "precision": "fp16", "options": ADA}
CPU: dict[str, Any] = {"backend": "cpu", "precision": "fp32"}
MIB = 1 << 20


class Reached(Exception):  # noqa: N818
    """What must not be done again was about to be done."""


def reached(*_: object, **__: object) -> None:
    """Takes the place of what must not be done again."""
    raise Reached


def build(graph: Path, folder: Path, precision: str = "fp16", **options: Any) -> Engine:
    """Builds an engine for TensorRT-RTX into a folder of engines, for Ada unless options say other."""
    return build_engine(graph, **{**RTX, "precision": precision, "engines": folder, **options})


def described(graph: Path, path: Path, **changes: str) -> Path:
    """Writes a graph with other entries in its description, and returns the path."""
    model = onnx.load_model(graph)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    notes.update({f"rvm_trt.{name}": value for name, value in changes.items()})
    onnx.helper.set_model_props(model, notes)
    seal_graph(model)
    onnx.save_model(model, path)
    return path


def names(folder: Path) -> list[str]:
    """Returns the names in a folder, in order."""
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of every file in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def flip(path: Path, bit: int) -> None:
    """Alters one bit of a file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        value = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([value ^ 1 << bit % 8]))


def edit(engine: Engine, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes an engine's manifest, and leaves its seal as it was."""
    data = json.loads((engine.path / NAME).read_text())
    change(data)
    (engine.path / NAME).write_text(json.dumps(data))


def unnoticed(engine: Engine, wanted: Manifest) -> bool:
    """Whether neither loading nor the next build notices that the manifest was changed."""
    try:
        loaded = Engine.load(engine.path)
    except EngineError as error:
        assert engine.path.name in str(error)
        assert error.todo.startswith("Build the engine")
        return False
    differences = loaded.mismatches(wanted)
    assert (find_engine(engine.path, wanted) is None) == bool(differences)
    return not differences
