"""The head that is cut off a core: trunk and head together give what the whole core gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from rvm_trt import Profile
from rvm_trt.contract import HIDDEN, STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.engines.half_arithmetic import emulate_half
from rvm_trt.engines.head import cut_head
from rvm_trt.engines.lowering import lower
from rvm_trt.options import Precision, Refiner
from rvm_trt.resample import sample_frame
from rvm_trt.runtime.head_weights import head_names

Array = npt.NDArray[np.float32]
DEEP = Profile(width=161, height=97, ratio=0.6)
FAST = replace(DEEP, refiner=Refiner.FAST)
NONE = Profile(width=70, height=90, ratio=1.0)
PROFILES = [DEEP, FAST, NONE]


def run(model: onnx.ModelProto, src: Array, states: list[Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    feeds = {"src": src, **dict(zip(STATE_INPUTS, states, strict=True))}
    return dict(zip(names, session.run(None, feeds), strict=True))


def box(x: Array, weight: Array) -> Array:
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    shifted = [
        weight[:, i, j, None, None] * padded[:, i : i + height, j : j + width]
        for i in range(3)
        for j in range(3)
    ]
    return np.sum(shifted, axis=0, dtype=np.float32)


def layer(x: Array, weights: Mapping[str, Array], name: str) -> Array:
    product: Array = np.tensordot(weights[f"{name}.weight"], x, axes=1)
    return product + weights[f"{name}.bias"][:, None, None]


def head(
    hidden: Array, src: Array, weights: Mapping[str, Array], refiner: Refiner | None
) -> tuple[Array, Array]:
    """Slope and intercept (4, h, w) from hidden features and input, as the paper's guided filters say."""
    y = layer(hidden, weights, "project")
    if refiner is None:
        return np.zeros_like(y), y
    x = np.concatenate([src, src.mean(axis=0, keepdims=True)])
    kernel = weights.get("box.weight", np.full((4, 3, 3), 1 / 9, np.float32))
    mean_x, mean_y = box(x, kernel), box(y, kernel)
    cov = box(x * y, kernel) - mean_x * mean_y
    var = box(x * x, kernel) - mean_x * mean_x
    if refiner is Refiner.DEEP:
        inner = np.concatenate([cov, var, hidden])
        for name in ("mlp.0", "mlp.1"):
            inner = np.maximum(layer(inner, weights, name), 0)
        slope = layer(inner, weights, "mlp.2")
    else:
        slope = cov / (var + np.float32(1e-5))
    return slope, mean_y - slope * mean_x


@pytest.mark.parametrize("profile", PROFILES, ids=["deep", "fast", "none"])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_trunk_and_head_give_what_the_core_gives(
    profile: Profile,
    precision: Precision,
    exported: Callable[..., Path],
    moving_frames: Callable[[int, int, int], list[npt.NDArray[np.uint8]]],
) -> None:
    plain = onnx.load_model(exported(profile))
    lowered = lower(plain, precision)
    trunk = onnx.ModelProto()
    trunk.CopyFrom(lowered)
    weights = cut_head(trunk)
    refiner = profile.refiner if profile.uses_refiner else None
    assert set(weights) == set(head_names(refiner))
    onnx.checker.check_model(trunk, full_check=True)
    assert [value.name for value in trunk.graph.output] == [HIDDEN, *STATE_OUTPUTS]
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}
    whole = emulate_half(lowered) if precision is Precision.FP16 else plain
    body = emulate_half(trunk) if precision is Precision.FP16 else trunk
    states = [np.zeros(shape, np.float32) for shape in profile.state_shapes]
    frame = moving_frames(profile.width, profile.height, 1)[0]
    src = sample_frame(frame, profile.ratio).astype(np.float16).astype(np.float32)
    expected, got = run(whole, src[None], states), run(body, src[None], states)
    slope, intercept = head(got[HIDDEN][0], src, weights, refiner)
    # What they are for: slopes of flat regions are ill-conditioned, and the intercepts make up for it.
    x = np.concatenate([src, src.mean(axis=0, keepdims=True)])
    wanted = expected["A"][0] * x + expected["b"][0]
    # The whole FP16 graph rounds its outputs to half; the trunk's head does not.
    step = 2.0**-11 if precision is Precision.FP16 else 0.0
    rounding = step * (np.abs(slope * x) + np.abs(intercept))
    assert np.all(np.abs(slope * x + intercept - wanted) <= rounding + 1e-4 * np.abs(wanted).max())
    for name in STATE_OUTPUTS:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-5)


def test_the_trunks_of_all_guided_filters_are_equal_but_for_their_weights(
    exported: Callable[..., Path],
) -> None:
    graphs = [lower(onnx.load_model(exported(profile)), Precision.FP16) for profile in (DEEP, FAST)]
    for graph in graphs:
        cut_head(graph)
    assert [node.name for node in graphs[0].graph.node] == [node.name for node in graphs[1].graph.node]


def test_a_graph_without_the_decoder_s_last_layer_is_refused_and_stays_as_it_was(
    exported: Callable[..., Path],
) -> None:
    model = lower(onnx.load_model(exported(DEEP)), Precision.FP32)
    cut_head(model)
    before = model.SerializeToString(deterministic=True)
    with pytest.raises(ValueError, match="no layer"):
        cut_head(model)
    assert model.SerializeToString(deterministic=True) == before
