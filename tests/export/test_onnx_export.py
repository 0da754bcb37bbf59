"""Exports: what may be asked of one, what a file says of itself, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest

from rvm_trt import Profile, export_onnx
from rvm_trt.errors import CheckpointError, ExportError, OptionError
from rvm_trt.export.graph_info import read_graph_info, seal_graph
from rvm_trt.options import Precision, Refiner

Exported = Callable[..., Path]
ODD = Profile(width=161, height=97, ratio=0.6)
RESNET = Profile(width=160, height=96, ratio=0.5, variant="resnet50")  # type: ignore[arg-type]


@pytest.mark.parametrize("graph", ["core", "full"])
def test_an_fp16_graph_says_so_and_has_half_tensors(graph: str, exported: Exported) -> None:
    path = exported(ODD, graph, precision="fp16")
    assert read_graph_info(path).precision is Precision.FP16
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    tensors = [*session.get_inputs(), *session.get_outputs()]
    assert {tensor.type for tensor in tensors} == {"tensor(float16)"}


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions_are_told_to_wait_for_the_build(
    precision: str, tmp_path: Path, checkpoint: Callable[..., Path]
) -> None:
    with pytest.raises(OptionError, match=f"precision: got '{precision}'.*build_engine"):
        export_onnx(checkpoint(), ODD, tmp_path / "core.onnx", precision=precision)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "value"), [("graph", "half"), ("precision", "float32")])
def test_unknown_options_are_refused(
    option: str, value: str, tmp_path: Path, checkpoint: Callable[..., Path]
) -> None:
    with pytest.raises(OptionError, match=option):
        export_onnx(checkpoint(), ODD, tmp_path / "core.onnx", **{option: value})  # type: ignore[arg-type]


def test_a_checkpoint_of_another_variant_is_refused(tmp_path: Path, checkpoint: Callable[..., Path]) -> None:
    with pytest.raises(OptionError, match="variant: got a mobilenetv3 checkpoint"):
        export_onnx(checkpoint(), RESNET, tmp_path / "core.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        export_onnx(tmp_path / "none.pth", ODD, tmp_path / "core.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_deep_filter_gives_the_fast_one(
    tmp_path: Path, checkpoint: Callable[..., Path], exported: Exported
) -> None:
    path = export_onnx(checkpoint("mobilenetv3", "fast_guided_filter"), ODD, tmp_path / "core.onnx")
    assert read_graph_info(path).profile == replace(ODD, refiner=Refiner.FAST)
    deep, fast = (
        onnx.load_model(file).graph for file in (exported(replace(ODD, refiner=Refiner.FAST)), path)
    )
    assert [node.SerializeToString() for node in fast.node] == [
        node.SerializeToString() for node in deep.node
    ]


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failing_write_leaves_what_was_there(
    old: bytes | None,
    tmp_path: Path,
    checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    exported: Exported,
) -> None:
    model = onnx.load_model(exported(ODD))
    monkeypatch.setattr("rvm_trt.export.onnx_graph._trace", lambda *_: model)

    def half(_model: onnx.ModelProto, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(onnx, "save_model", half)
    target = tmp_path / "core.onnx"
    if old is not None:
        target.write_bytes(old)
    with pytest.raises(ExportError, match="no space"):
        export_onnx(checkpoint(), ODD, target)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if old is None else [old])


@pytest.mark.parametrize(
    "content", [None, b"", b"not onnx at all, but long enough to be parsed as something"]
)
def test_files_that_are_not_ours_are_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExportError, match="expected an ONNX file written by rvm-trt"):
        read_graph_info(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rvm_trt.profile", None),
        ("rvm_trt.profile", "{"),
        ("rvm_trt.profile", "[]"),
        ("rvm_trt.profile", '{"width": 3}'),
        ("rvm_trt.graph", "half"),
        ("rvm_trt.precision", "fp99"),
        ("rvm_trt.checkpoint_sha256", None),
        ("rvm_trt.version", None),
    ],
)
def test_damaged_descriptions_are_refused(
    key: str, value: str | None, tmp_path: Path, exported: Exported
) -> None:
    model = onnx.load_model(exported(ODD))
    notes = {entry.key: entry.value for entry in model.metadata_props}
    del notes[key]
    onnx.helper.set_model_props(model, notes if value is None else {**notes, key: value})
    seal_graph(model)
    onnx.save_model(model, tmp_path / "damaged.onnx")
    with pytest.raises(ExportError, match="expected an ONNX file written by rvm-trt"):
        read_graph_info(tmp_path / "damaged.onnx")
