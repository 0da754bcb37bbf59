"""Plans of TensorRT for RTX, built without a GPU: what they compute in, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorrt_rtx
from onnx import TensorProto, helper, numpy_helper
from small_graphs import HALF, INT8, branched_graph, half_graph, quantised_graph, spec

from rvm_trt import Profile
from rvm_trt.contract import TensorSpec, tensors
from rvm_trt.engines.plan import Plan, PlanKernel, read_plan
from rvm_trt.engines.tensorrt import BuiltPlan, build_plan
from rvm_trt.engines.tensorrt_library import Library
from rvm_trt.engines.tensorrt_options import DEFAULT_TARGETS, TensorRtOptions
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.options import Graph

ODD = Profile(width=161, height=97, ratio=0.6)
ADA = TensorRtOptions(targets=("sm_89",))


@pytest.fixture
def half() -> bytes:
    content: bytes = half_graph().SerializeToString()
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
    quantised = quantised_graph().SerializeToString()
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
    content = branched_graph().SerializeToString()
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
    assert "Failed to parse the ONNX model" in refusal(rtx, half_graph().SerializeToString()[:-100])


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
