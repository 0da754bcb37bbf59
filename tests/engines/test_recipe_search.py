"""The search for an INT8 recipe: its budget, what it keeps on disk, and when it is run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from disk_engines import ODD, WIDE, Reached

from rvm_trt.engines import recipe_cache
from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.recipe import Recipe, read_recipe
from rvm_trt.engines.recipe_cache import recipe_for
from rvm_trt.engines.sensitivity import find_recipe
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.export.graph_info import read_graph_info
from rvm_trt.export.macs import layer_macs

BUDGET = 1e-3
Patcher = Callable[[pytest.MonkeyPatch], None]
Exported = Callable[..., Path]


@pytest.fixture
def model(exported: Exported) -> onnx.ModelProto:
    return onnx.load_model(exported(ODD))


def test_the_recipe_is_within_its_budget_on_held_out_footage(
    searched: Any, calibration: CalibrationFootage
) -> None:
    recipe: Recipe = searched.recipe
    assert 0 < recipe.held_out["pha_mad"] <= BUDGET == recipe.mad_budget
    assert recipe.held_out["frames"] == sum(map(len, calibration.divide(ODD).held_out)) == 8
    assert recipe.footage == calibration.words


def test_the_recipe_accounts_for_every_convolution(searched: Any, model: onnx.ModelProto) -> None:
    recipe: Recipe = searched.recipe
    assert {layer.name: layer.macs for layer in recipe.layers} == layer_macs(model)
    assert {layer.name for layer in recipe.layers if layer.int8} == set(recipe.ranges)
    measured = {layer.name for layer in recipe.layers if layer.mad_alone is not None}
    assert len(measured) == 4
    assert 0 < len(recipe.ranges) < 4, "a budget that some layers fit and all do not"
    assert all(layer.reason for layer in recipe.layers)
    total = sum(layer.macs for layer in recipe.layers)
    assert recipe.share == sum(layer.macs for layer in recipe.layers if layer.int8) / total


@pytest.mark.parametrize("budget", [3e-4, 1e-2])
def test_a_larger_budget_never_quantises_less(
    budget: float,
    searched: Any,
    model: onnx.ModelProto,
    calibration: CalibrationFootage,
    few_candidates: Patcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_candidates(monkeypatch)
    told: list[tuple[str, int, int]] = []
    recipe = find_recipe(
        model,
        ODD,
        calibration.divide(ODD),
        mad_budget=budget,
        progress=lambda *facts: told.append(facts),
    )
    assert recipe.held_out["pha_mad"] <= budget
    less, more = (recipe, searched.recipe) if budget < BUDGET else (searched.recipe, recipe)
    assert set(less.ranges) < set(more.ranges)
    assert less.share < more.share
    assert all(recipe.ranges[name] == searched.recipe.ranges[name] for name in less.ranges)
    assert len({what for what, _, _ in told}) == 4
    assert all(0 <= done <= total for _, done, total in told)


def test_a_budget_that_nothing_fits_is_an_error(
    model: onnx.ModelProto,
    calibration: CalibrationFootage,
    few_candidates: Patcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_candidates(monkeypatch)
    with pytest.raises(
        EngineError, match="INT8: got no layer that stays within a mean error of 1e-09"
    ) as caught:
        find_recipe(model, ODD, calibration.divide(ODD), mad_budget=1e-9)
    assert "--mad-budget" in caught.value.todo


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan")])
def test_a_budget_that_is_none_is_refused(
    budget: float, model: onnx.ModelProto, calibration: CalibrationFootage
) -> None:
    with pytest.raises(OptionError, match="mad-budget"):
        find_recipe(model, ODD, calibration.divide(ODD), mad_budget=budget)


def test_a_recipe_is_read_back_as_it_was(searched: Any, tmp_path: Path) -> None:
    searched.recipe.write(tmp_path / "recipe.json")
    assert read_recipe(tmp_path / "recipe.json") == searched.recipe
    data = json.loads((tmp_path / "recipe.json").read_text())
    assert data["int8_share_of_macs"] == round(searched.recipe.share, 4)


def cut(text: str) -> str:
    return text[: len(text) // 2]


def edited(**change: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **change})


DAMAGES = {
    "cut": cut,
    "empty": lambda _: "",
    "list": lambda _: "[]",
    "schema": edited(schema=99),
    "ranges": edited(ranges={"x": {"largest": "wide", "scales": None, "means": None}}),
    "layers": edited(layers=[{"name": "x"}]),
    "no ranges": edited(ranges=None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_recipe_is_refused(damage: str, searched: Any, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    searched.recipe.write(path)
    path.write_text(DAMAGES[damage](path.read_text()))
    with pytest.raises(EngineError, match="no readable recipe"):
        read_recipe(path)


@pytest.mark.usefixtures("no_search")
def test_a_search_is_not_run_again(searched: Any, calibration: CalibrationFootage) -> None:
    info = read_graph_info(searched.graph)
    assert recipe_for(info, calibration, mad_budget=BUDGET, folder=searched.folder) == searched.recipe


@pytest.mark.usefixtures("no_search")
def test_another_profile_with_the_same_network_shares_the_recipe(
    searched: Any, exported: Exported, calibration: CalibrationFootage
) -> None:
    info = read_graph_info(exported(WIDE))
    assert recipe_for(info, calibration, mad_budget=BUDGET, folder=searched.folder) == searched.recipe


@pytest.mark.usefixtures("no_search")
def test_another_budget_clip_source_or_library_searches_again(
    searched: Any, calibration: CalibrationFootage, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = read_graph_info(searched.graph)
    for footage, budget in ((calibration, 2e-3), (replace(calibration, words={"clips": ["x"]}), BUDGET)):
        with pytest.raises(Reached):
            recipe_for(info, footage, mad_budget=budget, folder=searched.folder)
    for name, value in (
        ("openvino.__version__", "2099.1"),
        ("rvm_trt.engines.recipe_cache.source_digest", lambda *_: "another"),
    ):
        with monkeypatch.context() as patch, pytest.raises(Reached):
            patch.setattr(name, value)
            recipe_for(info, calibration, mad_budget=BUDGET, folder=searched.folder)


def test_a_damaged_recipe_on_disk_is_searched_again_and_replaced(
    searched: Any, calibration: CalibrationFootage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "recipes"
    shutil.copytree(searched.folder, folder)
    (path,) = folder.iterdir()
    path.write_text(cut(path.read_text()))
    monkeypatch.setattr(recipe_cache, "find_recipe", lambda *_, key, **__: replace(searched.recipe, key=key))
    found = recipe_for(read_graph_info(searched.graph), calibration, mad_budget=BUDGET, folder=folder)
    assert found == searched.recipe == read_recipe(path)
