"""Every entrant mattes the same: in all protocols, beside PyTorch eager, with states of its own in each."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch

from rvm_trt.benchmarks import entrants_library
from rvm_trt.benchmarks.child import UnavailableError
from rvm_trt.benchmarks.entrants import BASELINE, OURS, Settings, chosen_entrants, every_entrant, make_entrant
from rvm_trt.benchmarks.frame_graph import write_frame_graph
from rvm_trt.errors import OptionError
from rvm_trt.options import Precision
from rvm_trt.profile import Profile

PROFILE = Profile(width=128, height=96, ratio=0.5)
PRECISIONS = (Precision.FP32, Precision.INT8)
# Largest difference of a composite in levels, mean difference of alpha.
EXACT, ROUNDED = (1, 1e-4), (40, 1e-2)
LIKE_EAGER = {
    "rvm-trt-fp32": EXACT,
    "openvino-fp32": EXACT,
    "onnxruntime": EXACT,
    "pytorch-scripted": EXACT,
    "pytorch-channels-last": EXACT,
    "pytorch-bf16": ROUNDED,
    "pytorch-compile": EXACT,
}
Image = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def frames(moving_frames: Callable[..., list[Image]]) -> list[Image]:
    return moving_frames(PROFILE.width, PROFILE.height, 4)


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory,
    checkpoint: Callable[..., Path],
    exported: Callable[..., Path],
    built: Callable[..., Any],
) -> Callable[[str], Settings]:
    folder = tmp_path_factory.mktemp("entrants")
    graph = exported(PROFILE, "full")
    frame_graph = write_frame_graph(graph, PROFILE, folder / "frame.onnx")

    def make(name: str) -> Settings:
        given = Settings(
            entrant=name,
            frames=folder / "none.npy",
            profile=PROFILE,
            threads=1,
            checkpoint=checkpoint(),
            graph=graph,
            frame_graph=frame_graph,
            engine=built(PROFILE).path,
            full_engine=built(PROFILE, "full").path,
        )
        again = Settings.from_json(given.to_json())
        assert again == given  # what a worker gets
        return again

    return make


@pytest.fixture(scope="module")
def eager(
    settings: Callable[[str], Settings], frames: list[Image]
) -> tuple[list[Image], list[npt.NDArray[np.float64]]]:
    """Composites and alphas of the baseline."""
    with make_entrant(settings(BASELINE)) as entrant:
        matte = entrant.matting()
        return [entrant.composite(frame) for frame in frames], [unit(matte(frame)[0]) for frame in frames]


def unit(alpha: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    scaled: npt.NDArray[np.float64] = alpha / np.float64(np.iinfo(alpha.dtype).max)
    return scaled


@pytest.mark.parametrize("name", LIKE_EAGER)
def test_an_entrant_mattes_as_pytorch_eager_does(
    name: str,
    settings: Callable[[str], Settings],
    eager: tuple[list[Image], list[npt.NDArray[np.float64]]],
    frames: list[Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Compiling takes half a minute: what it is given must be right, the compiler is PyTorch's.
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    monkeypatch.setattr(shutil, "which", lambda _: "g++")
    levels, mean = LIKE_EAGER[name]
    composites, alphas = eager
    with make_entrant(settings(name)) as entrant:
        matte = entrant.matting()
        for frame, composite, alpha in zip(frames, composites, alphas, strict=True):
            got = entrant.composite(frame)
            assert (got.shape, got.dtype) == (frame.shape, np.uint8)
            assert np.abs(got.astype(int) - composite).max() <= levels
            pha, fgr = matte(frame)
            # Ours is uint8: half a level is its own.
            assert np.abs(unit(pha) - alpha).mean() <= mean + 0.5 / 255 * name.startswith(OURS)
            assert (fgr.shape, fgr.dtype) == (frame.shape, np.uint8)
        assert len({got.tobytes() for got in composites}) == len(frames)


@pytest.mark.parametrize(
    "name", [BASELINE, "rvm-trt-fp32", "openvino-fp32", "onnxruntime", "pytorch-scripted"]
)
def test_a_tensor_step_runs_again_and_again_and_leaves_the_frames_alone(
    name: str,
    settings: Callable[[str], Settings],
    eager: tuple[list[Image], list[npt.NDArray[np.float64]]],
    frames: list[Image],
) -> None:
    with make_entrant(settings(name)) as entrant:
        step = entrant.tensor_step(frames[0])
        assert step is not None
        for _ in range(3):
            step()
        assert np.abs(entrant.composite(frames[0]).astype(int) - eager[0][0]).max() <= 1


def test_without_a_full_engine_ours_has_no_tensor_protocol(
    settings: Callable[[str], Settings], frames: list[Image]
) -> None:
    with make_entrant(replace(settings("rvm-trt-fp32"), full_engine=None)) as entrant:
        assert entrant.tensor_step(frames[0]) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pytorch-compile", r"Torch\.compile needs a C\+\+ compiler, and g\+\+ was not found\."),
        ("onnxruntime-tensorrt", r"The installed ONNX Runtime .* has no TensorRT provider\."),
        ("openvino-bf16", r"This processor does not compute in bfloat16\."),
    ],
)
def test_an_entrant_that_cannot_run_says_why(
    name: str, reason: str, settings: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(entrants_library, "fastest_precision", lambda: Precision.FP32)
    with pytest.raises(UnavailableError) as caught, make_entrant(settings(name)):
        pass
    assert re.fullmatch(reason, caught.value.reason)


def test_the_names_are_unique_and_the_baseline_is_first() -> None:
    for gpu, low in ((False, "pytorch-bf16"), (True, "pytorch-fp16")):
        entrants = every_entrant(PRECISIONS, gpu=gpu)
        names = [spec.name for spec in entrants]
        assert names[0] == BASELINE
        assert len(set(names)) == len(names)
        assert {"rvm-trt-fp32", "rvm-trt-int8", low} < set(names)


def test_the_baseline_and_our_engines_always_take_part() -> None:
    entrants = every_entrant(PRECISIONS)
    names = [spec.name for spec in chosen_entrants(entrants, ("onnxruntime",))]
    assert names == [BASELINE, "rvm-trt-fp32", "rvm-trt-int8", "onnxruntime"]
    assert chosen_entrants(entrants, None) == entrants
    with pytest.raises(OptionError, match="--entrants: got 'onnx'"):
        chosen_entrants(entrants, ("onnx",))
