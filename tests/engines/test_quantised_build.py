"""INT8 from footage to engine: calibration, the search and its budget, recipes on disk, and engines made from them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from rvm_trt import Engine, Profile, build_engine
from rvm_trt.engines import recipe_cache
from rvm_trt.engines.bfloat16 import guard_quantisers
from rvm_trt.engines.calibration import calibrate, quantisable
from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.openvino_library import HINTS
from rvm_trt.engines.plan import read_plan
from rvm_trt.engines.provision import provide_engine
from rvm_trt.engines.quantise import InputRange, quantise
from rvm_trt.engines.recipe import Recipe, read_recipe
from rvm_trt.engines.recipe_cache import recipe_for
from rvm_trt.engines.sensitivity import find_recipe
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.export.graph_info import read_graph_info
from rvm_trt.export.macs import layer_macs

ODD = Profile(width=161, height=97, ratio=0.6)
WIDE = Profile(width=193, height=117, ratio=0.5)  # another frame, the same network
ADA = TensorRtOptions(targets=("sm_89",))
BUDGET = 1e-3
Array = npt.NDArray[np.float32]
Patcher = Callable[[pytest.MonkeyPatch], None]
Exported = Callable[..., Path]


class Reached(Exception):  # noqa: N818
    """What must not be done again was about to be done."""


def reached(*_: object, **__: object) -> None:
    raise Reached


@pytest.fixture
def model(exported: Exported) -> onnx.ModelProto:
    return onnx.load_model(exported(ODD))


@pytest.fixture
def engines(searched: Any, tmp_path: Path) -> Path:
    """A folder for engines, with the recipe of the search beside it."""
    shutil.copytree(searched.folder, tmp_path / "recipes")
    return tmp_path / "engines"


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails whatever searches."""
    monkeypatch.setattr(recipe_cache, "find_recipe", reached)


def numbered(count: int) -> CalibrationFootage:
    """Two clips of flat pictures that can be told apart by their value."""

    def read(width: int, height: int) -> list[list[npt.NDArray[np.uint8]]]:
        return [
            [np.full((height, width, 3), 100 * clip + index, np.uint8) for index in range(count)]
            for clip in range(2)
        ]

    return CalibrationFootage(words={"clips": ["a", "b"]}, read=read)


@pytest.mark.parametrize("count", [8, 16, 37])
def test_footage_is_divided_into_parts_that_share_no_frame(count: int) -> None:
    footage = numbered(count)
    parts = footage.divide(ODD)
    assert parts.words == footage.words
    for clip in range(2):
        values = [
            [round(float(frame[0, 0, 0, 0]) * 255) - 100 * clip for frame in part[clip]]
            for part in (parts.calibration, parts.search, parts.held_out)
        ]
        assert all(values)
        assert [value for part in values for value in part] == list(range(count)), (
            "every frame once, each part a run of consecutive ones"
        )
        assert len(values[2]) >= count // 2
    assert parts.frames == 2 * count
    frame = parts.held_out[0][0]
    assert (frame.shape, frame.dtype) == ((1, 3, ODD.low_height, ODD.low_width), np.float32)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_clip_that_is_too_short_is_refused(count: int, exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=rf"calibration: got {count} frames, expected clips of at least 8"):
        numbered(count).divide(ODD)
    with pytest.raises(OptionError, match=f"got {count} frames"):
        build_engine(
            exported(ODD),
            backend="cpu",
            precision="int8",
            calibration=numbered(count),
            engines=tmp_path / "engines",
        )
    assert not list(tmp_path.rglob("manifest.json"))


def test_footage_without_clips_is_refused() -> None:
    with pytest.raises(OptionError, match="calibration: got 0 frames"):
        CalibrationFootage(words={}, read=lambda *_: []).divide(ODD)


def test_only_the_decoder_s_dense_convolutions_are_candidates(model: onnx.ModelProto) -> None:
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = quantisable(model)
    nodes = {node.name: node for node in model.graph.node if node.op_type == "Conv"}
    assert {f"decoder.decode3.gru.{gate}.0/Conv" for gate in ("ih", "hh")} <= set(found) <= set(nodes)
    for name, tensor in found.items():
        assert nodes[name].input[0] == tensor
        assert min(weights[nodes[name].input[1]][:2]) >= 16, name
    assert not [name for name in found if not name.startswith("decoder.")]
    assert "project_mat.conv/Conv" not in found


@pytest.fixture(scope="module")
def calibrated(exported: Exported, calibration: CalibrationFootage) -> dict[str, InputRange]:
    return calibrate(onnx.load_model(exported(ODD)), ODD, calibration.divide(ODD).calibration)


def test_calibration_gives_every_candidate_a_range_and_repeats(
    calibrated: dict[str, InputRange], model: onnx.ModelProto, calibration: CalibrationFootage
) -> None:
    counted: list[int] = []
    parts = calibration.divide(ODD).calibration
    again = calibrate(model, ODD, parts, progress=lambda: counted.append(1))
    assert again == calibrated
    assert len(counted) == sum(map(len, parts))
    assert set(calibrated) == set(quantisable(model))
    for name, given in calibrated.items():
        assert np.isfinite(given.largest) and given.largest > 0, name


def test_ranges_hold_what_the_convolutions_read_with_states_rolled_out(
    calibrated: dict[str, InputRange], model: onnx.ModelProto, calibration: CalibrationFootage
) -> None:
    inputs = quantisable(model)
    (frames,) = calibration.divide(ODD).calibration
    seen = tensors_over(model, frames, sorted(set(inputs.values())))
    for name, given in calibrated.items():
        values = np.abs(np.concatenate(seen[inputs[name]])).max(axis=(0, 2, 3))
        scales = np.ones(1) if given.scales is None else np.array(given.scales)
        assert given.largest == pytest.approx(float((values / scales).max()), rel=1e-3), name
        means = np.concatenate(seen[inputs[name]]).mean(axis=(0, 2, 3))
        np.testing.assert_allclose(given.means, means, rtol=1e-2, atol=1e-3 * np.abs(values).max())


def tensors_over(model: onnx.ModelProto, frames: Any, names: list[str]) -> dict[str, list[Array]]:
    """Runs the core over frames in ONNX Runtime, states carried, and returns the named tensors of each frame."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [value.name for value in session.get_outputs()]
    states = {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()[1:]}
    seen: dict[str, list[Array]] = {name: [] for name in names}
    for src in frames:
        given = dict(zip(outputs, session.run(None, {"src": src, **states}), strict=True))
        states = {f"r{index}i": given[f"r{index}o"] for index in range(1, 5)}
        for name in names:
            seen[name].append(given[name])
    return seen


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


def quantised_engine(graph: Path, engines: Path, backend: str, footage: CalibrationFootage) -> Engine:
    return build_engine(
        graph, backend=backend, precision="int8", engines=engines, calibration=footage, options=ADA
    )


def convolutions(path: Path) -> Counter[str]:
    """The element types in which OpenVINO executes a model's convolutions."""
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", HINTS)
    found: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = {key: getattr(value, "value", value) for key, value in node.get_rt_info().items()}
        if "Convolution" in str(facts["layerType"]):
            found[str(facts["runtimePrecision"])] += 1
    return found


@pytest.mark.usefixtures("no_search")
def test_the_cpu_engine_executes_its_chosen_layers_in_int8(
    searched: Any,
    engines: Path,
    calibration: CalibrationFootage,
    built: Callable[..., Engine],
) -> None:
    engine = quantised_engine(searched.graph, engines, "cpu", calibration)
    assert engine.path.name == "161x97-r0.6-core-int8-cpu"
    assert set(engine.manifest.files) == {"engine.xml", "engine.bin", "recipe.json"}
    assert engine.manifest.made["quantisation"] == {"footage": calibration.words, "mad_budget": BUDGET}
    assert read_recipe(engine.file("recipe.json")) == searched.recipe
    assert {**searched.recipe.held_out} == {
        name: engine.manifest.accuracy[name] for name in searched.recipe.held_out
    }
    assert Engine.load(engine.path) == engine
    assert quantised_engine(searched.graph, engines, "cpu", calibration) == engine
    found, plain = convolutions(engine.file(".xml")), convolutions(built(ODD).file(".xml"))
    assert found["u8"] + found["i8"] == len(searched.recipe.ranges)
    assert not plain["u8"] + plain["i8"]


@pytest.mark.usefixtures("no_search")
def test_the_tensorrt_engine_is_made_from_the_same_recipe(
    searched: Any, engines: Path, calibration: CalibrationFootage
) -> None:
    one, other = (
        quantised_engine(searched.graph, folder, "tensorrt-rtx", calibration)
        for folder in (engines, engines.parent / "others")
    )
    assert {"engine.plan", "network.onnx", "recipe.json"} <= set(one.manifest.files)
    assert one.manifest == other.manifest, "equal inputs, equal bytes"
    assert read_recipe(one.file("recipe.json")) == searched.recipe
    assert Engine.load(one.path) == one
    plan = read_plan(one.path / "engine.plan")
    quantised = {
        layer
        for kernel in plan.kernels
        if "convolution" in kernel.kind and any(plan.tensors[name].dtype == "int8" for name in kernel.inputs)
        for layer in kernel.layers
    }
    assert set(searched.recipe.ranges) <= quantised
    accuracy = one.manifest.accuracy
    assert accuracy["frames"] == 8
    # Around INT8 there is FP16 now: not the search's figure, and near it.
    assert 0.3 < accuracy["pha_mad"] / searched.recipe.held_out["pha_mad"] < 3


@pytest.mark.parametrize(("backend", "graph", "batch"), [("cpu", "full", 1), ("tensorrt-rtx", "core", 2)])
@pytest.mark.usefixtures("no_search")
@pytest.mark.usefixtures("cached_exports")
def test_the_full_graph_and_batches_are_quantised_by_the_core_s_recipe(
    backend: str,
    graph: str,
    batch: int,
    searched: Any,
    engines: Path,
    calibration: CalibrationFootage,
    checkpoint: Callable[..., Path],
) -> None:
    engine = provide_engine(
        replace(ODD, batch=batch),
        graph=graph,
        backend=backend,
        precision="int8",
        checkpoint=checkpoint(),
        engines_dir=engines,
        options=ADA,
        calibration=calibration,
    )
    assert (engine.manifest.graph.value, engine.profile.batch) == (graph, batch)
    assert read_recipe(engine.file("recipe.json")) == searched.recipe
    assert Engine.load(engine.path) == engine


@pytest.mark.parametrize(("profile", "graph"), [(ODD, "full"), (replace(ODD, batch=2), "core")])
def test_without_the_core_graph_other_graphs_cannot_be_searched(
    profile: Profile, graph: str, exported: Exported, calibration: CalibrationFootage, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=f"core: got the {graph} graph with batch {profile.batch}"):
        quantised_engine(exported(profile, graph), tmp_path / "engines", "cpu", calibration)
    assert not (tmp_path / "engines").exists()


def joined_graph() -> onnx.ModelProto:
    """A convolution that reads an upsampled tensor and another one, joined."""
    weight = np.random.default_rng(3).standard_normal((32, 32, 3, 3)) * 0.1
    nodes = [
        helper.make_node("Resize", ["x", "", "sizes"], ["up"], "up/Resize", mode="linear"),
        helper.make_node("Concat", ["up", "y"], ["joined"], "join/Concat", axis=1),
        helper.make_node("Conv", ["joined", "weight"], ["z"], "decoder/Conv", pads=[1] * 4),
    ]
    shapes = {"x": (1, 16, 12, 12), "y": (1, 16, 24, 24), "z": (1, 32, 24, 24)}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    stored = [
        numpy_helper.from_array(weight.astype(np.float32), "weight"),
        numpy_helper.from_array(np.float32([1, 1, 2, 2]), "sizes"),
    ]
    graph = helper.make_graph(nodes, "joined", values[:2], values[2:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_guarded_quantiser_stays_below_the_concatenation_that_feeds_it() -> None:
    model = joined_graph()
    quantise(model, {"decoder/Conv": InputRange(largest=8.0)})
    generator = np.random.default_rng(4)
    feeds = {
        "x": generator.standard_normal((1, 16, 12, 12)).astype(np.float32),
        "y": generator.uniform(-0.5, 8, (1, 16, 24, 24)).astype(np.float32),
    }
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    (expected,) = session.run(None, feeds)
    core = openvino.Core()
    guarded = core.read_model(model.SerializeToString())
    guard_quantisers(guarded)
    compiled = core.compile_model(guarded, "CPU", HINTS)
    found = compiled(feeds)[0]
    # A level is 0.06, and a wrong one in the upsampled half shows as a tenth of that and more.
    assert np.abs(found - expected).mean() < 1e-3
    assert np.abs(found - expected).max() < 0.1
    assert np.abs(expected).mean() > 1
