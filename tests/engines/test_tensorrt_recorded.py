"""TensorRT, played by a recording module: the calls that it would get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorrt_rtx
from recording_tensorrt import FOREIGN, LAYERS
from small_graphs import HALF, half_graph

from rvm_trt.engines import tensorrt
from rvm_trt.engines.tensorrt import BuiltPlan, build_plan
from rvm_trt.engines.tensorrt_library import load_library
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.options import Backend


@pytest.fixture
def half() -> bytes:
    content: bytes = half_graph().SerializeToString()
    return content


def built_for_gpu(content: bytes, **options: Any) -> BuiltPlan:
    library = load_library(Backend.TENSORRT)
    return build_plan(content, library=library, options=TensorRtOptions(**options), tensors=HALF)


def test_tensorrt_gets_every_option_and_no_target(recorder: Any, half: bytes) -> None:
    built_for_gpu(
        half,
        workspace_bytes=1 << 28,
        optimization_level=5,
        hardware_compatibility="same_compute_capability",
        max_aux_streams=1,
    )
    workspace = tensorrt_rtx.MemoryPoolType.WORKSPACE
    same = tensorrt_rtx.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    assert recorder.values("set_memory_pool_limit") == [(workspace, 1 << 28)]
    assert recorder.values("builder_optimization_level") == [(5,)]
    assert recorder.values("hardware_compatibility_level") == [(same,)]
    assert recorder.values("max_aux_streams") == [(1,)]
    assert recorder.values("set_compute_capability") == recorder.values("num_compute_capabilities") == []


def test_tensorrt_keeps_its_defaults_where_nothing_is_asked(recorder: Any, half: bytes) -> None:
    built_for_gpu(half)
    told = {name for name, *_ in recorder.calls}
    assert told == {
        "create_network",
        "profiling_verbosity",
        "clear_flag",
        "progress_monitor",
        "build_serialized_network",
    }
    strongly_typed = 1 << int(tensorrt_rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert recorder.values("create_network") == [(strongly_typed,)]
    assert recorder.values("profiling_verbosity") == [(tensorrt_rtx.ProfilingVerbosity.DETAILED,)]
    assert recorder.values("clear_flag") == [(tensorrt_rtx.BuilderFlag.TF32,)]


def test_the_inspector_describes_the_built_plan(recorder: Any, half: bytes) -> None:
    built = built_for_gpu(half)
    assert recorder.deserialised == [built.plan]
    assert built.layers == LAYERS


def test_a_plan_that_does_not_load_is_refused(recorder: Any, half: bytes) -> None:
    recorder.loads = False
    with pytest.raises(EngineError, match=r"^plan: got the refusal of TensorRT 10\.13.*another version"):
        built_for_gpu(half)


@pytest.mark.usefixtures("recorder")
def test_the_log_of_tactics_is_kept_where_asked(half: bytes) -> None:
    assert built_for_gpu(half).log == ()
    kept = built_for_gpu(half, tactic_log=True).log
    assert any("Tactic: 0x" in line for line in kept)
    assert all("actic" in line for line in kept)


def test_a_timing_cache_is_begun_where_there_is_none(recorder: Any, half: bytes, tmp_path: Path) -> None:
    path = tmp_path / "new" / "gpu.cache"
    built_for_gpu(half, timing_cache=path)
    assert recorder.values("create_timing_cache") == [(b"",)]
    assert path.read_bytes() == b" timed"


def test_a_timing_cache_is_read_and_written_back(recorder: Any, half: bytes, tmp_path: Path) -> None:
    path = tmp_path / "gpu.cache"
    path.write_bytes(b"old")
    built_for_gpu(half, timing_cache=path)
    assert recorder.values("create_timing_cache") == [(b"old",)]
    ((cache, ignore_mismatch),) = recorder.values("set_timing_cache")
    assert (cache.content, ignore_mismatch) == (b"old", False)
    assert path.read_bytes() == b"old timed"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("recorder")
def test_times_of_another_build_meanwhile_are_kept(half: bytes, tmp_path: Path) -> None:
    path = tmp_path / "gpu.cache"
    path.write_bytes(b"old")
    library = load_library(Backend.TENSORRT)
    options = TensorRtOptions(timing_cache=path)

    def other_build(_: str) -> None:
        path.write_bytes(b"+other")

    build_plan(half, library=library, options=options, tensors=HALF, progress=other_build)
    assert path.read_bytes() == b"old+other timed"


@pytest.mark.parametrize("content", [b"damaged", FOREIGN])
def test_a_timing_cache_of_another_gpu_is_refused_and_left(
    content: bytes, recorder: Any, half: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "gpu.cache"
    path.write_bytes(content)
    with pytest.raises(
        OptionError, match=r"^timing_cache: got .*gpu\.cache, which is damaged or of another GPU"
    ):
        built_for_gpu(half, timing_cache=path)
    assert path.read_bytes() == content
    assert recorder.values("build_serialized_network") == []


def test_targets_are_refused_where_the_plan_is_for_the_gpu_at_hand(recorder: Any, half: bytes) -> None:
    with pytest.raises(OptionError, match=r"^targets: got \('sm_89',\), .*for the GPU at hand"):
        built_for_gpu(half, targets=("sm_89",))
    assert recorder.calls == []


def test_tensorrt_without_a_gpu_says_so(recorder: Any, half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "has_gpu", lambda: False)
    with pytest.raises(EngineError, match=r"^TensorRT: got no NVIDIA GPU .* backend 'tensorrt-rtx'"):
        built_for_gpu(half)
    assert recorder.calls == []


def test_a_builder_that_does_not_start_gives_its_reason(recorder: Any, half: bytes) -> None:
    recorder.starts = False
    with pytest.raises(EngineError, match=r"^builder: got .*CUDA initialization failure with error: 3"):
        built_for_gpu(half)
