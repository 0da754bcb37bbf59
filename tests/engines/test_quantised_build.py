"""INT8 engines: made from a recipe, for the CPU and for TensorRT, and computing in INT8."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from disk_engines import ADA, ODD
from onnx import TensorProto, helper, numpy_helper

from rvm_trt import Engine, Profile, build_engine
from rvm_trt.engines.bfloat16 import guard_quantisers
from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.openvino import write_openvino
from rvm_trt.engines.openvino_library import HINTS, compile_network
from rvm_trt.engines.plan import read_plan
from rvm_trt.engines.provision import provide_engine
from rvm_trt.engines.quantise import InputRange, quantise
from rvm_trt.engines.recipe import read_recipe
from rvm_trt.errors import OptionError
from rvm_trt.export.graph_info import read_graph_info
from rvm_trt.options import Precision

BUDGET = 1e-3
Exported = Callable[..., Path]


@pytest.fixture
def engines(searched: Any, tmp_path: Path) -> Path:
    """A folder for engines, with the recipe of the search beside it."""
    shutil.copytree(searched.folder, tmp_path / "recipes")
    return tmp_path / "engines"


def quantised_engine(graph: Path, engines: Path, backend: str, footage: CalibrationFootage) -> Engine:
    return build_engine(
        graph, backend=backend, precision="int8", engines=engines, calibration=footage, options=ADA
    )


def convolutions(path: Path) -> Counter[str]:
    """The element types in which OpenVINO executes a model's convolutions."""
    core = openvino.Core()
    compiled = compile_network(core.read_model(path), HINTS)
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
    assert set(engine.manifest.files) == {"engine.xml", "engine.bin", "head.npz", "recipe.json"}
    assert engine.manifest.made["quantisation"] == {"footage": calibration.words, "mad_budget": BUDGET}
    assert read_recipe(engine.file("recipe.json")) == searched.recipe
    assert set(engine.manifest.accuracy) == {"reference", "around", *searched.recipe.held_out}
    assert engine.manifest.accuracy["pha_mad"] <= BUDGET
    assert Engine.load(engine.path) == engine
    assert quantised_engine(searched.graph, engines, "cpu", calibration) == engine
    found, plain = convolutions(engine.file(".xml")), convolutions(built(ODD).file(".xml"))
    assert found["u8"] + found["i8"] == len(searched.recipe.ranges)
    assert not plain["u8"] + plain["i8"]


@pytest.mark.parametrize(
    ("native", "budget", "around"),
    [
        (Precision.BF16, 1.0, "bf16"),
        (Precision.BF16, 0.0, "fp32"),
        (Precision.FP32, 1.0, "fp32"),
    ],
    ids=["within-the-budget", "beyond-it", "no-bfloat16-here"],
)
def test_the_arithmetic_around_int8_is_what_the_budget_and_the_processor_allow(
    native: Precision,
    budget: float,
    around: str,
    searched: Any,
    calibration: CalibrationFootage,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("rvm_trt.engines.openvino.fastest_precision", lambda: native)
    accuracy = write_openvino(
        read_graph_info(searched.graph),
        Precision.INT8,
        tmp_path,
        None,
        searched.recipe,
        held_out=calibration.divide(ODD).held_out,
        mad_budget=budget,
    )
    assert accuracy["around"] == around
    assert accuracy["frames"] == searched.recipe.held_out["frames"]
    found = convolutions(tmp_path / "engine.xml")
    assert found["u8"] + found["i8"] == len(searched.recipe.ranges)
    nodes = openvino.Core().read_model(tmp_path / "engine.xml").get_ordered_ops()
    types = {node.get_element_type().get_type_name() for node in nodes if node.get_type_name() == "Concat"}
    assert ("bf16" in types) == (around != "fp32")
    single = [node for node in nodes if is_single_bias_sum(node)]
    assert len(single) >= len(searched.recipe.ranges)
    assert not [node.get_friendly_name() for node in single if is_rounded(node.input_value(1).get_node())]
    if around == "fp32":
        assert {name: accuracy[name] for name in searched.recipe.held_out} == searched.recipe.held_out


def is_single_bias_sum(node: Any) -> bool:
    return node.get_type_name() == "Add" and (
        node.get_friendly_name().endswith("/Conv") and node.get_element_type().get_type_name() == "f32"
    )


def is_rounded(node: Any) -> bool:
    """Whether what a bias is computed from goes through bfloat16."""
    if node.get_type_name() in ("ShapeOf", "Constant"):
        return bool(node.get_element_type().get_type_name() == "bf16")
    above = any(is_rounded(value.get_node()) for value in node.input_values())
    return above or bool(node.get_element_type().get_type_name() == "bf16")


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
    compiled = compile_network(guarded, HINTS)
    found = compiled(feeds)[0]
    # A level is 0.06, and a wrong one in the upsampled half shows as a tenth of that and more.
    assert np.abs(found - expected).mean() < 1e-3
    assert np.abs(found - expected).max() < 0.1
    assert np.abs(expected).mean() > 1
