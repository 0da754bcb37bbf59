"""Fused graphs: the same tensors and results as the plain ones, fewer nodes, and nothing left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch

from rvm_trt import Profile
from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.export.fusion import STEPS, fuse
from rvm_trt.export.parity import compose
from rvm_trt.options import Refiner
from rvm_trt.resample import sample_frame

Array = npt.NDArray[np.float32]
Results = list[dict[str, Array]]
Frames = Callable[..., list[npt.NDArray[np.uint8]]]
Load = Callable[[Profile, str], onnx.ModelProto]
Run = Callable[..., Results]
ODD = Profile(width=161, height=97, ratio=0.6)
WHOLE = Profile(width=70, height=90, ratio=1.0)
BATCH = Profile(width=160, height=96, ratio=0.5, refiner=Refiner.FAST, batch=2)
RESNET = Profile(width=160, height=96, ratio=0.5, variant="resnet50")  # type: ignore[arg-type]
ALL = {"gates": 8, "aspp": 1, "small-gates": 3, "averages": 5, "gru": 4, "pyramid": 3, "guided-filter": 1}
# Profile, graph, places rewritten. LR-ASPP's average goes with its step; the others are the gates'.
CASES = [
    (ODD, "core", ALL),
    (ODD, "full", ALL),
    (replace(ODD, refiner=Refiner.FAST), "core", ALL),
    (WHOLE, "core", {**ALL, "guided-filter": 0}),
    (BATCH, "full", {**ALL, "gates": 0}),
    (RESNET, "full", {**ALL, "gates": 0, "small-gates": 0, "averages": 0}),
]
IDS = [f"{profile.name}-{graph}" for profile, graph, _ in CASES]
LIMIT = 1e-4
FRAMES = 5


@pytest.fixture(scope="module")
def load(exported: Callable[..., Path]) -> Load:
    """``load(profile, graph)``: the plain graph, another copy each time."""
    return lambda profile, graph: onnx.load_model(exported(profile, graph))


@pytest.fixture(scope="module")
def run(moving_frames: Frames) -> Run:
    """``run(model, profile, graph)``: matte and states of every frame, with the states carried along."""

    def results(model: onnx.ModelProto, profile: Profile, graph: str) -> Results:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        names = [value.name for value in session.get_outputs()]
        states: Sequence[Array] = [np.zeros(s, np.float32) for s in profile.state_shapes]
        frames, found = moving_frames(profile.width, profile.height, FRAMES + profile.batch - 1), []
        for index in range(FRAMES):
            batch = [
                sample_frame(frame, profile.ratio if graph == "core" else 1.0)
                for frame in frames[index : index + profile.batch]
            ]
            feeds = {"src": np.stack(batch), **dict(zip(STATE_INPUTS, states, strict=True))}
            outputs = dict(zip(names, session.run(None, feeds), strict=True))
            states = [outputs[name] for name in STATE_OUTPUTS]
            found.append(composed(outputs, feeds["src"]) if graph == "core" else outputs)
        return found

    return results


@pytest.fixture(scope="module")
def plain(load: Load, run: Run) -> Callable[[Profile, str], Results]:
    """``plain(profile, graph)``: what the plain graph gives, computed once."""
    return cache(lambda profile, graph: run(load(profile, graph), profile, graph))


def composed(outputs: dict[str, Array], src: Array) -> dict[str, Array]:
    """Puts the matte at the core's own size in the place of its coefficients: the fast filter's are large."""
    slope, intercept = (torch.from_numpy(outputs.pop(name)) for name in ("A", "b"))
    fgr, pha = compose(slope, intercept, torch.from_numpy(src))
    return {**outputs, "fgr": fgr.numpy(), "pha": pha.numpy()}


def worst(results: Results, expected: Results) -> dict[str, float]:
    """Largest difference of each output over all frames."""
    return {
        name: max(float(np.abs(a[name] - b[name]).max()) for a, b in zip(results, expected, strict=True))
        for name in expected[0]
    }


def described(values: Sequence[onnx.ValueInfoProto]) -> list[tuple[str, list[int], int]]:
    types = [(value.name, value.type.tensor_type) for value in values]
    return [(name, [axis.dim_value for axis in kind.shape.dim], kind.elem_type) for name, kind in types]


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def check_tidy(model: onnx.ModelProto) -> None:
    graph = model.graph
    onnx.checker.check_model(model, full_check=True)
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    assert not [node.name for node in graph.node if not read.intersection(node.output)]
    assert {tensor.name for tensor in graph.initializer} <= read
    given = [name for node in graph.node for name in node.output]
    assert len(set(given)) == len(given)


@pytest.mark.parametrize(("profile", "graph", "places"), CASES, ids=IDS)
def test_a_fused_graph_gives_the_plain_graph_s_results_over_a_sequence(
    profile: Profile,
    graph: str,
    places: Mapping[str, int],
    load: Load,
    run: Run,
    plain: Callable[[Profile, str], Results],
) -> None:
    model = load(profile, graph)
    assert fuse(model) == places
    check_tidy(model)
    source = load(profile, graph)
    assert described(model.graph.input) == described(source.graph.input)
    assert described(model.graph.output) == described(source.graph.output)
    assert model.metadata_props == source.metadata_props
    assert model.opset_import == source.opset_import
    errors = worst(run(model, profile, graph), plain(profile, graph))
    assert max(errors.values()) <= LIMIT, errors


# Alone, the step of the averages changes all of them, LR-ASPP's too.
@pytest.mark.parametrize(("step", "places"), [*{**ALL, "averages": 9}.items()], ids=list(ALL))
def test_each_step_alone_keeps_the_results(
    step: str, places: int, load: Load, run: Run, plain: Callable[[Profile, str], Results]
) -> None:
    model = load(ODD, "core")
    before = operators(model)
    assert fuse(model, steps=(step,)) == {step: places}
    assert operators(model) != before
    check_tidy(model)
    errors = worst(run(model, ODD, "core"), plain(ODD, "core"))
    assert max(errors.values()) <= LIMIT, errors


def test_the_steps_are_those_named() -> None:
    assert sorted(STEPS) == sorted(ALL)


def test_without_steps_nothing_is_rewritten(load: Load) -> None:
    model = load(ODD, "core")
    assert fuse(model, steps=()) == {}
    assert model == load(ODD, "core")


def test_fusing_a_graph_gives_the_same_bytes_each_time(load: Load) -> None:
    first, second = load(ODD, "core"), load(ODD, "core")
    fuse(first)
    fuse(second)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_steps_that_were_taken_find_nothing_more(load: Load) -> None:
    model = load(ODD, "core")
    fuse(model)
    before = model.SerializeToString(deterministic=True)
    assert set(fuse(model, steps=("gates", "aspp", "averages", "pyramid")).values()) == {0}
    assert model.SerializeToString(deterministic=True) == before


def test_what_tensorrt_splits_into_kernels_is_gone(load: Load) -> None:
    model = load(ODD, "core")
    fuse(model)
    found = operators(model)
    assert not found.keys() & {"GlobalAveragePool", "AveragePool"}
    boxes = [node for node in model.graph.node if node.name.startswith("refiner.box_filter/")]
    assert [node.op_type for node in boxes] == ["Conv"]
    assert found["ConvTranspose"] == 8
    grus = [node for node in model.graph.node if ".gru." in node.name and node.op_type == "Conv"]
    assert len(grus) == 8


def test_a_projection_that_is_kept_has_constant_weights(
    load: Load, run: Run, plain: Callable[[Profile, str], Results]
) -> None:
    model = load(ODD, "core")
    gated = {node.input[0]: node for node in model.graph.node if node.op_type == "Conv"}
    scales = [node for node in model.graph.node if node.op_type == "Mul" and "backbone" in node.name]
    projections = [gated[scale.output[0]] for scale in scales]
    assert len(projections) == 8
    kept = [projections[index] for index in (0, 5)]
    assert fuse(model, keep={node.name for node in kept})["gates"] == 6
    after = {node.name: node for node in model.graph.node}
    assert [after[node.name] for node in kept] == kept
    gone = {node.name for node in projections} - {node.name for node in kept}
    assert not gone & set(after)
    errors = worst(run(model, ODD, "core"), plain(ODD, "core"))
    assert max(errors.values()) <= LIMIT, errors


@pytest.mark.parametrize("layer", ["ih.0", "hh.0"])
def test_a_gru_with_a_convolution_that_is_kept_stays_as_it_is(layer: str, load: Load) -> None:
    model, plain = load(ODD, "core"), load(ODD, "core")
    assert fuse(model, keep={f"decoder.decode2.gru.{layer}/Conv"})["gru"] == 3
    after, before = (
        {node.name: node for node in graph.node if node.name.startswith("decoder.decode2.gru")}
        for graph in (model.graph, plain.graph)
    )
    assert after == before


def test_a_batch_keeps_its_gates(load: Load) -> None:
    model = load(BATCH, "full")
    before = operators(model)
    fuse(model)
    assert operators(model)["HardSigmoid"] == before["HardSigmoid"] == 8
    assert "ConvTranspose" not in operators(model)
