"""One form for every artifact: folders of each backend, plans, ONNX graphs."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from small_graphs import build_plan, half_graph, loop_graph, quantised_graph

from rvm_trt import Engine, Profile
from rvm_trt.contract import TensorSpec
from rvm_trt.engines.artifact import write_engine
from rvm_trt.engines.inspection import Inspection, inspect_artifact
from rvm_trt.engines.manifest import contract_of
from rvm_trt.engines.operations import Operations, largest_traffic
from rvm_trt.engines.plan import PlanKernel, PlanTensor, read_plan
from rvm_trt.errors import EngineError
from rvm_trt.options import Backend, Graph, Precision

PROFILE = Profile(width=161, height=97, ratio=0.6)
Built = Callable[..., Engine]


@pytest.fixture
def half_onnx(tmp_path: Path) -> Path:
    path = tmp_path / "half.onnx"
    onnx.save_model(half_graph(), path)
    return path


@pytest.fixture(scope="module")
def half_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = build_plan(half_graph(), tmp_path_factory.mktemp("plans") / "half.plan")
    return path


def layer(
    name: str, kind: str, inputs: Mapping[str, str], outputs: Mapping[str, str], metadata: str = ""
) -> dict[str, Any]:
    """A layer as TensorRT's inspector describes it; every tensor is (1, 8, 4, 4)."""
    sides = (
        [
            {"Name": n, "Location": "Device", "Dimensions": [1, 8, 4, 4], "Format/Datatype": t}
            for n, t in side.items()
        ]
        for side in (inputs, outputs)
    )
    described, written = sides
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": described,
        "Outputs": written,
        "StreamId": 0,
        "Metadata": metadata,
    }


LAYERS = {
    "Layers": [
        layer(
            "copy",
            "Reformat",
            {"src": "Row major linear FP32"},
            {"src_half": "Channel major FP16 format where channel % 8 == 0"},
        ),
        layer(
            "first + rectify",
            "CaskConvolution",
            {"src_half": "Half", "weights": "Half"},
            {"t1": "Half"},
            "[ONNX Layer: first]\x1e[ONNX Layer: rectify]",
        ),
        layer("order", "signal", {}, {}),
        layer("__myl_MulAddSum_myl0_1", "kgen", {"t1": "Half", "scale": "Float"}, {"t2": "Half"}),
        layer("__myl_CastMul_myl0_2", "kgen", {"t2": "Half", "t1": "Half"}, {"A": "Float"}),
        layer("new", "SomethingNew", {"A": "Float"}, {"b": "Float"}),
    ],
    "Bindings": ["src", "A", "b"],
}


def engine_of(engine: Engine, folder: Path, backend: Backend, files: Mapping[str, bytes]) -> Engine:
    """An engine's folder with the manifest of another one, but for backend and files."""

    def write(target: Path) -> Mapping[str, Any]:
        for name, content in files.items():
            (target / name).write_bytes(content)
        return {}

    manifest = replace(
        engine.manifest,
        backend=backend,
        targets=("sm_89",),
        tensors=contract_of(engine.profile, Graph.CORE, engine.manifest.precision, backend),
        files={},
        accuracy={},
    )
    return write_engine(folder, manifest, write)


def changes(found: Inspection) -> list[tuple[str, str]]:
    return [(change.from_dtype, change.to_dtype) for change in found.precision_changes]


def test_a_plan_gives_its_tensors_kernels_and_sizes(half_plan: Path) -> None:
    found = inspect_artifact(half_plan)
    assert found.tensors == (
        TensorSpec(name="x", shape=(1, 3, 64, 64), dtype="float32", direction="input"),
        TensorSpec(name="y", shape=(1, 16, 32, 32), dtype="float32", direction="output"),
    )
    assert found.targets == ("sm_89",)
    assert found.kernels == read_plan(half_plan).kernels
    assert found.kinds["convolution"] == 2
    assert found.files == {"half.plan": half_plan.stat().st_size}
    assert found.device_memory_bytes == read_plan(half_plan).device_memory_bytes


def test_a_plan_changes_precision_where_its_graph_casts(half_plan: Path) -> None:
    found = inspect_artifact(half_plan)
    assert changes(found) == [("float32", "float16"), ("float16", "float32")]
    first, last = found.precision_changes
    assert "narrow" in first.layers
    assert "widen" in last.layers


def test_an_onnx_graph_gives_its_nodes_by_operator(half_onnx: Path) -> None:
    found = inspect_artifact(half_onnx)
    assert found.kinds == Counter(Conv=2, Cast=2, Relu=1, MaxPool=1, Sigmoid=1)
    assert [kernel.name for kernel in found.kernels][:2] == ["narrow", "first"]
    assert [(spec.name, spec.dtype) for spec in found.tensors] == [("x", "float32"), ("y", "float32")]
    assert [(change.kernel, change.from_dtype, change.to_dtype) for change in found.precision_changes] == [
        ("narrow", "float32", "float16"),
        ("widen", "float16", "float32"),
    ]
    assert found.device_memory_bytes is None


def test_the_quantisation_of_weights_is_no_change_of_activations(tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    onnx.save_model(quantised_graph(), path)
    found = inspect_artifact(path)
    assert found.kinds["QuantizeLinear"] == 2
    assert [change.kernel for change in found.precision_changes] == ["xd_q", "xd_dq"]


def test_nodes_in_the_body_of_a_loop_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "loop.onnx"
    onnx.save_model(loop_graph(), path)
    assert inspect_artifact(path).kinds["Conv"] == 1


def test_what_is_moved_counts_one_write_and_every_reader(half_onnx: Path) -> None:
    found = inspect_artifact(half_onnx)
    by_name = {entry.tensor.name: entry for entry in found.traffic}
    whole = 16 * 64 * 64 * 2
    for name in ("c1", "r1"):
        entry = by_name[name]
        assert (entry.written_bytes, entry.read_bytes, entry.readers) == (whole, whole, 1)
    assert by_name["x"].written_bytes == 0
    assert by_name["y"].readers == 0
    assert "w1" not in by_name
    sizes = [entry.moved_bytes for entry in found.traffic]
    assert sizes == sorted(sizes, reverse=True)


def test_parts_of_a_tensor_count_towards_the_whole() -> None:
    whole = PlanTensor(name="whole", shape=(1, 4, 8, 8), dtype="float16", bytes=512)
    parts = [
        replace(whole, name=name, shape=(1, 2, 8, 8), bytes=256, base="whole") for name in ("left", "right")
    ]
    weight = replace(whole, name="weight", bytes=1 << 20, activation=False)
    operations = Operations(
        kernels=(
            operation(inputs=("weight",), outputs=("left",)),
            operation(inputs=("weight",), outputs=("right",)),
            operation(inputs=("left",), outputs=()),
            operation(inputs=("whole", "right"), outputs=()),
        ),
        tensors={tensor.name: tensor for tensor in (whole, *parts, weight)},
        inputs=(),
        outputs=(),
    )
    (moved,) = largest_traffic(operations)
    assert (moved.tensor, moved.written_bytes, moved.read_bytes, moved.readers) == (whole, 512, 1024, 2)


def operation(*, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> PlanKernel:
    return PlanKernel(name="any", kind="any", layers=(), inputs=inputs, outputs=outputs)


def test_a_cpu_engine_gives_openvino_s_operations(built: Built) -> None:
    engine = built(PROFILE)
    found = inspect_artifact(engine.path)
    text = engine.file(".xml").read_text()
    assert found.form == "OpenVINO engine"
    assert found.kinds["Convolution"] == text.count('type="Convolution"') > 0
    assert not {"Const", "Parameter", "Result"} & set(found.kinds)
    assert found.tensors == contract_of(PROFILE, Graph.CORE, Precision.FP32, Backend.CPU)
    assert found.targets == ("cpu",)
    assert found.precision_changes == ()
    assert set(found.files) == set(engine.manifest.files)


def test_a_bfloat16_engine_changes_precision_at_its_conversions(built: Built) -> None:
    found = inspect_artifact(built(PROFILE, precision="bf16").path)
    assert set(changes(found)) == {("float32", "bfloat16"), ("bfloat16", "float32")}
    kinds = {kernel.name: kernel.kind for kernel in found.kernels}
    assert {kinds[change.kernel] for change in found.precision_changes} == {"Convert"}


def test_a_tensorrt_rtx_engine_is_read_from_its_plan(built: Built, half_plan: Path, tmp_path: Path) -> None:
    files = {"engine.plan": half_plan.read_bytes()}
    engine = engine_of(built(PROFILE), tmp_path / "engine", Backend.TENSORRT_RTX, files)
    found = inspect_artifact(engine.path)
    assert found.kernels == read_plan(half_plan).kernels
    assert found.path == engine.path
    assert found.tensors == engine.manifest.tensors
    assert found.files == {"engine.plan": half_plan.stat().st_size}


def test_a_tensorrt_engine_is_read_from_the_layers_written_beside_it(built: Built, tmp_path: Path) -> None:
    files = {"engine.plan": b"opaque", "layers.json": json.dumps(LAYERS).encode()}
    found = inspect_artifact(engine_of(built(PROFILE), tmp_path / "engine", Backend.TENSORRT, files).path)
    assert [kernel.kind for kernel in found.kernels] == [
        "reformat",
        "convolution",
        "reduction",
        "pointwise",
        "SomethingNew",
    ]
    assert found.kernels[1].layers == ("first", "rectify")
    assert changes(found) == [("float32", "float16"), ("float16", "float32")]
    moved = {entry.tensor.name: (entry.written_bytes, entry.read_bytes) for entry in found.traffic}
    assert moved["t1"] == (256, 512)
    assert not {"weights", "scale"} & set(moved)
    assert set(found.files) == {"engine.plan", "layers.json"}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"Layers": ["first"], "Bindings": []}', b'{"Layers": 5}', b"\xff"]
)
def test_layers_that_are_no_detailed_description_are_an_error(
    content: bytes, built: Built, tmp_path: Path
) -> None:
    files = {"engine.plan": b"opaque", "layers.json": content}
    engine = engine_of(built(PROFILE), tmp_path / "engine", Backend.TENSORRT, files)
    with pytest.raises(EngineError, match="detailed profiling verbosity"):
        inspect_artifact(engine.path)


@pytest.mark.parametrize("content", [b"", b"<net", b"<net><layers><layer/></layers></net>"])
def test_an_xml_that_is_no_model_is_an_error(content: bytes, built: Built, tmp_path: Path) -> None:
    engine = engine_of(built(PROFILE), tmp_path / "engine", Backend.CPU, {"engine.xml": content})
    with pytest.raises(EngineError, match="expected an OpenVINO model"):
        inspect_artifact(engine.path)


@pytest.mark.parametrize("content", [b"", b"import numpy", b"\x08\x09"])
def test_a_file_that_is_no_onnx_graph_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match="expected an ONNX graph"):
        inspect_artifact(path)


def test_a_damaged_engine_is_not_described(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "engine"
    shutil.copytree(built(PROFILE).path, folder)
    with (folder / "engine.xml").open("ab") as file:
        file.write(b" ")
    with pytest.raises(EngineError, match="SHA-256"):
        inspect_artifact(folder)


def test_the_json_of_an_inspection_is_plain_values(half_plan: Path) -> None:
    found = inspect_artifact(half_plan)
    data = json.loads(json.dumps(found.to_json()))
    assert data["kinds"] == dict(found.kinds)
    assert len(data["kernels"]) == len(found.kernels)
    assert data["traffic"][0]["moved_bytes"] == found.traffic[0].moved_bytes
    assert data["tensors"][0]["shape"] == [1, 3, 64, 64]
