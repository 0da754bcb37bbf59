"""The figures of the report on FP16: what they see, what feeds the networks, and the choices of islands."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from rvm_trt.benchmarks.half_accuracy import (
    AlphaNetwork,
    HalfError,
    back_and_forth,
    clip_frames,
    compare_networks,
    half_graph,
    hostile_frames,
)
from rvm_trt.benchmarks.half_islands import CANDIDATES, PRODUCT, island_choices
from rvm_trt.export.float16 import ISLANDS
from rvm_trt.export.fusion import fuse
from rvm_trt.export.parity import compose, frame_tensor
from rvm_trt.profile import Profile

Image = npt.NDArray[np.uint8]
# What the small graphs below are made for: 64x48 frames, a network input of 32x24.
SMALL = Profile.for_size(width=64, height=48, ratio=0.5)


def small_graph(
    *, alpha: float = 0.5, slope: float = 0.0, per_frame: float = 0.0, first_state: float = 0.0
) -> onnx.ModelProto:
    """A graph with the core's tensors: ``b = alpha + per_frame · frames so far``, ``A = slope``, constants else."""
    low = [1, 4, SMALL.low_height, SMALL.low_width]
    states = {f"r{k}": list(shape) for k, shape in enumerate(SMALL.state_shapes, start=1)}
    inputs = {"src": [1, 3, *low[2:]], **{f"{name}i": shape for name, shape in states.items()}}
    outputs = {"A": low, "b": low, **{f"{name}o": shape for name, shape in states.items()}}
    constants = {
        "slope": np.full(low, slope, np.float32),
        "alpha": np.full(low, alpha, np.float32),
        "step": np.float32(per_frame),
        "one": np.float32(1),
        "first": np.full(states["r1"], first_state, np.float32),
    }
    nodes = [
        helper.make_node("Identity", ["slope"], ["A"]),
        # The last state counts the frames.
        helper.make_node("ReduceMean", ["r4i"], ["count"], keepdims=1),
        helper.make_node("Mul", ["count", "step"], ["more"]),
        helper.make_node("Add", ["alpha", "more"], ["b"]),
        helper.make_node("Add", ["r4i", "one"], ["r4o"]),
        helper.make_node("Add", ["r1i", "first"], ["r1o"]),
        *(helper.make_node("Identity", [f"r{k}i"], [f"r{k}o"]) for k in (2, 3)),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(scope="module")
def frames(moving_frames: Callable[..., list[Image]]) -> list[Image]:
    return moving_frames(64, 48, 20)


def error_of(candidate: onnx.ModelProto, frames: list[Image]) -> HalfError:
    networks = {"candidate": AlphaNetwork(candidate)}
    return compare_networks(AlphaNetwork(small_graph()), networks, frames, SMALL)["candidate"]


def test_equal_graphs_have_no_error(frames: list[Image]) -> None:
    assert error_of(small_graph(), frames).to_json() == {
        "frames": 20,
        "mad_e3": 0.0,
        "max": 0.0,
        "worst_frame": 0,
        "reference_mean": 0.5,
        "dtssd_e2": 0.0,
        "mad_e3_tenths": [0.0] * 10,
        "non_finite": 0,
    }


def test_a_constant_error_is_seen_and_does_not_flicker(frames: list[Image]) -> None:
    error = error_of(small_graph(alpha=0.502), frames)
    assert error.alpha.mad_e3 == pytest.approx(2.0, rel=1e-3)
    assert error.alpha.max == pytest.approx(0.002, rel=1e-3)
    assert error.mad_e3_tenths == pytest.approx([2.0] * 10, rel=1e-3)
    assert error.dtssd_e2 == pytest.approx(0.0, abs=1e-6)


def test_an_error_that_grows_is_drift_and_flicker(frames: list[Image]) -> None:
    error = error_of(small_graph(per_frame=0.01), frames)
    # Two frames a tenth: 0 and 0.01, 0.02 and 0.03, …
    assert error.mad_e3_tenths == pytest.approx([5.0 + 20.0 * tenth for tenth in range(10)], rel=1e-3)
    assert (error.alpha.worst_frame, error.alpha.max) == (19, pytest.approx(0.19, rel=1e-3))
    assert error.dtssd_e2 == pytest.approx(1.0, rel=1e-3)


def test_an_error_in_the_slope_counts_by_the_brightness_of_the_frame() -> None:
    frames = [np.full((48, 64, 3), level, np.uint8) for level in (0, 255)]
    error = error_of(small_graph(slope=0.1), frames)
    assert error.alpha.mad_e3 == pytest.approx(50.0, rel=1e-3)
    assert (error.alpha.worst_frame, error.alpha.max) == (1, pytest.approx(0.1, rel=1e-3))


def test_every_sequence_starts_from_zero_states(frames: list[Image]) -> None:
    reference, networks = AlphaNetwork(small_graph()), {"x": AlphaNetwork(small_graph(per_frame=0.01))}
    first = compare_networks(reference, networks, frames, SMALL)
    assert compare_networks(reference, networks, frames, SMALL) == first


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_counted_in_states_too(value: float, frames: list[Image]) -> None:
    values = int(np.prod(SMALL.state_shapes[0]))
    error = error_of(small_graph(first_state=value), frames[:3])
    assert error.non_finite == 3 * values
    assert error.alpha.mad_e3 == 0.0  # alpha alone would not have told


def test_an_alpha_that_is_no_number_is_no_figure(frames: list[Image]) -> None:
    figures = error_of(small_graph(alpha=float("nan")), frames[:3]).to_json()
    assert (figures["mad_e3"], figures["max"], figures["dtssd_e2"]) == (None, None, None)
    assert figures["non_finite"] == 3 * 4 * SMALL.low_height * SMALL.low_width
    json.dumps(figures, allow_nan=False)


@pytest.mark.parametrize(("length", "count"), [(1, 5), (2, 7), (4, 3), (4, 4), (5, 23)])
def test_short_footage_runs_back_and_forth_and_never_jumps(length: int, count: int) -> None:
    indices = list(back_and_forth(length, count))
    assert len(indices) == count
    assert indices[:length] == list(range(min(length, count)))
    assert set(indices) <= set(range(length))
    assert all(abs(after - before) == (length > 1) for before, after in pairwise(indices))


def test_clip_frames_turn_round_at_both_ends(shots: Path) -> None:
    pictures = [frame.tobytes() for frame in clip_frames(shots, SMALL, 9)]
    assert len(set(pictures)) == 4
    assert [pictures.index(picture) for picture in pictures] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [frame.tobytes() for frame in clip_frames(shots, SMALL, 2)] == pictures[:2]


def test_hostile_frames() -> None:
    sequences = {name: list(frames) for name, frames in hostile_frames(SMALL, 8).items()}
    assert {len(frames) for frames in sequences.values()} == {8}
    assert {(frame.shape, frame.dtype) for frames in sequences.values() for frame in frames} == {
        ((48, 64, 3), np.dtype(np.uint8))
    }
    assert not np.any(sequences["black"])
    assert np.all(np.array(sequences["white"]) == 255)
    assert np.unique(sequences["colour bars"][0].reshape(-1, 3), axis=0).tolist() == [
        [r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)
    ]
    assert len(np.unique(sequences["noise"][0])) == 256
    for name in ("noise", "colour bars"):
        assert len({frame.tobytes() for frame in sequences[name]}) == 8
    assert all(np.any(before != after) for before, after in pairwise(sequences["in turns"]))


@pytest.fixture(scope="module")
def core(exported: Callable[..., Path]) -> onnx.ModelProto:
    return onnx.load(exported(SMALL))


@pytest.fixture(scope="module")
def fused(core: onnx.ModelProto) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(core)
    fuse(model)
    return model


def test_alpha_is_what_the_runtime_composes(core: onnx.ModelProto, frames: list[Image]) -> None:
    import onnxruntime

    from rvm_trt.export.model import downsample

    src = frame_tensor(frames[0], SMALL)
    low, mean = downsample(src, SMALL.ratio), src.mean(dim=1, keepdim=True)
    alpha, non_finite = AlphaNetwork(core)(low, mean)
    session = onnxruntime.InferenceSession(core.SerializeToString(), providers=["CPUExecutionProvider"])
    states = {f"r{k}i": np.zeros(shape, np.float32) for k, shape in enumerate(SMALL.state_shapes, start=1)}
    slope, intercept = session.run(("A", "b"), {"src": low.numpy(), **states})
    _, expected = compose(torch.from_numpy(slope), torch.from_numpy(intercept), src)
    assert alpha.shape == (1, 1, 48, 64)
    assert non_finite == 0
    torch.testing.assert_close(alpha, expected, atol=1e-5, rtol=0)


def test_half_arithmetic_shows_and_a_graph_that_is_all_island_rounds_only_its_ends(
    core: onnx.ModelProto, fused: onnx.ModelProto, frames: list[Image]
) -> None:
    before = fused.SerializeToString()
    networks = {
        "none": AlphaNetwork(half_graph(fused, {})),
        "everything": AlphaNetwork(half_graph(fused, {"everything": ".*"})),
    }
    errors = compare_networks(AlphaNetwork(core), networks, frames[:6], SMALL)
    assert errors["none"].alpha.mad_e3 > 2 * errors["everything"].alpha.mad_e3 > 0
    assert fused.SerializeToString() == before


def test_choices_of_islands(fused: onnx.ModelProto) -> None:
    choices = island_choices(fused)
    assert list(choices) == [
        "none",
        *(f"{name} alone" for name in ISLANDS),
        PRODUCT,
        *(f"{PRODUCT} + {name}" for name in CANDIDATES),
    ]
    assert choices[PRODUCT] == ISLANDS
    for name, nodes in CANDIDATES.items():
        assert choices[f"{PRODUCT} + {name}"] == {**ISLANDS, name: nodes}
