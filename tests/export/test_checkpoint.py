"""A checkpoint is loaded whole or refused in words, and never runs anything."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rvm_trt.errors import CheckpointError
from rvm_trt.export import checkpoint as checkpoint_module
from rvm_trt.export.checkpoint import expected_shapes, load_checkpoint
from rvm_trt.export.model import MattingNetwork
from rvm_trt.files import sha256_file
from rvm_trt.options import Refiner, Variant

State = dict[str, Any]
FC1 = "backbone.features.4.block.2.fc1.weight"


def random_state(variant: Variant, *, refiner: Refiner = Refiner.DEEP) -> State:
    generator = torch.Generator().manual_seed(1)
    shapes = expected_shapes(variant, refiner=refiner)
    return {
        key: torch.zeros(shape, dtype=torch.int64)
        if key.endswith("num_batches_tracked")
        else torch.rand(shape, generator=generator)
        for key, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def whole() -> State:
    return random_state(Variant.MOBILENETV3)


@pytest.fixture
def state(whole: State) -> State:
    return dict(whole)


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_a_whole_checkpoint_loads_unchanged(tmp_path: Path, state: State) -> None:
    path = saved(tmp_path / "rvm.pth", state)
    checkpoint = load_checkpoint(path)
    assert (checkpoint.variant, checkpoint.refiner) == (Variant.MOBILENETV3, Refiner.DEEP)
    assert (checkpoint.path, checkpoint.sha256, checkpoint.note()) == (path, sha256_file(path), None)
    assert all(torch.equal(checkpoint.state_dict[key], value) for key, value in state.items())
    MattingNetwork("mobilenetv3", "deep_guided_filter").load_state_dict(checkpoint.state_dict, strict=True)


def test_resnet50_in_half_precision_is_recognised_and_cast(tmp_path: Path) -> None:
    state = random_state(Variant.RESNET50)
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    checkpoint = load_checkpoint(saved(tmp_path / "rvm.pth", halves))
    assert checkpoint.variant is Variant.RESNET50
    assert {value.dtype for value in checkpoint.state_dict.values()} == {torch.float32, torch.int64}
    assert torch.equal(
        checkpoint.state_dict["project_mat.conv.weight"], halves["project_mat.conv.weight"].float()
    )


def test_without_refiner_keys_the_fast_guided_filter_is_chosen_and_said(tmp_path: Path, state: State) -> None:
    path = saved(tmp_path / "web.pth", {k: v for k, v in state.items() if not k.startswith("refiner.")})
    checkpoint = load_checkpoint(path)
    assert checkpoint.refiner is Refiner.FAST
    assert "web.pth" in str(checkpoint.note())
    assert "fast guided filter" in str(checkpoint.note())
    MattingNetwork("mobilenetv3", "fast_guided_filter").load_state_dict(checkpoint.state_dict, strict=True)


def test_what_inference_does_not_need_may_be_missing(tmp_path: Path, state: State) -> None:
    kept = {k: v for k, v in state.items() if "project_seg" not in k and "num_batches_tracked" not in k}
    checkpoint = load_checkpoint(saved(tmp_path / "rvm.pth", kept))
    assert list(checkpoint.state_dict) == list(state)
    assert checkpoint.state_dict["project_seg.conv.weight"].abs().max() == 0


def without(*keys: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key not in keys}


def changed(key: str, change: Callable[[Any], Any]) -> Callable[[State], State]:
    return lambda state: {**state, key: change(state.get(key))}


def filled(value: float) -> Callable[[Any], Any]:
    return lambda tensor: torch.full_like(tensor, value)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without(FC1), ["missing", FC1]),
        (changed("stray.weight", lambda _: torch.zeros(1)), ["unexpected", "stray.weight"]),
        (changed(FC1, lambda tensor: tensor[:-1]), ["shapes", FC1, "(23, 72, 1, 1)", "(24, 72, 1, 1)"]),
        (changed(FC1, lambda _: torch.zeros(1).expand(1 << 40)), ["shapes", str(1 << 40)]),
        (changed(FC1, lambda _: [1.0]), ["not tensors", FC1]),
        (changed(FC1, lambda tensor: tensor.to(torch.int32)), ["types", FC1, "int32"]),
        (changed(FC1, lambda tensor: tensor.to_sparse()), ["_rebuild_sparse_tensor"]),
        (changed(FC1, lambda tensor: tensor.to("meta")), ["_rebuild_meta_tensor"]),
        (changed(FC1, filled(float("nan"))), ["NaN", FC1]),
        (changed(FC1, filled(float("-inf"))), ["infinite", FC1]),
        (changed(FC1, lambda tensor: torch.full_like(tensor, 1e300, dtype=torch.float64)), ["infinite", FC1]),
        (changed("aspp.aspp1.1.running_var", filled(-1.0)), ["negative", "aspp.aspp1.1.running_var"]),
        (lambda state: {"state_dict": state}, ["not tensors", "state_dict"]),
        (lambda state: list(state.values()), ["a list"]),
        (lambda _: {}, ["no keys"]),
        (lambda state: {f"module.{key}": value for key, value in state.items()}, ["module.backbone"]),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    tmp_path: Path, state: State, spoil: Callable[[State], object], words: list[str]
) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved(tmp_path / "rvm.pth", spoil(state)))
    assert all(word in str(caught.value) for word in [*words, "rvm.pth"])


def test_many_missing_keys_are_counted_not_listed(tmp_path: Path, state: State) -> None:
    decoder = [key for key in state if key.startswith("decoder.") and "num_batches" not in key]
    with pytest.raises(CheckpointError, match=rf"\({len(decoder)} in all\)") as caught:
        load_checkpoint(saved(tmp_path / "rvm.pth", without(*decoder)(state)))
    assert len(str(caught.value)) < 800


class Payload:
    """Creates a file when it is unpickled by anything that trusts it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "container", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_code_in_a_checkpoint_is_refused_and_not_run(
    tmp_path: Path, container: Callable[[object, Path], object]
) -> None:
    path, trace = tmp_path / "rvm.pth", tmp_path / "ran"
    container({FC1: Payload(trace)}, path)
    with pytest.raises(CheckpointError, match=r"rvm\.pth"):
        load_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"<html>moved</html>", bytes(5000)]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rvm.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"rvm\.pth"):
        load_checkpoint(path)


@pytest.mark.parametrize("part", [0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, state: State, part: float) -> None:
    path = saved(tmp_path / "rvm.pth", state)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(CheckpointError, match=r"rvm\.pth"):
        load_checkpoint(path)


def test_one_flipped_bit_in_the_values_is_refused(tmp_path: Path, state: State) -> None:
    path = saved(tmp_path / "rvm.pth", state)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="CRC"):
        load_checkpoint(path)


def test_oversized_content_is_refused_before_it_is_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rvm.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    monkeypatch.setattr(checkpoint_module, "MAX_BYTES", 1 << 16)
    assert path.stat().st_size < 1 << 16
    with pytest.raises(CheckpointError, match="more than 65536 bytes of content"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["nothing.pth", "."])
def test_unreadable_paths_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="expected a readable checkpoint file"):
        load_checkpoint(tmp_path / name)
