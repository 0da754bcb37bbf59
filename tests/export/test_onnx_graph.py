"""Exported graphs: their tensors, their operators, what they say of themselves, and that they hold nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

import rvm_trt
from rvm_trt import Profile
from rvm_trt.contract import tensors
from rvm_trt.export.checkpoint import load_checkpoint
from rvm_trt.export.graph_info import read_graph_info
from rvm_trt.export.onnx_graph import load_network
from rvm_trt.files import sha256_file
from rvm_trt.options import Graph, Precision, Refiner

Exported = Callable[..., Path]
ODD = Profile(width=161, height=97, ratio=0.6)
WHOLE = Profile(width=70, height=90, ratio=1.0)
BATCH = Profile(width=160, height=96, ratio=0.5, refiner=Refiner.FAST, batch=2)
RESNET = Profile(width=160, height=96, ratio=0.5, variant="resnet50")  # type: ignore[arg-type]
CASES = [
    (ODD, "core"),
    (ODD, "full"),
    (replace(ODD, refiner=Refiner.FAST), "core"),
    (BATCH, "full"),
    (WHOLE, "core"),
    (RESNET, "full"),
]
IDS = [f"{profile.name}-{graph}" for profile, graph in CASES]
FORBIDDEN = {
    "Shape",
    "Expand",
    "If",
    "Loop",
    "Scan",
    "NonZero",
    "Range",
    "ConstantOfShape",
    "Where",
    "Gather",
}
FORBIDDEN |= {"Reshape", "Unsqueeze", "Squeeze", "Cast", "Pad", "BatchNormalization", "Identity", "Dropout"}


@pytest.fixture(params=CASES, ids=IDS)
def case(request: pytest.FixtureRequest, exported: Exported) -> tuple[Profile, str, Path, onnx.ModelProto]:
    """A profile, its graph's name, the file and the model in it."""
    profile, graph = request.param
    path = exported(profile, graph)
    return profile, graph, path, onnx.load_model(path)


Case = tuple[Profile, str, Path, onnx.ModelProto]


def described(values: list[onnx.ValueInfoProto]) -> list[tuple[str, tuple[int, ...], int]]:
    types = [value.type.tensor_type for value in values]
    return [
        (value.name, tuple(axis.dim_value for axis in kind.shape.dim), kind.elem_type)
        for value, kind in zip(values, types, strict=True)
    ]


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_tensors_are_those_of_the_contract(case: Case) -> None:
    profile, graph, _, model = case
    got = [*described(model.graph.input), *described(model.graph.output)]
    float32 = onnx.TensorProto.FLOAT
    assert got == [(spec.name, spec.shape, float32) for spec in tensors(profile, Graph(graph))]


def test_graphs_are_valid_onnx_of_one_opset(case: Case) -> None:
    model = case[3]
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert not model.functions


def test_no_operator_makes_shapes_dynamic_or_moves_data_needlessly(case: Case) -> None:
    assert not FORBIDDEN & set(operators(case[3]))


def test_global_averages_are_the_operator_that_builders_know(case: Case) -> None:
    profile, _, _, model = case
    # Eight squeeze-and-excitations and LR-ASPP; in ResNet-50 LR-ASPP alone. What remains is the mean of the colours.
    assert operators(model)["GlobalAveragePool"] == (9 if profile.variant.value == "mobilenetv3" else 1)
    assert operators(model)["ReduceMean"] <= 2


def low_resolution_slices(profile: Profile) -> int:
    """One for each side that doubling the smaller map overshoots: where a side in the pyramid is odd."""
    height, width, count = profile.low_height, profile.low_width, 0
    for _ in range(4):
        count += height % 2 + width % 2
        height, width = -(-height // 2), -(-width // 2)
    return count


def test_slices_are_exactly_those_that_the_size_needs(case: Case) -> None:
    profile, _, _, model = case
    assert operators(model)["Slice"] == low_resolution_slices(profile)


@pytest.mark.parametrize(
    ("profile", "count"), [(Profile.named("hd"), 1), (Profile(width=128, height=96, ratio=0.5), 0)]
)
def test_slices_at_hd_and_at_an_even_size(profile: Profile, count: int, exported: Exported) -> None:
    # 480x270 has one odd side on the way down, 135; 64x48 halves evenly four times.
    assert operators(onnx.load_model(exported(profile)))["Slice"] == count


def test_initialisers_are_stored_once_and_used(case: Case) -> None:
    graph = case[3].graph
    contents = [(t.data_type, tuple(t.dims), numpy_helper.to_array(t).tobytes()) for t in graph.initializer]
    assert len(set(contents)) == len(contents)
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used
    constants = [node for node in graph.node if node.op_type == "Constant" and node.output[0] in used]
    assert not constants


def test_names_are_unique_and_follow_the_network(case: Case) -> None:
    graph = case[3].graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert any(name.startswith("decoder.decode1.gru") for name in names)
    assert any(tensor.name.startswith("backbone.") for tensor in graph.initializer)


def test_the_metadata_says_what_the_graph_is(case: Case, checkpoint: Callable[..., Path]) -> None:
    profile, graph, path, model = case
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(notes["rvm_trt.profile"]) == profile.to_json()
    assert notes["rvm_trt.graph"] == graph
    assert notes["rvm_trt.precision"] == "fp32"
    assert notes["rvm_trt.variant"] == profile.variant.value
    assert notes["rvm_trt.refiner"] == (profile.refiner.value if profile.uses_refiner else "none")
    assert notes["rvm_trt.version"] == model.producer_version == rvm_trt.__version__
    assert notes["rvm_trt.checkpoint_sha256"] == sha256_file(checkpoint(profile.variant.value))
    assert notes["rvm_trt.torch"] == torch.__version__
    assert notes["rvm_trt.source"]
    info = read_graph_info(path)
    assert (info.torch, info.checkpoint_sha256) == (torch.__version__, notes["rvm_trt.checkpoint_sha256"])
    # The given checkpoint's own filter: the fast one may have been asked for on one that has the deep one.
    assert info.checkpoint_refiner.value == notes["rvm_trt.checkpoint_refiner"] == "deep_guided_filter"
    assert (info.profile, info.graph, info.precision) == (profile, Graph(graph), Precision.FP32)
    assert (info.sha256, info.path, info.version) == (sha256_file(path), path, rvm_trt.__version__)


def test_nothing_of_the_machine_is_left_in_the_file(case: Case) -> None:
    model = case[3]
    notes = [*model.graph.node, *model.graph.value_info, *model.graph.initializer]
    assert not any(note.doc_string or len(note.metadata_props) for note in notes)
    assert not model.doc_string
    assert not model.graph.doc_string
    words = onnx.ModelProto()
    words.CopyFrom(model)
    for tensor in words.graph.initializer:
        tensor.ClearField("raw_data")  # in millions of random bytes any short word turns up
    content = words.SerializeToString()
    for trace in (
        b"site-packages",
        b"Traceback",
        b".py",
        b"/work",
        b"/tmp",
        b'File "',
        b"stack_trace",
        b"pkg.torch",
    ):
        assert trace not in content, trace


def test_exports_of_two_processes_have_the_same_bytes(
    tmp_path: Path, exported: Exported, checkpoint: Callable[..., Path]
) -> None:
    first = exported(ODD).read_bytes()
    program = (
        "import sys; from rvm_trt import Profile, export_onnx; "
        "export_onnx(sys.argv[1], Profile(width=161, height=97, ratio=0.6), sys.argv[2])"
    )
    elsewhere = tmp_path / "elsewhere.onnx"
    done = subprocess.run(
        [sys.executable, "-c", program, checkpoint(), elsewhere],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert elsewhere.read_bytes() == first
    assert done.stdout == b""  # an export is silent


def test_the_ratio_is_baked_into_the_full_graph(exported: Exported) -> None:
    model = onnx.load_model(exported(ODD, "full"))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    (down,) = [node for node in model.graph.node if node.op_type == "Resize" and node.input[0] == "src"]
    (scales,) = [values[name] for name in down.input[1:] if name and values[name].size == 4]
    np.testing.assert_allclose(scales, [1, 1, 0.6, 0.6], rtol=1e-6)
    assert len(model.graph.input) == 5


def test_a_batch_runs_its_videos_side_by_side(
    exported: Exported, checkpoint: Callable[..., Path], moving_frames: Callable[..., list[np.ndarray]]
) -> None:
    session = onnxruntime.InferenceSession(str(exported(BATCH, "full")), providers=["CPUExecutionProvider"])
    frames = np.stack(moving_frames(160, 96, 2)).transpose(0, 3, 1, 2).astype(np.float32) / 255
    states = [np.random.default_rng(5).random(shape, np.float32) for shape in BATCH.state_shapes]
    names = [tensor.name for tensor in session.get_inputs()]
    results = session.run(None, dict(zip(names, [frames, *states], strict=True)))
    network = load_network(load_checkpoint(checkpoint()), BATCH)
    for index in range(2):
        alone = [torch.from_numpy(value[index : index + 1]) for value in (frames, *states)]
        expected = network(*alone, BATCH.ratio)
        for name, got, value in zip(("fgr", "pha", "r1", "r2", "r3", "r4"), results, expected, strict=True):
            np.testing.assert_allclose(got[index : index + 1], value.numpy(), atol=1e-4, rtol=0, err_msg=name)
