"""Plans of TensorRT in the runtime: which one is loaded, what is checked, what is kept, and what errors say."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import stand_in_tensorrt
import tensorrt_rtx
from cuda_world import SMALL, TARGETS, World, make_world

from rvm_trt.contract import CHANNELS_LAST
from rvm_trt.errors import EngineError
from rvm_trt.options import Backend, Precision, Refiner
from rvm_trt.profile import Profile
from rvm_trt.runtime import cuda_session
from rvm_trt.runtime.cuda import CudaDevice
from rvm_trt.runtime.cuda_stages import CudaStages
from rvm_trt.runtime.tensorrt import TensorRtNetwork

TURING = "engine-sm_75.plan"
BOTH = ("engine.plan", TURING)
FRAME = np.zeros((SMALL.height, SMALL.width, 3), np.uint8)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def cache_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.cache"))


@pytest.mark.parametrize(
    ("capability", "targets", "plans", "expected"),
    [
        ((8, 9), TARGETS, ("engine.plan",), "engine.plan"),
        ((8, 9), ("sm_75", *TARGETS), BOTH, "engine.plan"),
        ((7, 5), ("sm_75", *TARGETS), BOTH, TURING),
        ((7, 5), ("sm_75",), ("engine.plan",), "engine.plan"),
        ((12, 0), ("sm_89", "sm_120"), ("engine.plan",), "engine.plan"),
    ],
)
def test_the_plan_for_the_gpu_is_loaded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    targets: tuple[str, ...],
    plans: Sequence[str],
    expected: str,
) -> None:
    world = make_world(tmp_path, monkeypatch, capability=capability, targets=targets, plans=plans)
    world.stages().close()
    assert world.tensorrt.plans == [expected.encode()]


def test_a_gpu_that_the_engine_was_not_built_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path, monkeypatch, capability=(9, 0))
    with pytest.raises(EngineError) as caught:
        world.stages()
    assert "compute capability 9.0 (Stand-in RTX, sm_90)" in caught.value.got
    assert "sm_80, sm_89" in caught.value.expected
    assert "--sm 90" in caught.value.todo
    assert not world.tensorrt.plans
    assert world.driver.retained == 0


def test_a_plan_of_enterprise_tensorrt_runs_without_what_only_the_other_library_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path, monkeypatch, backend=Backend.TENSORRT, targets=("gpu-at-build",))
    with world.schedule() as (schedule, _):
        schedule.submit([FRAME])
        schedule.collect()
    assert world.tensorrt.plans == [b"engine.plan"]
    assert world.tensorrt.runs == 3
    assert not cache_files(tmp_path)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("deserialize_cuda_engine", "TensorRT for RTX 1.7.1.116 built it"),
        ("create_execution_context", "an execution context"),
        ("set_tensor_address", "memory for 'hid'"),
        ("set_runtime_cache", "runtime cache"),
        ("execute_async_v3", "a run of the network"),
    ],
)
def test_what_the_library_refuses_is_told_in_its_words(world: World, call: str, expected: str) -> None:
    world.tensorrt.refuses.add(call)
    with pytest.raises(EngineError) as caught, world.schedule():
        pass
    assert caught.value.got == f"the refusal of TensorRT for RTX 1.7.1.116: [standIn.cpp] {call} failed"
    assert expected in caught.value.expected
    del caught
    assert not world.driver.live
    assert world.driver.retained == 0


def test_what_the_library_said_before_is_not_told_again(world: World) -> None:
    with world.gpu as gpu, ExitStack() as owned:
        network = TensorRtNetwork(world.engine, cuda_session.load_library(Backend.TENSORRT_RTX), gpu)
        owned.callback(network.close)
        world.tensorrt.refuses.add("create_execution_context")
        for _ in range(2):
            with pytest.raises(EngineError) as caught:
                network.context({})
            assert caught.value.got.count("create_execution_context failed") == 1


def test_a_plan_with_other_tensors_than_its_manifest_is_refused(world: World) -> None:
    src, r1i, *rest = world.tensorrt.tensors
    hidden = next(spec for spec in rest if spec.layout == CHANNELS_LAST)
    rest.remove(hidden)
    world.tensorrt.tensors = [
        replace(src, shape=(1, 3, 8, 8)),
        replace(r1i, dtype="float32"),
        replace(hidden, layout="linear"),
        replace(rest.pop(), name="extra"),
        *rest,
    ]
    with pytest.raises(EngineError) as caught:
        world.stages()
    for difference in (
        "src: input (1, 3, 8, 8) float16 LINEAR, expected input (1, 3, 19, 25) float16 LINEAR",
        "r1i: input (1, 16, 10, 13) float32 LINEAR, expected input (1, 16, 10, 13) float16 LINEAR",
        "hid: output (1, 16, 19, 25) float16 LINEAR, expected output (1, 16, 19, 25) float16 HWC8",
        "extra: output (1, 64, 2, 2) float16 LINEAR, expected no such tensor",
        "r4o: missing, expected output (1, 64, 2, 2) float16 LINEAR",
    ):
        assert difference in caught.value.got
    assert world.driver.retained == 0


@pytest.mark.parametrize(
    ("precision", "ratio", "refiner", "kernels"),
    [
        (Precision.FP16, 0.5, Refiner.DEEP, {"sample-rgb8-half", "head-deep-half", "compose-rgb8-rgb8"}),
        (Precision.INT8, 0.5, Refiner.FAST, {"sample-rgb8-half", "head-fast-half", "compose-rgb8-rgb8"}),
        (Precision.FP32, 1.0, Refiner.DEEP, {"sample-rgb8-float", "head-none-float", "compose-rgb8-rgb8"}),
    ],
)
def test_kernels_are_those_of_the_network(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: Precision,
    ratio: float,
    refiner: Refiner,
    kernels: set[str],
) -> None:
    profile = Profile(width=SMALL.width, height=SMALL.height, ratio=ratio, refiner=refiner)
    world = make_world(tmp_path, monkeypatch, profile=profile, precision=precision)
    with world.schedule() as (schedule, _):
        schedule.submit([FRAME])
        schedule.collect()
    loaded = {call[0].decode() for call in world.driver.named("cuModuleLoadData")}
    assert loaded == kernels
    launched = {
        call.cubin.decode()
        for entry in ("sample", "head", "compose")
        for (call,) in world.driver.named(entry)
    }
    assert launched == kernels


def test_a_network_that_gives_the_coefficients_itself_has_no_head(world: World) -> None:
    asked = []

    class Network:
        results = ("A", "b")

        def context(self, addresses: dict[str, int]) -> object:
            asked.append(addresses)
            return SimpleNamespace(is_capturable=bool)

        def close(self) -> None:
            pass

    with CudaStages(world.gpu, Network(), SMALL, outputs=("pha",), half=False, head=None) as stages:
        assert stages.sizes.hidden == 0
        device = CudaDevice(stages.gpu)
        sizes = {"src": (stages.sizes.src,), "results": stages.sizes.coefficients}
        buffers = {
            name: tuple(device.buffer(f"{name}.{i}", size) for i, size in enumerate(all_of))
            for name, all_of in {
                **sizes,
                "state": stages.sizes.state,
                "next_state": stages.sizes.state,
            }.items()
        }
        (src,) = buffers.pop("src")
        core = stages.core("core.0", src=src, **buffers)
        spans = {name: tuple(buffer.span() for buffer in all_of) for name, all_of in buffers.items()}
        assert core.reads == (src.span(), *spans["state"])
        assert core.writes == (*spans["next_state"], *spans["results"])
        assert core.state == (spans["state"], spans["next_state"])
        assert core.context != stages.core("core.1", src=src, **buffers).context
        assert (asked[0]["A"], asked[0]["b"]) == tuple(buffer.address for buffer in buffers["results"])
        device.close()


def test_compiled_kernels_are_kept_from_run_to_run(world: World, tmp_path: Path) -> None:
    for expected in (b"kernel kernel ", b"kernel kernel kernel kernel "):
        world.tensorrt.kept = b""
        with world.schedule():
            pass
        assert world.tensorrt.kept == expected
    (file,) = cache_files(tmp_path)
    plan = world.engine.manifest.files["engine.plan"]
    assert file.name == f"{plan[:16]}-sm_89-stand-in-rtx-1.7.1.116.cache"


@pytest.mark.parametrize("damage", [b"", b"short", b"0" * 64 + b"\nother"])
def test_a_damaged_file_of_kernels_is_made_anew(world: World, tmp_path: Path, damage: bytes) -> None:
    with world.schedule():
        pass
    (file,) = cache_files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(damage)
    world.tensorrt.kept = b""
    with world.schedule():
        pass
    assert file.read_bytes() == whole


def test_kernels_that_the_library_does_not_take_are_compiled_again(world: World, tmp_path: Path) -> None:
    with world.schedule():
        pass
    world.tensorrt.refuses.add("deserialize")
    world.tensorrt.kept = b"other "
    with world.schedule():
        pass
    assert b"other kernel kernel" in cache_files(tmp_path)[0].read_bytes()


def test_kernels_that_have_not_changed_are_not_written_again(world: World, tmp_path: Path) -> None:
    with world.schedule():
        pass
    (file,) = cache_files(tmp_path)
    before = file.stat().st_ino
    world.stages().close()  # no context, so nothing is compiled
    assert file.stat().st_ino == before


def test_kernels_that_cannot_be_kept_are_a_warning_and_everything_is_released(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "rvm-trt").write_text("in the way")
    with pytest.warns(RuntimeWarning, match="XDG_CACHE_HOME"), world.schedule():
        pass
    assert not world.driver.live
    assert world.driver.retained == 0


def test_a_network_that_cannot_be_captured_still_runs(world: World) -> None:
    world.tensorrt.capturable = False
    with world.schedule() as (schedule, _):
        schedule.submit([FRAME])
        schedule.collect()
    assert not list(world.driver.named("cuGraphLaunch"))
    assert world.tensorrt.runs == 3


@pytest.mark.parametrize(
    ("name", "stand_in"),
    [
        ("Runtime", stand_in_tensorrt._Runtime),
        ("ICudaEngine", stand_in_tensorrt._Engine),
        ("IExecutionContext", stand_in_tensorrt._Context),
        ("IRuntimeCache", stand_in_tensorrt._Cache),
        ("IRuntimeConfig", stand_in_tensorrt._Config),
    ],
)
def test_the_stand_in_has_no_call_that_tensorrt_has_not(name: str, stand_in: type) -> None:
    played = {attribute for attribute in vars(stand_in) if not attribute.startswith("_")}
    assert played - {"strategy", "cache"} <= set(dir(getattr(tensorrt_rtx, name)))
