"""Engines for TensorRT for RTX: built ahead of time, equal from equal inputs, and refused in words."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from disk_engines import ADA, ODD, Reached, build, contents, described

from rvm_trt import Engine, MattingSession, build_engine
from rvm_trt.contract import tensors
from rvm_trt.engines import tensorrt_engine
from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.manifest import NAME
from rvm_trt.engines.plan import read_plan
from rvm_trt.engines.tensorrt_options import DEFAULT_TARGETS, TensorRtOptions
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.files import sha256_file
from rvm_trt.options import Backend, Graph, Precision

tensorrt_rtx = pytest.importorskip("tensorrt_rtx")


def test_an_engine_holds_the_plan_and_the_graph_it_was_made_from(whole: Engine, graph: Path) -> None:
    manifest = whole.manifest
    assert whole.path.name == "161x97-r0.6-core-fp16-tensorrt-rtx"
    assert set(contents(whole.path)) == {"engine.plan", "network.onnx", "head.npz", NAME}
    assert (manifest.profile, manifest.graph) == (ODD, Graph.CORE)
    assert (manifest.precision, manifest.backend) == (Precision.FP16, Backend.TENSORRT_RTX)
    assert (manifest.targets, manifest.backend_version) == (("sm_89",), tensorrt_rtx.__version__)
    assert manifest.made["options"] == ADA.to_json()
    assert manifest.tensors == tensors(ODD, Graph.CORE, dtype="float16", trunk=True)
    assert manifest.onnx_sha256 == sha256_file(graph)
    assert manifest.accuracy == {}
    assert Engine.load(whole.path) == whole
    onnx.checker.check_model(onnx.load_model(whole.path / "network.onnx"))


def test_its_plan_can_be_read_and_computes_in_half(whole: Engine) -> None:
    plan = read_plan(whole.file("engine.plan"))
    assert set(plan.targets) == {"sm_89"}
    assert len(plan.kernels) > 20
    given = {spec.name: spec for spec in whole.manifest.tensors}
    assert {*plan.inputs, *plan.outputs} == set(given)
    for name in (*plan.inputs, *plan.outputs):
        assert (plan.tensors[name].shape, plan.tensors[name].dtype) == (given[name].shape, "float16"), name
    read = [
        plan.tensors[name].dtype
        for kernel in plan.kernels
        if "convolution" in kernel.kind
        for name in kernel.inputs
    ]
    assert read.count("float16") > read.count("float32")


def test_fp32_engines_compute_in_fp32_for_ampere_and_later(graph: Path, tmp_path: Path) -> None:
    engine = build(graph, tmp_path, "fp32", options=None)
    plan = read_plan(engine.file("engine.plan"))
    assert engine.manifest.targets == DEFAULT_TARGETS
    assert set(plan.targets) == set(DEFAULT_TARGETS)
    assert engine.manifest.tensors == tensors(ODD, Graph.CORE, trunk=True)
    assert "float16" not in {tensor.dtype for tensor in plan.tensors.values()}
    assert Engine.load(engine.path) == engine


def test_equal_inputs_give_equal_bytes(whole: Engine, graph: Path, tmp_path: Path) -> None:
    # The compiler orders some things by their addresses in memory: on a busy machine one build in some dozens differs.
    assert any(contents(build(graph, tmp_path / again).path) == contents(whole.path) for again in "123")


@pytest.mark.usefixtures("no_builder")
def test_what_is_current_is_not_built_again(whole: Engine, graph: Path) -> None:
    assert build(graph, whole.path.parent) == whole
    assert build(graph, whole.path.parent, options=TensorRtOptions(targets=("sm_89", "sm_89"))) == whole


@pytest.mark.parametrize(
    "options",
    [
        {"targets": ("sm_86", "sm_89")},
        {"targets": ("sm_120",)},
        {"targets": ("sm_89",), "max_aux_streams": 0},
        {"targets": ("sm_89",), "workspace_bytes": 1 << 30},
    ],
)
@pytest.mark.usefixtures("no_builder")
def test_other_options_build_again(options: dict[str, Any], whole: Engine, graph: Path) -> None:
    with pytest.raises(Reached):
        build(graph, whole.path.parent, options=TensorRtOptions(**options))
    assert Engine.load(whole.path) == whole


@pytest.mark.usefixtures("no_builder")
def test_another_version_source_or_checkpoint_builds_again(
    whole: Engine, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described(graph, tmp_path / "other.onnx", checkpoint_sha256="e" * 64)
    with pytest.raises(Reached):
        build(tmp_path / "other.onnx", whole.path.parent)
    for name, value in (
        ("tensorrt_rtx.__version__", "99.1"),
        ("rvm_trt.engines.describe.source_digest", lambda *_: "another"),
    ):
        with monkeypatch.context() as patch, pytest.raises(Reached):
            patch.setattr(name, value)
            build(graph, whole.path.parent)
    with pytest.raises(Reached):
        build(graph, whole.path.parent, force=True)
    assert Engine.load(whole.path) == whole


def test_turing_gets_a_plan_of_its_own(graph: Path, tmp_path: Path) -> None:
    engine = build(graph, tmp_path, options=TensorRtOptions(targets=("sm_75", "sm_89")))
    assert set(engine.manifest.files) == {"engine.plan", "engine-sm_75.plan", "network.onnx", "head.npz"}
    assert engine.manifest.targets == ("sm_75", "sm_89")
    found = {
        name: set(read_plan(engine.path / name).targets) for name in ("engine.plan", "engine-sm_75.plan")
    }
    assert found == {"engine.plan": {"sm_89"}, "engine-sm_75.plan": {"sm_75"}}
    assert (
        engine.file("engine.plan").name == Engine.load(engine.path).file("engine.plan").name == "engine.plan"
    )


@pytest.mark.parametrize("targets", [("sm_75",), ("sm_80", "sm_89")])
def test_targets_of_one_kind_share_one_plan(targets: tuple[str, ...]) -> None:
    options = TensorRtOptions(targets=targets)
    assert tensorrt_engine.plans(options, Backend.TENSORRT_RTX) == {"engine.plan": options}


def test_a_target_that_the_library_does_not_know_is_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"targets: got 'sm_10', expected .*sm_89"):
        build(graph, tmp_path, options=TensorRtOptions(targets=("sm_10", "sm_89")))
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_other_library_are_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="optimization_level: got 3"):
        build(graph, tmp_path, options=TensorRtOptions(optimization_level=3))
    assert list(tmp_path.iterdir()) == []


def test_accuracy_is_measured_on_the_held_out_part_of_the_footage(
    graph: Path, tmp_path: Path, calibration: CalibrationFootage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_engine, "build_in_process", lambda _, plan, **__: plan.write_bytes(b"x"))
    told: list[str] = []
    engine = build(graph, tmp_path, calibration=calibration, progress=told.append)
    accuracy = Engine.load(engine.path).manifest.accuracy
    assert accuracy["frames"] == 8
    assert 1e-7 < accuracy["pha_mad"] <= accuracy["pha_max"] < 0.05
    assert "emulated" in accuracy["arithmetic"]
    assert "fp32" in accuracy["reference"]
    assert any("accuracy" in line for line in told)


@pytest.fixture(scope="module")
def half_graph(exported: Callable[..., Path]) -> Path:
    """The graph as exported in FP16."""
    return exported(ODD, precision="fp16")


@pytest.mark.usefixtures("builds")
def test_a_graph_in_half_is_built_as_it_is(whole: Engine, half_graph: Path, tmp_path: Path) -> None:
    engine = build_engine(half_graph, backend="tensorrt-rtx", engines=tmp_path, options=ADA)
    assert engine.manifest.precision is Precision.FP16
    assert engine.manifest.files == whole.manifest.files  # TensorRT's part is given the same network
    assert engine.manifest.onnx_sha256 == sha256_file(half_graph)
    assert Engine.load(engine.path) == engine


@pytest.mark.parametrize(
    ("backend", "precision"),
    [("cpu", None), ("cpu", "fp32"), ("tensorrt-rtx", "fp32"), ("tensorrt-rtx", "int8")],
)
def test_a_graph_in_half_gives_nothing_but_fp16_engines_for_tensorrt(
    backend: str, precision: str | None, half_graph: Path, tmp_path: Path, calibration: CalibrationFootage
) -> None:
    with pytest.raises(OptionError, match="got a graph in fp16, expected one in fp32"):
        build_engine(
            half_graph, backend=backend, precision=precision, engines=tmp_path, calibration=calibration
        )
    assert list(tmp_path.iterdir()) == []


def unbuildable(model: onnx.ModelProto, *_: object) -> onnx.ModelProto:
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    broken.graph.node[0].op_type, broken.graph.node[0].domain = "Nonsense", "nowhere"
    broken.opset_import.add(domain="nowhere", version=1)
    return broken


def test_a_refusal_carries_the_library_s_words_and_leaves_nothing(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_engine, "lower", unbuildable)
    with pytest.raises(EngineError, match=r"the refusal of TensorRT for RTX .*Nonsense") as caught:
        build(graph, tmp_path, "fp32")
    assert caught.value.subject == "graph"
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def dying(folder: Path) -> str:
    """A program in Python's place that reads its orders and is killed, as for want of memory."""
    script = folder / "python"
    script.write_text("#!/bin/sh\ncat > /dev/null\nkill -9 $$\n")
    script.chmod(0o755)
    return str(script)


def test_a_builder_that_is_killed_is_told_and_the_old_engine_stays(
    whole: Engine, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(whole.path)
    monkeypatch.setattr(sys, "executable", dying(tmp_path))
    with pytest.raises(EngineError, match=f"a process that ended with code -{int(signal.SIGKILL)}"):
        build(graph, whole.path.parent, force=True)
    assert contents(whole.path) == before
    assert [path.name for path in whole.path.parent.iterdir()] == [whole.path.name]


def test_a_builder_that_is_killed_leaves_nothing(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engines").mkdir()
    monkeypatch.setattr(sys, "executable", dying(tmp_path))
    with pytest.raises(EngineError, match="ended with code"):
        build(graph, tmp_path / "engines")
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_session_on_a_machine_without_a_gpu_says_so(whole: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise EngineError("GPU", got="no driver", expected="a GPU", todo="Build with backend 'cpu'.")

    monkeypatch.setattr("rvm_trt.runtime.cuda_driver.Driver.load", none)
    with pytest.raises(EngineError, match="GPU: got no driver"):
        MattingSession(whole)
