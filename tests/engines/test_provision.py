"""Provision: from a checkpoint to an engine, doing only what is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rvm_trt import Engine, Profile
from rvm_trt.engines.provision import provide_engine
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import CheckpointError, DependencyError, OptionError, WeightsError
from rvm_trt.files import sha256_file
from rvm_trt.options import Precision, Refiner

ODD = Profile(width=161, height=97, ratio=0.6)
SECOND_CALL = """
import sys
from rvm_trt import Profile
from rvm_trt.engines.provision import provide_engine
told = []
engine = provide_engine(
    Profile(width=161, height=97, ratio=0.6), checkpoint=sys.argv[1], engines_dir=sys.argv[2], progress=told.append
)
loaded = [name for name in ("torch", "onnx", "onnxruntime", "onnxscript") if name in sys.modules]
print(engine.path.name, told, loaded)
"""


@pytest.fixture(scope="module")
def provided(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[..., Path]
) -> tuple[Engine, list[str], Path]:
    """An engine provided from nothing but a checkpoint, what was told on the way, and its folder."""
    engines = tmp_path_factory.mktemp("provision") / "engines"
    told: list[str] = []
    engine = provide_engine(ODD, checkpoint=checkpoint(), engines_dir=engines, progress=told.append)
    return engine, told, engines


@pytest.fixture(scope="module")
def provided_fast(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[..., Path]
) -> tuple[Engine, list[str], Path]:
    """The same from a checkpoint without deep guided filter."""
    engines = tmp_path_factory.mktemp("provision-fast") / "engines"
    told: list[str] = []
    path = checkpoint("mobilenetv3", "fast_guided_filter")
    return provide_engine(ODD, checkpoint=path, engines_dir=engines, progress=told.append), told, engines


Provided = tuple[Engine, list[str], Path]


def test_everything_missing_is_made(provided: Provided, checkpoint: Callable[..., Path]) -> None:
    engine, _, engines = provided
    assert engine.path == engines / "161x97-r0.6-core-fp32-cpu"
    assert engine.manifest.checkpoint_sha256 == sha256_file(checkpoint())
    assert (engine.profile, engine.manifest.precision) == (ODD, Precision.FP32)
    assert Engine.load(engine.path) == engine
    graph = engines.parent / "onnx" / f"161x97-r0.6-core-{sha256_file(checkpoint())[:8]}.onnx"
    assert engine.manifest.onnx_sha256 == sha256_file(graph)
    assert [path.name for path in engines.iterdir()] == [engine.path.name]


def test_each_slow_step_is_told_in_a_line(provided: Provided) -> None:
    told = provided[1]
    assert [line.split(":")[0] for line in told] == ["Exporting the network", "Building the engine"]
    assert all("161x97-r0.6" in line and "\n" not in line for line in told)


def test_the_second_call_loads_neither_torch_nor_onnx(
    provided: Provided, checkpoint: Callable[..., Path]
) -> None:
    engine, _, engines = provided
    before = [path.stat().st_mtime_ns for path in sorted(engine.path.iterdir())]
    done = subprocess.run(
        [sys.executable, "-c", SECOND_CALL, checkpoint(), engines],
        capture_output=True,
        text=True,
        check=True,
        cwd=engines,
    )
    assert done.stdout.strip() == f"{engine.path.name} [] []"
    assert [path.stat().st_mtime_ns for path in sorted(engine.path.iterdir())] == before


@pytest.mark.usefixtures("cached_exports")
def test_a_current_plan_is_found_without_exporting_or_building(
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    def provide(precision: str) -> Engine:
        return provide_engine(
            ODD,
            backend="tensorrt-rtx",
            precision=precision,
            checkpoint=checkpoint(),
            engines_dir=tmp_path / "engines",
            options=TensorRtOptions(targets=("sm_89",)),
            progress=told.append,
        )

    engine = provide("fp16")
    assert engine.path == tmp_path / "engines" / "161x97-r0.6-core-fp16-tensorrt-rtx"
    assert engine.manifest.targets == ("sm_89",)
    assert [line for line in told if line.startswith(("Exporting", "Building the engine", "Rewriting"))]
    told.clear()
    monkeypatch.setattr("rvm_trt.export.onnx_graph.export_onnx", None)
    monkeypatch.setattr("rvm_trt.engines.provision.build_engine", None)
    assert provide("fp16") == engine
    assert told == []


def test_another_checkpoint_is_exported_again(
    provided: Provided, seeded_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reached(Exception):  # noqa: N818
        pass

    def reached(*_: object, **__: object) -> None:
        raise Reached

    monkeypatch.setattr("rvm_trt.export.onnx_graph.export_onnx", reached)
    with pytest.raises(Reached):
        provide_engine(ODD, checkpoint=seeded_checkpoint, engines_dir=provided[2])


def test_a_checkpoint_without_deep_filter_is_noted_and_served_by_the_fast_one(
    provided_fast: Provided,
) -> None:
    engine, told, engines = provided_fast
    assert engine.profile == replace(ODD, refiner=Refiner.FAST)
    assert engine.path == engines / "161x97-r0.6-fgf-core-fp32-cpu"
    assert len([line for line in told if line.startswith("note: ") and "fast guided filter" in line]) == 1


def test_a_checkpoint_without_deep_filter_is_exported_once(
    provided_fast: Provided, checkpoint: Callable[..., Path]
) -> None:
    told: list[str] = []
    path = checkpoint("mobilenetv3", "fast_guided_filter")
    again = provide_engine(ODD, checkpoint=path, engines_dir=provided_fast[2], progress=told.append)
    assert again == provided_fast[0]
    assert not [line for line in told if line.startswith(("Exporting", "Building"))]


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_checkpoint_that_is_not_there_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "rvm.pth"
    if kind == "folder":
        path.mkdir()
    told: list[str] = []
    with pytest.raises(CheckpointError, match=r"rvm\.pth: got no .*expected a checkpoint") as caught:
        provide_engine(ODD, checkpoint=path, engines_dir=tmp_path / "engines", progress=told.append)
    assert "--checkpoint" in caught.value.todo
    assert told == []
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "fp64"},
        {"precision": "int8"},
        {"graph": "half"},
        {"backend": "tpu"},
        {"precision": "fp16"},
        {"backend": "tensorrt-rtx", "precision": "bf16"},
        {"backend": "tensorrt-rtx", "options": TensorRtOptions(targets=("sm_10",))},
        {"backend": "tensorrt-rtx", "options": TensorRtOptions(optimization_level=3)},
    ],
)
def test_options_are_refused_before_the_first_slow_step(
    options: dict[str, Any], tmp_path: Path, checkpoint: Callable[..., Path]
) -> None:
    told: list[str] = []
    with pytest.raises(OptionError):
        provide_engine(
            ODD, checkpoint=checkpoint(), engines_dir=tmp_path / "e", progress=told.append, **options
        )
    assert told == []


def test_a_missing_library_is_told_before_the_first_slow_step(
    tmp_path: Path, checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DependencyError, match=r"rvm-trt\[tensorrt\]"):
        provide_engine(
            ODD, backend="tensorrt", checkpoint=checkpoint(), engines_dir=tmp_path / "e", progress=told.append
        )
    assert told == []


def test_a_checkpoint_of_another_variant_is_refused(tmp_path: Path, checkpoint: Callable[..., Path]) -> None:
    profile = Profile(width=160, height=96, ratio=0.5, variant="resnet50")  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="got a checkpoint of mobilenetv3, expected one of resnet50"):
        provide_engine(profile, checkpoint=checkpoint(), engines_dir=tmp_path / "engines")
    assert not (tmp_path / "engines").exists()
