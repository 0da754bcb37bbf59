"""Engines for TensorRT for RTX: built ahead of time, equal from equal inputs, shared, and refused in words."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from rvm_trt import Engine, MattingSession, Profile, build_engine, export_onnx
from rvm_trt.contract import tensors
from rvm_trt.engines import tensorrt_engine
from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.manifest import NAME
from rvm_trt.engines.plan import read_plan
from rvm_trt.engines.tensorrt_options import DEFAULT_TARGETS, TensorRtOptions
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.files import sha256_file
from rvm_trt.options import Backend, Graph, Precision, Refiner

tensorrt_rtx = pytest.importorskip("tensorrt_rtx")

ODD = Profile(width=161, height=97, ratio=0.6)
# Another frame, the same network: as 4K at ratio 0.125 and HD at 0.25.
WIDE = Profile(width=193, height=117, ratio=0.5)
ADA = TensorRtOptions(targets=("sm_89",))
Exported = Callable[..., Path]


@pytest.fixture
def graph(exported: Exported) -> Path:
    return exported(ODD)


@pytest.fixture(scope="module")
def half(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An FP16 engine for Ada. Tests must not alter it."""
    return build(exported(ODD), tmp_path_factory.mktemp("half"))


@pytest.fixture
def no_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails whatever builds a plan."""
    monkeypatch.setattr(tensorrt_engine, "build_in_process", reached)


class Reached(Exception):  # noqa: N818
    """A plan was about to be built."""


def reached(*_: object, **__: object) -> None:
    raise Reached


def build(graph: Path, folder: Path, precision: str = "fp16", **options: Any) -> Engine:
    return build_engine(
        graph,
        **{
            "backend": "tensorrt-rtx",
            "precision": precision,
            "engines": folder,
            "options": ADA,
            **options,
        },
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_an_engine_holds_the_plan_and_the_graph_it_was_made_from(half: Engine, graph: Path) -> None:
    manifest = half.manifest
    assert half.path.name == "161x97-r0.6-core-fp16-tensorrt-rtx"
    assert set(contents(half.path)) == {"engine.plan", "network.onnx", "head.npz", NAME}
    assert (manifest.profile, manifest.graph) == (ODD, Graph.CORE)
    assert (manifest.precision, manifest.backend) == (Precision.FP16, Backend.TENSORRT_RTX)
    assert (manifest.targets, manifest.backend_version) == (("sm_89",), tensorrt_rtx.__version__)
    assert manifest.made["options"] == ADA.to_json()
    assert manifest.tensors == tensors(ODD, Graph.CORE, dtype="float16", trunk=True)
    assert manifest.onnx_sha256 == sha256_file(graph)
    assert manifest.accuracy == {}
    assert Engine.load(half.path) == half
    onnx.checker.check_model(onnx.load_model(half.path / "network.onnx"))


def test_its_plan_can_be_read_and_computes_in_half(half: Engine) -> None:
    plan = read_plan(half.file("engine.plan"))
    assert set(plan.targets) == {"sm_89"}
    assert len(plan.kernels) > 20
    given = {spec.name: spec for spec in half.manifest.tensors}
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


def test_equal_inputs_give_equal_bytes(half: Engine, graph: Path, tmp_path: Path) -> None:
    assert contents(build(graph, tmp_path).path) == contents(half.path)


@pytest.mark.usefixtures("no_builder")
def test_what_is_current_is_not_built_again(half: Engine, graph: Path) -> None:
    assert build(graph, half.path.parent) == half
    assert build(graph, half.path.parent, options=TensorRtOptions(targets=("sm_89", "sm_89"))) == half


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
def test_other_options_build_again(options: dict[str, Any], half: Engine, graph: Path) -> None:
    with pytest.raises(Reached):
        build(graph, half.path.parent, options=TensorRtOptions(**options))
    assert Engine.load(half.path) == half


@pytest.mark.usefixtures("no_builder")
def test_another_version_source_or_checkpoint_builds_again(
    half: Engine, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load_model(graph)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**notes, "rvm_trt.checkpoint_sha256": "e" * 64})
    onnx.save_model(model, tmp_path / "other.onnx")
    with pytest.raises(Reached):
        build(tmp_path / "other.onnx", half.path.parent)
    for name, value in (
        ("tensorrt_rtx.__version__", "99.1"),
        ("rvm_trt.engines.describe.source_digest", lambda *_: "another"),
    ):
        with monkeypatch.context() as patch, pytest.raises(Reached):
            patch.setattr(name, value)
            build(graph, half.path.parent)
    with pytest.raises(Reached):
        build(graph, half.path.parent, force=True)
    assert Engine.load(half.path) == half


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
def half_graph(checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph as exported in FP16."""
    return export_onnx(
        checkpoint(), ODD, tmp_path_factory.mktemp("half-graph") / "half.onnx", precision="fp16"
    )


def test_a_graph_in_half_is_built_as_it_is(half: Engine, half_graph: Path, tmp_path: Path) -> None:
    engine = build_engine(half_graph, backend="tensorrt-rtx", engines=tmp_path, options=ADA)
    assert engine.manifest.precision is Precision.FP16
    assert engine.manifest.files["engine.plan"] == half.manifest.files["engine.plan"]
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
    half: Engine, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(half.path)
    monkeypatch.setattr(sys, "executable", dying(tmp_path))
    with pytest.raises(EngineError, match=f"a process that ended with code -{int(signal.SIGKILL)}"):
        build(graph, half.path.parent, force=True)
    assert contents(half.path) == before
    assert [path.name for path in half.path.parent.iterdir()] == [half.path.name]


def test_a_builder_that_is_killed_leaves_nothing(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engines").mkdir()
    monkeypatch.setattr(sys, "executable", dying(tmp_path))
    with pytest.raises(EngineError, match="ended with code"):
        build(graph, tmp_path / "engines")
    assert list((tmp_path / "engines").iterdir()) == []


@pytest.mark.usefixtures("no_builder")
def test_profiles_with_one_network_share_their_files(
    half: Engine, exported: Exported, tmp_path: Path
) -> None:
    assert (WIDE.low_width, WIDE.low_height) == (ODD.low_width, ODD.low_height)
    folder = copied(half, tmp_path)
    shared = build(exported(WIDE), folder)
    assert shared.path == folder / "193x117-r0.5-core-fp16-tensorrt-rtx"
    assert shared.profile == WIDE
    assert shared.manifest.onnx_sha256 == sha256_file(exported(WIDE))
    assert shared.manifest.files == half.manifest.files
    assert Engine.load(shared.path) == shared
    for name in shared.manifest.files:
        assert (shared.path / name).samefile(folder / half.path.name / name), name
    assert build(exported(WIDE), folder) == shared


def test_a_shared_engine_is_the_one_that_would_be_built(
    half: Engine, exported: Exported, tmp_path: Path
) -> None:
    shared = build(exported(WIDE), copied(half, tmp_path / "beside"))
    assert contents(build(exported(WIDE), tmp_path / "alone").path) == contents(shared.path)


@pytest.mark.usefixtures("no_builder")
def test_files_are_copied_where_they_cannot_be_linked(
    half: Engine, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError("no links here")

    folder = copied(half, tmp_path)
    monkeypatch.setattr("os.link", refused)
    shared = build(exported(WIDE), folder)
    assert Engine.load(shared.path).manifest.files == half.manifest.files
    assert not shared.file("engine.plan").samefile(folder / half.path.name / "engine.plan")


@pytest.mark.parametrize("damage", ["engine.plan", "network.onnx", NAME])
@pytest.mark.usefixtures("no_builder")
def test_a_damaged_neighbour_is_not_shared(
    damage: str, half: Engine, exported: Exported, tmp_path: Path
) -> None:
    folder = copied(half, tmp_path)
    path = folder / half.path.name / damage
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(Reached):
        build(exported(WIDE), folder)


@pytest.mark.parametrize(
    ("profile", "graph"),
    [
        (replace(ODD, batch=2), "core"),
        (replace(WIDE, refiner=Refiner.FAST), "core"),
        (ODD, "full"),
    ],
    ids=["batch", "refiner", "graph"],
)
@pytest.mark.usefixtures("no_builder")
def test_other_networks_do_not_share(
    profile: Profile, graph: str, half: Engine, exported: Exported, tmp_path: Path
) -> None:
    with pytest.raises(Reached):
        build(exported(profile, graph), copied(half, tmp_path))


@pytest.mark.usefixtures("no_builder")
def test_force_shares_nothing(half: Engine, exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(Reached):
        build(exported(WIDE), copied(half, tmp_path), force=True)


def copied(engine: Engine, folder: Path) -> Path:
    """Returns a folder of engines with a copy of this one."""
    target = folder / engine.path.name
    target.mkdir(parents=True)
    for path in engine.path.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_session_on_a_machine_without_a_gpu_says_so(half: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise EngineError("GPU", got="no driver", expected="a GPU", todo="Build with backend 'cpu'.")

    monkeypatch.setattr("rvm_trt.runtime.cuda_driver.Driver.load", none)
    with pytest.raises(EngineError, match="GPU: got no driver"):
        MattingSession(half)
