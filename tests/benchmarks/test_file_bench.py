"""From file to file on a tiny network: ours beside PyTorch, on a clip written for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rvm_trt.benchmarks.child import BenchmarkError
from rvm_trt.benchmarks.entrants import BASELINE, EntrantSpec, Settings, every_entrant
from rvm_trt.benchmarks.file_bench import measure_files, write_clip
from rvm_trt.options import Precision
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.source import open_source

PROFILE = Profile(width=128, height=96, ratio=0.5)
OURS = "rvm-trt-fp32"


@pytest.fixture(scope="module")
def clip(shots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(shots, tmp_path_factory.mktemp("clip") / "clip.mp4", profile=PROFILE, count=3)


@pytest.fixture(scope="module")
def entrants() -> tuple[EntrantSpec, ...]:
    every = every_entrant([Precision.FP32])
    return tuple(spec for spec in every if spec.name in (BASELINE, OURS, "onnxruntime"))


@pytest.fixture(scope="module")
def settings(built: Callable[..., Any], checkpoint: Callable[..., Path], clip: Path) -> dict[str, Settings]:
    shared = Settings(entrant=BASELINE, frames=clip, profile=PROFILE, threads=1)
    return {
        BASELINE: replace(shared, checkpoint=checkpoint()),
        OURS: replace(shared, entrant=OURS, engine=built(PROFILE).path),
        # Its frame graph is not there: it cannot run.
        "onnxruntime": replace(shared, entrant="onnxruntime"),
    }


def test_the_clip_is_the_footage_at_the_profiles_size(clip: Path) -> None:
    source = open_source(clip)
    assert (source.width, source.height, source.has_audio) == (128, 96, False)
    frames = [frame.image for frame in source]
    assert len(frames) == 3
    # The bright square, twice its size, where it was in the first image.
    assert np.abs(frames[0][30:66, 22:58].astype(int) - (230, 180, 150)).mean() < 6


def test_both_sides_matte_the_file(
    entrants: tuple[EntrantSpec, ...], settings: dict[str, Settings], clip: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    two = [spec for spec in entrants if spec.name in (BASELINE, OURS)]
    entries = measure_files(two, settings, source=clip, folder=tmp_path, rounds=2, tell=told.append)
    assert [entry["entrant"] for entry in entries] == [BASELINE, OURS]
    assert len(told) == 2
    for entry in entries:
        assert entry["unavailable"] is None
        assert entry["frames"] == 3
        assert set(entry["busy_s"]) == {"decode", "matte", "encode"}
        assert all(value > 0 for value in (*entry["busy_s"].values(), entry["load_s"], entry["cpu_s"]))
        assert len(entry["samples_s"]) == 2
        assert entry["seconds"] == pytest.approx(np.median(entry["samples_s"]), abs=1e-3)
        assert entry["fps"] == pytest.approx(3 / entry["seconds"], rel=1e-2)
    baseline, ours = entries
    assert baseline["beside_pytorch"] is None
    assert ours["beside_pytorch"] == pytest.approx(baseline["seconds"] / ours["seconds"], rel=1e-2)
    # The same matte, through the same encoder; PyAV's own conversion is rough on noise.
    written = [[f.image for f in open_source(tmp_path / f"{e['entrant']}.mp4")] for e in entries]
    for pytorch, session in zip(*written, strict=True):
        assert np.abs(pytorch.astype(int) - session).mean() < 8


def test_an_entrant_that_cannot_run_is_told_and_the_others_are_measured(
    entrants: tuple[EntrantSpec, ...], settings: dict[str, Settings], clip: Path, tmp_path: Path
) -> None:
    two = [spec for spec in entrants if spec.name != OURS]
    entries = measure_files(two, settings, source=clip, folder=tmp_path, rounds=1, tell=lambda _: None)
    found = {entry["entrant"]: entry for entry in entries}
    assert found[BASELINE]["seconds"] > 0
    assert found["onnxruntime"]["unavailable"]
    assert found["onnxruntime"]["seconds"] is None


def test_a_session_that_fails_is_an_error(
    entrants: tuple[EntrantSpec, ...], settings: dict[str, Settings], clip: Path, tmp_path: Path
) -> None:
    broken = {**settings, OURS: replace(settings[OURS], engine=tmp_path / "nothing")}
    ours = [spec for spec in entrants if spec.name == OURS]
    with pytest.raises(BenchmarkError, match=OURS):
        measure_files(ours, broken, source=clip, folder=tmp_path, rounds=1, tell=lambda _: None)
