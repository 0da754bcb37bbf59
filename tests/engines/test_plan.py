"""A plan's own description of itself, beside what the graph it was built from must give."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_graphs import branched_graph, build_plan, half_graph, loop_graph, quantised_graph

from rvm_trt import Profile
from rvm_trt.engines.plan import Plan, PlanKernel, read_plan
from rvm_trt.errors import EngineError

Edit = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def half_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = build_plan(half_graph(), tmp_path_factory.mktemp("plans") / "half.plan")
    return path


@pytest.fixture(scope="module")
def half(half_path: Path) -> Plan:
    return read_plan(half_path)


@pytest.fixture(scope="module")
def core_path(tmp_path_factory: pytest.TempPathFactory, exported: Callable[..., Path]) -> Path:
    """Of a whole network, with fused kernels."""
    model = onnx.load_model(exported(Profile(width=161, height=97, ratio=0.6)))
    path: Path = build_plan(model, tmp_path_factory.mktemp("plans") / "core.plan")
    return path


def kernels(plan: Plan, kind: str) -> list[PlanKernel]:
    return [kernel for kernel in plan.kernels if kernel.kind == kind]


def statements(path: Path) -> list[bytes]:
    """The keywords of the first program in a plan, by a plain search."""
    content = path.read_bytes()
    start = content.index(b"\nmain {")
    return re.findall(rb"^  (\w+)=\{", content[start : content.index(b"\n}", start)], re.MULTILINE)


def altered(path: Path, folder: Path, edit: Edit) -> Path:
    """A copy with other content, whose header gives its new length."""
    content = bytearray(edit(path.read_bytes()))
    if len(content) >= 24:
        struct.pack_into("<Q", content, 16, len(content))
    target = folder / "altered.plan"
    target.write_bytes(content)
    return target


def test_every_statement_of_the_program_is_a_kernel(core_path: Path) -> None:
    found = statements(core_path)
    assert core_path.read_bytes().count(b"\nmain {") > 1, "fused kernels have programs of their own"
    plan = read_plan(core_path)
    assert len(plan.kernels) == len(found) > 100
    assert len(kernels(plan, "fused convolution")) == found.count(b"runtime_fusion") > 0
    assert len(kernels(plan, "convolution")) == found.count(b"corrltn") > 0


def test_what_orders_the_streams_is_no_kernel(tmp_path: Path) -> None:
    path = build_plan(branched_graph(), tmp_path / "branched.plan")
    found = statements(path)
    launched = [keyword for keyword in found if keyword not in (b"signal", b"wait")]
    assert len(launched) < len(found), "the graph should need two streams"
    plan = read_plan(path)
    assert len(plan.kernels) == len(launched)
    assert {kernel.stream for kernel in plan.kernels} == set(range(plan.streams)) == {0, 1}


def test_a_network_s_own_tensors_have_their_names_and_shapes(core_path: Path) -> None:
    profile = Profile(width=161, height=97, ratio=0.6)
    plan = read_plan(core_path)
    assert set(plan.inputs) == {"src", "r1i", "r2i", "r3i", "r4i"}
    assert set(plan.outputs) == {"A", "b", "r1o", "r2o", "r3o", "r4o"}
    assert plan.tensors["src"].shape == (1, 3, profile.low_height, profile.low_width)
    assert tuple(plan.tensors[f"r{k}o"].shape for k in range(1, 5)) == profile.state_shapes


def test_every_convolution_of_the_graph_is_in_some_kernel(
    core_path: Path, exported: Callable[..., Path]
) -> None:
    graph = onnx.load_model(exported(Profile(width=161, height=97, ratio=0.6))).graph
    wanted = {node.name for node in graph.node if node.op_type == "Conv"}
    plan = read_plan(core_path)
    named = {layer for kernel in plan.kernels for layer in kernel.layers}
    assert wanted
    assert wanted <= named


def test_a_known_graph_gives_its_kernels_and_layers(half: Plan) -> None:
    assert Counter(kernel.kind for kernel in half.kernels) >= Counter({"convolution": 2, "pooling": 1})
    first, second = kernels(half, "convolution")
    assert "first" in first.layers
    assert second.layers == ("second",)
    assert kernels(half, "pooling")[0].layers == ("pool",)
    named = {layer for kernel in half.kernels for layer in kernel.layers}
    assert named == {"narrow", "first", "rectify", "pool", "second", "widen", "squash"}


def test_a_known_graph_gives_its_element_types_and_sizes(half: Plan, half_path: Path) -> None:
    assert (half.inputs, half.outputs) == (("x",), ("y",))
    x = half.tensors["x"]
    assert (x.shape, x.dtype, x.bytes) == ((1, 3, 64, 64), "float32", 1 * 3 * 64 * 64 * 4)
    first = kernels(half, "convolution")[0]
    result = half.tensors[first.outputs[0]]
    assert (result.shape, result.dtype, result.bytes) == ((1, 16, 64, 64), "float16", 16 * 64 * 64 * 2)
    activations = [name for name in first.inputs if half.tensors[name].activation]
    assert [half.tensors[name].dtype for name in activations] == ["float16"]
    assert len(activations) < len(first.inputs), "the weights are no activations"
    assert half.size_bytes == half_path.stat().st_size
    assert half.device_memory_bytes > result.bytes


def test_kernels_that_only_cast_or_move_are_reformats(half: Plan) -> None:
    assert kernels(half, "reformat")[0].inputs[-1] == "x"
    last = half.kernels[-1]
    assert (last.outputs, last.kind, last.layers) == (("y",), "pointwise", ("widen", "squash"))


def test_a_quantised_convolution_reads_int8(tmp_path: Path) -> None:
    plan = read_plan(build_plan(quantised_graph(), tmp_path / "int8.plan"))
    (convolution,) = kernels(plan, "convolution")
    read = {plan.tensors[name].dtype for name in convolution.inputs if plan.tensors[name].activation}
    assert read == {"int8"}


def test_a_plan_names_all_its_targets(tmp_path: Path) -> None:
    plan = read_plan(build_plan(half_graph(), tmp_path / "two.plan", ("SM86", "SM120")))
    assert plan.targets == ("sm_86", "sm_120")


def test_a_loop_s_counter_is_no_kernel(tmp_path: Path) -> None:
    path = build_plan(loop_graph(), tmp_path / "loop.plan")
    assert {b"cjmp", b"memset", b"add"} <= set(statements(path))
    plan = read_plan(path)
    kinds = {kernel.kind for kernel in plan.kernels}
    assert "convolution" in kinds
    assert not kinds & {"cjmp", "memset", "add"}


def test_an_unknown_statement_counts_as_a_kernel_of_its_own_name(
    half: Plan, half_path: Path, tmp_path: Path
) -> None:
    path = altered(half_path, tmp_path, lambda content: content.replace(b"maxpool={", b"newpool={"))
    plan = read_plan(path)
    assert len(plan.kernels) == len(half.kernels)
    assert [kernel.layers for kernel in kernels(plan, "newpool")] == [("pool",)]


def test_programs_side_by_side_add_up(half: Plan, half_path: Path, tmp_path: Path) -> None:
    other = build_plan(quantised_graph(), tmp_path / "int8.plan")
    both = read_plan(altered(half_path, tmp_path, lambda content: content + other.read_bytes()))
    assert len(both.kernels) == len(half.kernels) + len(read_plan(other).kernels)
    assert both.device_memory_bytes == half.device_memory_bytes + read_plan(other).device_memory_bytes
    read = [both.tensors[kernel.inputs[0]].dtype for kernel in kernels(both, "convolution")]
    assert read == ["float16", "float16", "int8"], "each program has tensors of its own"


def test_the_program_s_first_letters_among_the_weights_do_not_matter(
    half: Plan, half_path: Path, tmp_path: Path
) -> None:
    noise = b"\x00NLYM\x01NLYM"
    path = altered(half_path, tmp_path, lambda content: content[:24] + noise + content[24:] + noise)
    assert read_plan(path).kernels == half.kernels


def told(path: Path) -> str:
    with pytest.raises(EngineError) as caught:
        read_plan(path)
    assert caught.value.subject == str(path)
    return caught.value.got


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"<?xml version='1.0'?>", "starts with b'<?xml ve'"),
        (b"vtrt", "4 bytes of a plan"),
        (b"vtrt" + bytes(12) + struct.pack("<Q", 24), "no program"),
    ],
)
def test_a_file_that_is_no_plan_is_named_so(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.plan"
    path.write_bytes(content)
    assert words in told(path)


def test_a_missing_file_and_a_folder_are_named_so(tmp_path: Path) -> None:
    assert "No such file" in told(tmp_path / "missing.plan")
    assert "directory" in told(tmp_path)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.999999])
def test_a_plan_cut_short_says_how_much_is_there(share: float, half_path: Path, tmp_path: Path) -> None:
    content = half_path.read_bytes()
    path = tmp_path / "short.plan"
    path.write_bytes(content[: int(len(content) * share)])
    assert f"{int(len(content) * share)} bytes of a plan" in told(path)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_program_cut_short_is_found_even_where_the_header_agrees(
    share: float, half_path: Path, tmp_path: Path
) -> None:
    path = altered(half_path, tmp_path, lambda content: content[: int(len(content) * share)])
    assert "a program of" in told(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'input={"p1', b'input={"q1', "not described"),
        (b'inputs={ "x.1"', b'inputs={ "z.1"', "not described"),
        (b"type=half }", b"type=hal} }", "brace"),
        (b"stream=0", b"stream=?", "invalid literal"),
        (b"\nmain {", b"\nmoon {", "no statements"),
        (b"dims={ ", b"dims== ", "'=' without a key"),
        (b"label bb1", b"label \xff\xff\xff", "no text"),
        (b'layers="[ONNX Layer: widen]', b"layers= [ONNX Layer: widen]", "a string without an end"),
        (b"accelerators={sm89 }", b"accelerators={*    }", "no program that is launched"),
    ],
)
def test_a_damaged_program_is_told_from_a_whole_one(
    old: bytes, new: bytes, words: str, half_path: Path, tmp_path: Path
) -> None:
    assert old in half_path.read_bytes()
    path = altered(half_path, tmp_path, lambda content: content.replace(old, new, 1))
    assert words in told(path)


def test_flipped_bits_never_give_anything_but_a_plan_or_an_error(half_path: Path, tmp_path: Path) -> None:
    content = half_path.read_bytes()
    start = content.index(b"header {") - 24
    end = content.index(b"\n}", content.index(b"\nmain {"))
    generator = np.random.default_rng(3)
    path = tmp_path / "flipped.plan"
    outcomes: Counter[str] = Counter()
    for _ in range(300):
        flipped = bytearray(content)
        flipped[generator.integers(start, end)] ^= 1 << int(generator.integers(8))
        path.write_bytes(flipped)
        try:
            outcomes["plan"] += bool(read_plan(path).kernels)
        except EngineError:
            outcomes["error"] += 1
    assert outcomes["error"] > 50
    assert outcomes["plan"] + outcomes["error"] == 300
