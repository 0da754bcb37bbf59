"""Contests: all in one field where memory allows it, the baseline in each field, and engines that may be missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from rvm_trt.benchmarks import contests
from rvm_trt.benchmarks.contests import Contest, Workshop, default_precisions, fields_of
from rvm_trt.benchmarks.entrants import BASELINE, Settings, every_entrant
from rvm_trt.errors import EngineError
from rvm_trt.options import Backend, Graph, Precision
from rvm_trt.profile import Profile

UHD = Profile.named("4k")
GB = 1 << 30


def contest(profile: Profile = UHD) -> Contest:
    entrants = every_entrant((Precision.FP32, Precision.BF16))
    settings = {
        spec.name: Settings(entrant=spec.name, frames=Path("f.npy"), profile=profile, threads=1)
        for spec in entrants
    }
    engines = {spec.name: Mock() for spec in entrants if spec.group == "rvm-trt"}
    return Contest(profile=profile, entrants=entrants, settings=settings, engines=engines)


def test_with_memory_for_all_there_is_one_field() -> None:
    (field,) = fields_of(contest(), available_bytes=64 * GB)
    assert list(field.settings) == list(contest().settings)


@pytest.mark.parametrize("gigabytes", [1, 4, 8])
def test_with_less_memory_the_baseline_is_in_every_field_and_nobody_is_lost(gigabytes: int) -> None:
    fields = [list(field.settings) for field in fields_of(contest(), available_bytes=gigabytes * GB)]
    assert len(fields) > 1
    assert all(names[0] == BASELINE and len(names) > 1 for names in fields)
    others = [name for names in fields for name in names[1:]]
    assert others == [name for name in contest().settings if name != BASELINE]


def test_small_frames_need_fewer_fields() -> None:
    small = contest(Profile.named("720p"))
    counts = [len(fields_of(one, available_bytes=8 * GB)) for one in (small, contest())]
    assert counts[0] < counts[1]


def test_default_precisions_are_those_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rvm_trt.engines.openvino_library.fastest_precision", lambda: Precision.FP32)
    assert default_precisions(Backend.CPU) == (Precision.FP32, Precision.INT8)
    assert default_precisions(Backend.TENSORRT) == (Precision.FP32, Precision.FP16, Precision.INT8)


class FakeFactory:
    """`provide_engine` where INT8 cannot be built."""

    def __init__(self, built: Callable[..., Any]) -> None:
        self._built = built
        self.asked: list[tuple[Precision, Graph]] = []

    def __call__(self, profile: Profile, *, precision: Precision, graph: Graph, **_: object) -> Any:
        self.asked.append((precision, graph))
        if precision is Precision.INT8:
            raise EngineError("recipe", got="no layer within the budget", expected="one", todo="Use fp32.")
        return self._built(profile, graph)


@pytest.fixture
def factory(built: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> FakeFactory:
    made = FakeFactory(built)
    monkeypatch.setattr("rvm_trt.engines.provision.provide_engine", made)
    monkeypatch.setattr(contests, "demo_clip", Mock())
    monkeypatch.setattr(contests, "clips_footage", Mock())
    return made


def workshop(folder: Path, checkpoint: Path, **options: Any) -> Workshop:
    weights = Mock(path=checkpoint, sha256="0" * 64)
    return Workshop(
        weights=weights, threads=1, engines_dir=folder, folder=folder, tell=lambda _: None, **options
    )


@pytest.mark.usefixtures("factory")
def test_an_int8_engine_that_cannot_be_built_is_told_or_an_error(
    tmp_path: Path, checkpoint: Callable[..., Path]
) -> None:
    profile = Profile(width=128, height=96, ratio=0.5)
    frames = [np.zeros((96, 128, 3), np.uint8)]
    entrants = [spec for spec in every_entrant((Precision.FP32, Precision.INT8)) if spec.group != "library"]
    made = workshop(tmp_path, checkpoint(), int8_may_fail=True).prepare(profile, entrants, frames)
    assert made.unavailable == {"rvm-trt-int8": "Its engine could not be built: no layer within the budget."}
    assert "rvm-trt-int8" not in made.settings
    assert made.required == (BASELINE, "rvm-trt-fp32")
    assert made.settings["rvm-trt-fp32"].full_engine is not None
    assert np.load(made.settings[BASELINE].frames).shape == (1, 96, 128, 3)
    with pytest.raises(EngineError, match="no layer"):
        workshop(tmp_path, checkpoint()).prepare(profile, entrants, frames)


def test_full_engines_are_made_only_where_they_are_needed(
    factory: FakeFactory, tmp_path: Path, checkpoint: Callable[..., Path]
) -> None:
    profile = Profile(width=128, height=96, ratio=0.5)
    entrants = every_entrant((Precision.FP32,))[:2]
    made = workshop(tmp_path, checkpoint(), full=False).prepare(
        profile, entrants, [np.zeros((96, 128, 3), np.uint8)]
    )
    assert factory.asked == [(Precision.FP32, Graph.CORE)]
    assert made.settings["rvm-trt-fp32"].full_engine is None
    assert made.settings[BASELINE].checkpoint == checkpoint()
