"""What tests of engines on disk share: one for TensorRT-RTX, copies of it to damage, and builds that are played."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from rvm_trt import Engine, build_engine
from rvm_trt.engines import tensorrt
from rvm_trt.engines.tensorrt_library import Library, load_library
from rvm_trt.options import Backend

# The tests import the modules beside them.
sys.path.insert(0, str(Path(__file__).parent))

from disk_engines import ODD, RTX, TWIN, described, reached


@pytest.fixture(scope="session")
def graph(exported: Callable[..., Path]) -> Path:
    """The core graph of `disk_engines.ODD`. Tests must not alter it."""
    return exported(ODD)


@pytest.fixture(scope="session")
def whole(
    exported: Callable[..., Path], common: Path, alone: Callable[[Path], AbstractContextManager[None]]
) -> Engine:
    """A core engine of `disk_engines.ODD` in FP16 for TensorRT-RTX and Ada, which no test alters."""
    graph, folder = exported(ODD), common / "whole"
    with alone(folder):
        return build_engine(graph, engines=folder, **RTX)


@pytest.fixture
def engine(whole: Engine, tmp_path: Path) -> Engine:
    """A copy of it that a test may damage."""
    return Engine.load(shutil.copytree(whole.path, tmp_path / "engines" / whole.path.name))


@pytest.fixture
def builds(whole: Engine, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Takes TensorRT's place with a copy of its plan, which a build gives again anyway; lists what was built."""
    built: list[Path] = []

    def build(_network: Path, plan: Path, **_: Any) -> None:
        built.append(plan)
        shutil.copyfile(whole.path / "engine.plan", plan)

    monkeypatch.setattr("rvm_trt.engines.tensorrt_engine.build_in_process", build)
    return built


@pytest.fixture
def no_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails whatever builds a plan."""
    monkeypatch.setattr("rvm_trt.engines.tensorrt_engine.build_in_process", reached)


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails whatever searches for an INT8 recipe."""
    monkeypatch.setattr("rvm_trt.engines.recipe_cache.find_recipe", reached)


@pytest.fixture
def twin(graph: Path, tmp_path: Path) -> Path:
    """The graph as it is exported for the twin profile: the same network, another description."""
    return described(graph, tmp_path / "twin.onnx", profile=json.dumps(TWIN.to_json()))


@pytest.fixture
def rtx() -> Library:
    """TensorRT for RTX."""
    return load_library(Backend.TENSORRT_RTX)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A `recording_tensorrt.RecordingTensorRt` in the place of ``tensorrt``, on a machine that has a GPU."""
    from recording_tensorrt import RecordingTensorRt

    recorder = RecordingTensorRt()
    monkeypatch.setitem(sys.modules, "tensorrt", recorder)
    monkeypatch.setattr(tensorrt, "has_gpu", lambda: True)
    return recorder
