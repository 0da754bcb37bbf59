"""Engines and recipes under damage: one altered bit is noticed, and what is damaged is made again."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disk_engines import RTX, contents, edit, flip, names, unnoticed

from rvm_trt import Engine, build_engine
from rvm_trt.engines import recipe_cache
from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.manifest import NAME
from rvm_trt.engines.quantise import InputRange
from rvm_trt.engines.recipe import Layer, Recipe
from rvm_trt.errors import EngineError
from rvm_trt.export.graph_info import read_graph_info


@pytest.mark.parametrize("name", ["engine.plan", "network.onnx"])
def test_one_altered_bit_anywhere_in_a_file_is_noticed(name: str, engine: Engine) -> None:
    draw, path = random.Random(name), engine.path / name
    size = path.stat().st_size
    for bit in [0, 8 * size - 1, *(draw.randrange(8 * size) for _ in range(30))]:
        flip(path, bit)
        with pytest.raises(
            EngineError, match=f"got {name} does not have the SHA-256 that the manifest names,"
        ):
            Engine.load(engine.path)
        flip(path, bit)
    assert Engine.load(engine.path) == engine


@pytest.mark.parametrize("name", ["engine.plan", "network.onnx"])
def test_a_file_cut_anywhere_or_lengthened_is_noticed(name: str, engine: Engine) -> None:
    draw, path = random.Random(name), engine.path / name
    content = path.read_bytes()
    sizes = sorted((draw.randrange(len(content)) for _ in range(15)), reverse=True)
    path.write_bytes(content + b"\0")
    for size in [len(content) + 1, len(content) - 1, *sizes, 0]:
        os.truncate(path, size)
        with pytest.raises(EngineError, match=f"{name} does not have the SHA-256"):
            Engine.load(engine.path)


def test_a_damaged_plan_is_built_again_by_tensorrt(engine: Engine, graph: Path) -> None:
    before = contents(engine.path)
    flip(engine.path / "engine.plan", 8_000_000)
    again = build_engine(graph, engines=engine.path.parent, **RTX)
    # Not its bytes: a plan lists its outputs in an order that is not always the same.
    assert Engine.load(engine.path) == again
    assert again.manifest.key() == engine.manifest.key()
    assert contents(again.path).keys() == before.keys()
    assert names(engine.path.parent) == [engine.path.name]


def test_one_altered_bit_anywhere_in_the_manifest_is_noticed(engine: Engine) -> None:
    draw, path = random.Random("manifest"), engine.path / NAME
    for _ in range(120):
        bit = draw.randrange(8 * path.stat().st_size)
        flip(path, bit)
        assert not unnoticed(engine, engine.manifest), bit
        flip(path, bit)


def test_a_manifest_cut_anywhere_is_refused(engine: Engine) -> None:
    path, text = engine.path / NAME, (engine.path / NAME).read_bytes()
    draw = random.Random("cut")
    for size in [0, len(text) - 2, *(draw.randrange(len(text) - 2) for _ in range(60))]:
        path.write_bytes(text[:size])
        with pytest.raises(EngineError, match=r"manifest.json: got no JSON \("):
            Engine.load(engine.path)


def edits(data: Any, where: str = "") -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Every value of a manifest changed into another of its kind, and every entry removed."""
    for key, value in list(data.items()) if isinstance(data, dict) else list(enumerate(data)):
        place = f"{where}/{key}"
        yield f"without {place}", lambda holder, key=key: holder.pop(key)
        if isinstance(value, (dict, list)):
            for words, change in edits(value, place):
                yield words, lambda holder, key=key, change=change: change(holder[key])
        else:
            yield place, lambda holder, key=key, value=value: holder.__setitem__(key, other(value))


def other(value: Any) -> Any:
    if isinstance(value, str):
        return {"fp16": "int8", "tensorrt-rtx": "tensorrt", "core": "full"}.get(
            value, value[:-1] + ("0" if value[-1] != "0" else "1")
        )
    return 7 if value is None else value + 1 if isinstance(value, int) else value + 1e-4


def test_every_changed_or_missing_value_of_the_manifest_is_noticed(engine: Engine) -> None:
    data = json.loads((engine.path / NAME).read_text())
    missed = []
    for words, change in edits(data):
        changed = copy.deepcopy(data)
        change(changed)
        (engine.path / NAME).write_text(json.dumps(changed))
        if unnoticed(engine, engine.manifest):
            missed.append(words)
    assert missed == []


def test_figures_of_accuracy_that_were_changed_are_noticed(engine: Engine) -> None:
    edit(engine, lambda data: data["accuracy"].update(pha_mad=0.0))
    with pytest.raises(EngineError, match="manifest"):
        Engine.load(engine.path)


def test_a_plan_that_the_manifest_does_not_name_is_no_engine(
    engine: Engine, graph: Path, builds: list[Path]
) -> None:
    (engine.path / "engine.plan").unlink()
    edit(engine, lambda data: data["files"].pop("engine.plan"))
    with pytest.raises(EngineError, match=r"engine\.plan|manifest"):
        Engine.load(engine.path)
    assert build_engine(graph, engines=engine.path.parent, **RTX) == engine
    assert len(builds) == 1


def test_a_file_that_cannot_be_read_is_an_error_of_the_engine(engine: Engine) -> None:
    plan = engine.path / "engine.plan"
    plan.unlink()
    plan.symlink_to("/proc/self/mem")  # a regular file whose first byte cannot be read
    if not plan.is_file():
        pytest.skip("no /proc")
    with pytest.raises(EngineError, match=r"engine\.plan .*Input/output error"):
        Engine.load(engine.path)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Takes the place of the INT8 search; lists the keys searched for."""
    keys: list[dict[str, Any]] = []

    def find(*_: object, key: dict[str, Any], mad_budget: float, **__: object) -> Recipe:
        keys.append(key)
        layer = Layer(name="a", macs=1000, mad_alone=0.25, dtssd_alone=0.5, int8=True, reason="within")
        return Recipe(
            ranges={"a": InputRange(largest=6.25, scales=(1.5, 2.0))},
            layers=(layer,),
            held_out={"pha_mad": 0.0005},
            mad_budget=mad_budget,
            footage={"clips": ["a.mp4"]},
            key=key,
        )

    monkeypatch.setattr(recipe_cache, "find_recipe", find)
    monkeypatch.setattr(CalibrationFootage, "divide", lambda *_: None)
    return keys


def test_a_damaged_recipe_is_searched_for_again_and_rewritten(
    searches: list[dict[str, Any]], graph: Path, tmp_path: Path
) -> None:
    info = read_graph_info(graph)
    footage = CalibrationFootage(words={"clips": "a"}, read=lambda *_: [])

    def recipe() -> Recipe:
        return recipe_cache.recipe_for(info, footage, mad_budget=1e-3, folder=tmp_path)

    right = recipe()
    (path,) = tmp_path.iterdir()
    text, draw = path.read_bytes(), random.Random("recipe")
    assert (recipe(), len(searches)) == (right, 1)
    for _ in range(10):
        path.write_bytes(text[: draw.randrange(len(text) - 2)])
        assert (recipe(), path.read_bytes()) == (right, text)
    assert len(searches) == 11
    wrong = []
    for _ in range(100):
        bit = draw.randrange(8 * len(text))
        flip(path, bit)
        if recipe() != right:
            wrong.append(path.read_bytes()[max(bit // 8 - 20, 0) : bit // 8 + 20])
        path.write_bytes(text)
    assert wrong == []
