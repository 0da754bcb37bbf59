"""One builder for both TensorRT libraries: real plans for RTX, and the calls that the other would get."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorrt_rtx
from onnx import TensorProto, helper, numpy_helper

from rvm_trt import Profile
from rvm_trt.contract import TensorSpec, tensors
from rvm_trt.engines import tensorrt, tensorrt_library
from rvm_trt.engines.plan import Plan, PlanKernel, read_plan
from rvm_trt.engines.tensorrt import BuiltPlan, build_plan
from rvm_trt.engines.tensorrt_library import Library, has_gpu, load_library
from rvm_trt.engines.tensorrt_options import DEFAULT_TARGETS, TensorRtOptions, parse_targets
from rvm_trt.errors import DependencyError, EngineError, OptionError
from rvm_trt.options import Backend, Graph

small = runpy.run_path(str(Path(__file__).with_name("small_graphs.py")))
recording = runpy.run_path(str(Path(__file__).with_name("recording_tensorrt.py")))
ODD = Profile(width=161, height=97, ratio=0.6)
ADA = TensorRtOptions(targets=("sm_89",))


def spec(name: str, direction: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype, direction=direction)


HALF = (spec("x", "input", 1, 3, 64, 64), spec("y", "output", 1, 16, 32, 32))
INT8 = (spec("x", "input", 1, 3, 64, 64), spec("y", "output", 1, 16, 64, 64))


@pytest.fixture
def rtx() -> Library:
    return load_library(Backend.TENSORRT_RTX)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands in for ``tensorrt``, on a machine that has a GPU."""
    module = recording["RecordingTensorRt"]()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(tensorrt, "has_gpu", lambda: True)
    return module


@pytest.fixture
def half() -> bytes:
    content: bytes = small["half_graph"]().SerializeToString()
    return content


def one_node(operator: str, *, domain: str = "", weight: np.ndarray | None = None) -> bytes:
    """A graph of one operator, float32 (1, 3, 8, 8) in and out, with a second, constant input perhaps."""
    names = ["x"] if weight is None else ["x", "w"]
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], "the_node", domain=domain)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, 8, 8))],
        [] if weight is None else [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 19), *([helper.make_opsetid(domain, 1)] if domain else [])]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return content


ONE = (spec("x", "input", 1, 3, 8, 8), spec("y", "output", 1, 3, 8, 8))
CONVOLUTION = one_node("Conv", weight=np.ones((3, 3, 1, 1), np.float32))
CRAMPED = TensorRtOptions(targets=("sm_89",), workspace_bytes=1024)


def plan_of(built: BuiltPlan, folder: Path) -> Plan:
    path = folder / "engine.plan"
    path.write_bytes(built.plan)
    return read_plan(path)


def convolved(plan: Plan) -> set[str]:
    """The element types that the convolutions read."""
    read = [plan.tensors[name] for kernel in kernels(plan, "convolution") for name in kernel.inputs]
    return {tensor.dtype for tensor in read if tensor.activation}


def kernels(plan: Plan, kind: str) -> list[PlanKernel]:
    return [kernel for kernel in plan.kernels if kernel.kind == kind]


def test_a_plan_is_in_the_precision_of_its_graph(rtx: Library, half: bytes, tmp_path: Path) -> None:
    quantised = small["quantised_graph"]().SerializeToString()
    halved = build_plan(half, library=rtx, options=ADA, tensors=HALF)
    lowered = build_plan(quantised, library=rtx, options=ADA, tensors=INT8)
    assert convolved(plan_of(halved, tmp_path)) == {"float16"}
    assert convolved(plan_of(lowered, tmp_path)) == {"int8"}
    assert halved.layers is None
    assert halved.log == lowered.log == ()


def test_a_plan_names_the_layers_of_its_kernels(rtx: Library, half: bytes, tmp_path: Path) -> None:
    plan = plan_of(build_plan(half, library=rtx, options=ADA, tensors=HALF), tmp_path)
    assert {"first", "pool", "second", "squash"} <= {
        name for kernel in plan.kernels for name in kernel.layers
    }


def test_the_core_graph_becomes_a_plan(rtx: Library, exported: Callable[..., Path], tmp_path: Path) -> None:
    content = exported(ODD).read_bytes()
    contract = tensors(ODD, Graph.CORE)
    built, again = (build_plan(content, library=rtx, options=ADA, tensors=contract) for _ in range(2))
    plan = plan_of(built, tmp_path)
    assert set(plan.outputs) == {t.name for t in contract if t.direction == "output"}
    assert convolved(plan) == {"float32"}
    # The order in which outputs are listed follows addresses in memory.
    same = Counter(built.plan) == Counter(again.plan)
    assert same


def test_the_same_graph_gives_the_same_bytes(rtx: Library, half: bytes) -> None:
    one, other = (build_plan(half, library=rtx, options=ADA, tensors=HALF) for _ in range(2))
    assert one == other


def test_a_plan_is_for_its_targets_in_any_order(rtx: Library, half: bytes, tmp_path: Path) -> None:
    options = [TensorRtOptions(targets=targets) for targets in (("sm_120", "sm_86"), ("sm_86", "sm_120"))]
    one, other = (build_plan(half, library=rtx, options=o, tensors=HALF) for o in options)
    assert one == other
    assert set(plan_of(one, tmp_path).targets) == {"sm_86", "sm_120"}


def test_streams_are_limited(rtx: Library, tmp_path: Path) -> None:
    content = small["branched_graph"]().SerializeToString()
    contract = (spec("x", "input", 1, 16, 32, 32), spec("y", "output", 1, 16, 32, 32))
    free = build_plan(content, library=rtx, options=ADA, tensors=contract)
    one = TensorRtOptions(targets=("sm_89",), max_aux_streams=0)
    assert plan_of(free, tmp_path).streams > 1
    assert plan_of(build_plan(content, library=rtx, options=one, tensors=contract), tmp_path).streams == 1


def test_the_phases_of_a_build_are_told_once_each(rtx: Library, half: bytes) -> None:
    told: list[str] = []
    quiet = build_plan(half, library=rtx, options=ADA, tensors=HALF)
    assert build_plan(half, library=rtx, options=ADA, tensors=HALF, progress=told.append) == quiet
    assert "TensorRT for RTX: Building engine" in told
    assert len(told) == len(set(told)) > 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_of_the_listener_ends_the_build(
    error: type[BaseException], rtx: Library, half: bytes
) -> None:
    told: list[str] = []

    def stop(text: str) -> None:
        told.append(text)
        raise error("enough")

    with pytest.raises(error, match="enough"):
        build_plan(half, library=rtx, options=ADA, tensors=HALF, progress=stop)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (
            (HALF[0], spec("z", "output", 1, 16, 32, 32)),
            r"got output y .* expected output z \(1, 16, 32, 32\)",
        ),
        ((HALF[0], spec("y", "output", 1, 16, 64, 64)), r"got output y \(1, 16, 32, 32\) float32, expected"),
        (
            (spec("x", "input", 1, 3, 64, 64, dtype="float16"), HALF[1]),
            r"got input x .* float32, expected input x .* float16",
        ),
        ((spec("x", "output", 1, 3, 64, 64), HALF[1]), r"got input x .* expected output x"),
        (HALF[:1], r"got output y .* expected no more tensors"),
        ((*HALF, spec("r1i", "input", 1, 1, 1, 1)), r"got no such tensor, expected input r1i"),
    ],
)
def test_a_graph_that_breaks_the_contract_is_not_built(
    contract: Sequence[TensorSpec], message: str, rtx: Library, half: bytes
) -> None:
    told: list[str] = []
    with pytest.raises(EngineError, match=f"^graph: {message}"):
        build_plan(half, library=rtx, options=ADA, tensors=contract, progress=told.append)
    assert told == []


def refusal(rtx: Library, content: bytes, options: TensorRtOptions = ADA) -> str:
    with pytest.raises(EngineError, match=r"the refusal of TensorRT for RTX \d") as caught:
        build_plan(content, library=rtx, options=options, tensors=ONE)
    return caught.value.got


def test_what_is_no_onnx_is_refused_in_the_parsers_words(rtx: Library) -> None:
    assert "MODEL_DESERIALIZE_FAILED" in refusal(rtx, b"not a graph")
    assert "Failed to parse the ONNX model" in refusal(rtx, small["half_graph"]().SerializeToString()[:-100])


def test_an_unsupported_operator_is_named_with_its_node(rtx: Library) -> None:
    assert "node 'the_node' (Det): UNSUPPORTED_NODE" in refusal(rtx, one_node("Det"))
    words = refusal(rtx, one_node("Foo", domain="elsewhere"))
    assert "node 'the_node' (Foo): INVALID_NODE" in words
    assert "Plugin not found" in words


def test_the_missing_gpu_is_not_given_as_the_cause(rtx: Library) -> None:
    words = refusal(rtx, one_node("Add", weight=np.ones(1, np.float16)))
    assert "must have same input types" in words
    assert "CUDA driver" not in words


def test_a_failing_build_gives_the_builders_words(rtx: Library) -> None:
    assert "no tactics to implement the operation within workspace limit" in refusal(
        rtx, CONVOLUTION, CRAMPED
    )


def test_another_logger_in_the_process_takes_no_words_away(rtx: Library, half: bytes) -> None:
    other = tensorrt_rtx.Runtime(tensorrt_rtx.Logger(tensorrt_rtx.Logger.INTERNAL_ERROR))
    assert "MODEL_DESERIALIZE_FAILED" in refusal(rtx, b"not a graph")
    assert "no tactics" in refusal(rtx, CONVOLUTION, CRAMPED)
    assert build_plan(half, library=rtx, options=ADA, tensors=HALF).log == ()
    del other


def test_unknown_targets_are_refused_with_the_known_ones(rtx: Library, half: bytes) -> None:
    assert {"sm_75", *DEFAULT_TARGETS} <= set(rtx.known_targets)
    options = TensorRtOptions(targets=("sm_89", "sm_90", "sm_100"))
    with pytest.raises(OptionError, match=r"^targets: got 'sm_100', 'sm_90', .* sm_75, .*sm_89, sm_120"):
        build_plan(half, library=rtx, options=options, tensors=HALF)


@pytest.mark.parametrize(
    "option",
    [
        {"timing_cache": Path("cache")},
        {"optimization_level": 0},
        {"tactic_log": True},
        {"hardware_compatibility": "ampere_plus"},
    ],
)
def test_options_that_rtx_does_not_have_are_refused(
    option: dict[str, Any], rtx: Library, half: bytes
) -> None:
    (name,) = option
    with pytest.raises(OptionError, match=f"^{name}: got .* TensorRT for RTX has no such option"):
        build_plan(half, library=rtx, options=TensorRtOptions(**option), tensors=HALF)


POLYGRAPHY = """
import sys
from pathlib import Path
from polygraphy.backend.trt import NetworkFromOnnxBytes
_, network, _ = NetworkFromOnnxBytes(Path(sys.argv[1]).read_bytes(), strongly_typed=True)()
inputs = [network.get_input(index).name for index in range(network.num_inputs)]
print(*inputs, *(network.get_output(index).name for index in range(network.num_outputs)))
"""


def test_polygraphy_parses_the_same_graph(exported: Callable[..., Path]) -> None:
    # In a process of its own: it registers its logger for as long as the process lives.
    command = [sys.executable, "-c", POLYGRAPHY, str(exported(ODD))]
    env = {**os.environ, "POLYGRAPHY_USE_TENSORRT_RTX": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == [tensor.name for tensor in tensors(ODD, Graph.CORE)]


# TensorRT, played by a recording module.


def built_for_gpu(content: bytes, **options: Any) -> BuiltPlan:
    library = load_library(Backend.TENSORRT)
    return build_plan(content, library=library, options=TensorRtOptions(**options), tensors=HALF)


def test_tensorrt_gets_every_option_and_no_target(module: Any, half: bytes) -> None:
    built_for_gpu(
        half,
        workspace_bytes=1 << 28,
        optimization_level=5,
        hardware_compatibility="same_compute_capability",
        max_aux_streams=1,
    )
    workspace = tensorrt_rtx.MemoryPoolType.WORKSPACE
    same = tensorrt_rtx.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    assert module.values("set_memory_pool_limit") == [(workspace, 1 << 28)]
    assert module.values("builder_optimization_level") == [(5,)]
    assert module.values("hardware_compatibility_level") == [(same,)]
    assert module.values("max_aux_streams") == [(1,)]
    assert module.values("set_compute_capability") == module.values("num_compute_capabilities") == []


def test_tensorrt_keeps_its_defaults_where_nothing_is_asked(module: Any, half: bytes) -> None:
    built_for_gpu(half)
    told = {name for name, *_ in module.calls}
    assert told == {
        "create_network",
        "profiling_verbosity",
        "clear_flag",
        "progress_monitor",
        "build_serialized_network",
    }
    strongly_typed = 1 << int(tensorrt_rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert module.values("create_network") == [(strongly_typed,)]
    assert module.values("profiling_verbosity") == [(tensorrt_rtx.ProfilingVerbosity.DETAILED,)]
    assert module.values("clear_flag") == [(tensorrt_rtx.BuilderFlag.TF32,)]


def test_the_inspector_describes_the_built_plan(module: Any, half: bytes) -> None:
    built = built_for_gpu(half)
    assert module.deserialised == [built.plan]
    assert built.layers == recording["LAYERS"]


def test_a_plan_that_does_not_load_is_refused(module: Any, half: bytes) -> None:
    module.loads = False
    with pytest.raises(EngineError, match=r"^plan: got the refusal of TensorRT 10\.13.*another version"):
        built_for_gpu(half)


@pytest.mark.usefixtures("module")
def test_the_log_of_tactics_is_kept_where_asked(half: bytes) -> None:
    assert built_for_gpu(half).log == ()
    kept = built_for_gpu(half, tactic_log=True).log
    assert any("Tactic: 0x" in line for line in kept)
    assert all("actic" in line for line in kept)


def test_a_timing_cache_is_begun_where_there_is_none(module: Any, half: bytes, tmp_path: Path) -> None:
    path = tmp_path / "new" / "gpu.cache"
    built_for_gpu(half, timing_cache=path)
    assert module.values("create_timing_cache") == [(b"",)]
    assert path.read_bytes() == b" timed"


def test_a_timing_cache_is_read_and_written_back(module: Any, half: bytes, tmp_path: Path) -> None:
    path = tmp_path / "gpu.cache"
    path.write_bytes(b"old")
    built_for_gpu(half, timing_cache=path)
    assert module.values("create_timing_cache") == [(b"old",)]
    ((cache, ignore_mismatch),) = module.values("set_timing_cache")
    assert (cache.content, ignore_mismatch) == (b"old", False)
    assert path.read_bytes() == b"old timed"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("module")
def test_times_of_another_build_meanwhile_are_kept(half: bytes, tmp_path: Path) -> None:
    path = tmp_path / "gpu.cache"
    path.write_bytes(b"old")
    library = load_library(Backend.TENSORRT)
    options = TensorRtOptions(timing_cache=path)

    def other_build(_: str) -> None:
        path.write_bytes(b"+other")

    build_plan(half, library=library, options=options, tensors=HALF, progress=other_build)
    assert path.read_bytes() == b"old+other timed"


@pytest.mark.parametrize("content", [b"damaged", recording["FOREIGN"]])
def test_a_timing_cache_of_another_gpu_is_refused_and_left(
    content: bytes, module: Any, half: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "gpu.cache"
    path.write_bytes(content)
    with pytest.raises(
        OptionError, match=r"^timing_cache: got .*gpu\.cache, which is damaged or of another GPU"
    ):
        built_for_gpu(half, timing_cache=path)
    assert path.read_bytes() == content
    assert module.values("build_serialized_network") == []


def test_targets_are_refused_where_the_plan_is_for_the_gpu_at_hand(module: Any, half: bytes) -> None:
    with pytest.raises(OptionError, match=r"^targets: got \('sm_89',\), .*for the GPU at hand"):
        built_for_gpu(half, targets=("sm_89",))
    assert module.calls == []


def test_tensorrt_without_a_gpu_says_so(module: Any, half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "has_gpu", lambda: False)
    with pytest.raises(EngineError, match=r"^TensorRT: got no NVIDIA GPU .* backend 'tensorrt-rtx'"):
        built_for_gpu(half)
    assert module.calls == []


def test_a_builder_that_does_not_start_gives_its_reason(module: Any, half: bytes) -> None:
    module.starts = False
    with pytest.raises(EngineError, match=r"^builder: got .*CUDA initialization failure with error: 3"):
        built_for_gpu(half)


# The libraries.


def test_the_libraries_say_what_they_have(rtx: Library, module: Any) -> None:
    other = load_library(Backend.TENSORRT)
    assert (rtx.name, rtx.version) == ("TensorRT for RTX", tensorrt_rtx.__version__)
    assert (other.name, other.version, other.known_targets) == ("TensorRT", module.__version__, ())
    assert rtx.builds_ahead_of_time
    assert not rtx.needs_gpu
    assert other.needs_gpu
    assert not other.builds_ahead_of_time


@pytest.mark.parametrize(
    ("backend", "name", "extra"),
    [(Backend.TENSORRT, "tensorrt", "tensorrt"), (Backend.TENSORRT_RTX, "tensorrt_rtx", "rtx")],
)
def test_a_library_that_is_not_installed_names_its_extra(
    backend: Backend, name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(wanted: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted)

    monkeypatch.setattr(tensorrt_library, "import_module", missing)
    with pytest.raises(DependencyError, match=rf'pip install "rvm-trt\[{extra}\]"'):
        load_library(backend)

    def broken(_: str) -> ModuleType:
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(tensorrt_library, "import_module", broken)
    with pytest.raises(EngineError, match=rf"^{name}: got an import that failed: libnvinfer\.so\.10"):
        load_library(backend)


def test_an_old_tensorrt_is_refused(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(module), "__version__", "10.9.0.34")
    with pytest.raises(DependencyError, match=r"got no package 'tensorrt>=10\.12'"):
        load_library(Backend.TENSORRT)


@pytest.mark.parametrize("backend", [Backend.CPU, Backend.AUTO])
def test_other_backends_have_no_tensorrt_library(backend: Backend) -> None:
    with pytest.raises(OptionError, match="expected 'tensorrt' or 'tensorrt-rtx'"):
        load_library(backend)


class Driver:
    def __init__(self, status: int, gpus: int) -> None:
        self._status, self._gpus = status, gpus

    def cuInit(self, _: int) -> int:  # noqa: N802
        return self._status

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self._gpus
        return 0


@pytest.mark.parametrize(("status", "gpus", "found"), [(0, 1, True), (0, 0, False), (100, 1, False)])
def test_a_gpu_is_one_that_the_driver_counts(
    status: int, gpus: int, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: Driver(status, gpus))
    assert has_gpu() is found


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert has_gpu() is False


# The options.


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("89,120", ("sm_89", "sm_120")),
        ("8.9, 12.0", ("sm_89", "sm_120")),
        ("sm_75", ("sm_75",)),
        ("SM86", ("sm_86",)),
    ],
)
def test_targets_are_written_in_three_ways(text: str, targets: tuple[str, ...]) -> None:
    assert parse_targets(text) == targets


@pytest.mark.parametrize("text", ["", "89,", "ada", "8.9.0", "1", "sm_90a", "89 120"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"^targets: got .* expected compute capabilities such as 'sm_89'"):
        parse_targets(text)


@pytest.mark.parametrize(
    "option",
    [
        {"targets": ()},
        {"targets": ("89",)},
        {"workspace_bytes": 0},
        {"workspace_bytes": 1.5},
        {"optimization_level": 6},
        {"optimization_level": True},
        {"max_aux_streams": -1},
        {"hardware_compatibility": "turing"},
    ],
)
def test_options_out_of_range_are_refused_when_made(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(OptionError, match=f"^{name}: got "):
        TensorRtOptions(**option)


def test_targets_are_ordered_and_single() -> None:
    options = TensorRtOptions(targets=("sm_120", "sm_86", "sm_120", "sm_89"))
    assert options.targets == ("sm_86", "sm_89", "sm_120")


def test_json_holds_what_changes_the_plan() -> None:
    plain = TensorRtOptions()
    aside = TensorRtOptions(timing_cache=Path("somewhere"), tactic_log=True)
    assert plain.to_json() == aside.to_json()
    for option in (
        {"targets": ("sm_75",)},
        {"workspace_bytes": 1 << 30},
        {"optimization_level": 4},
        {"hardware_compatibility": "ampere_plus"},
        {"max_aux_streams": 0},
    ):
        assert TensorRtOptions(**option).to_json() != plain.to_json()
