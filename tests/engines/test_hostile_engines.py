"""Engine folders that others made: manifests, recipes and heads that claim too much are refused in words."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt import Engine, Profile
from rvm_trt.contract import tensors
from rvm_trt.engines.head import write_head
from rvm_trt.engines.head_file import HEAD, read_head_file
from rvm_trt.engines.manifest import NAME, Manifest, read_manifest
from rvm_trt.engines.quantise import InputRange
from rvm_trt.engines.recipe import Layer, Recipe, read_recipe
from rvm_trt.errors import EngineError
from rvm_trt.options import Backend, Graph, Precision

HD = Profile.named("hd")
MANIFEST = Manifest(
    profile=HD,
    graph=Graph.FULL,
    precision=Precision.FP32,
    backend=Backend.CPU,
    backend_version="2026.4.1",
    tensors=tensors(HD, Graph.FULL),
    targets=("cpu",),
    checkpoint_sha256="a" * 64,
    onnx_sha256="b" * 64,
    files={"engine.xml": hashlib.sha256(b"").hexdigest()},
)
RECIPE = Recipe(
    ranges={"a": InputRange(largest=6.25, scales=(1.5, 2.0), means=(0.0, -1.0))},
    layers=(
        Layer(name="a", macs=1000, mad_alone=0.25, dtssd_alone=0.5, int8=True, reason="within"),
        Layer(name="b", macs=3000, mad_alone=None, dtssd_alone=None, int8=False, reason="first"),
    ),
    held_out={"pha_mad": 0.0005},
    mad_budget=1e-3,
    footage={"clips": ["a.mp4"]},
    key={"mad_budget": 1e-3},
)
Values = npt.NDArray[np.float32]
WEIGHTS = {"project.weight": np.ones((4, 16), np.float32), "project.bias": np.ones(4, np.float32)}


def words(error: EngineError) -> str:
    assert len(str(error)) < 1500
    assert str(error).isprintable()
    return error.got


def manifest_error(folder: Path, change: dict[str, Any], text: Callable[[str], str] = str) -> str:
    (folder / NAME).write_text(text(json.dumps({**MANIFEST.to_json(), **change})))
    with pytest.raises(EngineError) as caught:
        read_manifest(folder)
    return words(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"profile": {**HD.to_json(), "ratio": 10**400}},
        {"profile": {**HD.to_json(), "width": 10**4000}},
        {"profile": {**HD.to_json(), "variant": "x" * 100_000}},
        {"accuracy": [["a", 1], [2, 3]]},
        {"made": [["a", 1], [2, 3]]},
        {"accuracy": ["ab"]},
        {"schema": "x" * 100_000},
        {"tensors": [{"name": "x" * 100_000}]},
        {"files": {"\x1b[2J" * 10_000: "a" * 64}},
        {"targets": ["\ud800", 5]},
    ],
)
def test_a_manifest_of_the_wrong_kinds_is_refused_in_few_words(
    change: dict[str, Any], tmp_path: Path
) -> None:
    assert manifest_error(tmp_path, change)


@pytest.mark.parametrize(
    "levels", [40, 900, *range(sys.getrecursionlimit() - 60, sys.getrecursionlimit(), 7)]
)
def test_a_manifest_that_nests_deep_is_refused_however_deep(levels: int, tmp_path: Path) -> None:
    nested = "[" * levels + "]" * levels
    got = manifest_error(tmp_path, {"made": {"a": "@"}}, lambda text: text.replace('"@"', nested))
    assert "deep" in got


@pytest.mark.timeout(20)
def test_a_manifest_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(EngineError, match="Not a regular file"):
        read_manifest(tmp_path)


def test_an_engine_of_a_name_too_long_for_a_file_is_refused(tmp_path: Path) -> None:
    manifest = Manifest(**{**vars(MANIFEST), "files": {"a" * 5000: "a" * 64}})
    manifest.write(tmp_path)
    with pytest.raises(EngineError, match="cannot be read"):
        Engine.load(tmp_path)


def sealed(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Writes a recipe whose seal is right for what it says."""
    data = RECIPE.to_json()
    change(data)
    data["seal"] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(data))
    return path


def layered(**change: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda data: data["layers"][0].update(change)


def ranged(**change: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda data: data["ranges"]["a"].update(change)


def test_a_recipe_sealed_anew_is_read(tmp_path: Path) -> None:
    assert read_recipe(sealed(tmp_path / "recipe.json", lambda _: None)) == RECIPE


@pytest.mark.parametrize(
    "change",
    [
        layered(macs="1000"),
        layered(macs=[]),
        layered(macs=-5),
        layered(macs=True),
        layered(name=None),
        layered(reason=7),
        layered(int8="yes"),
        layered(mad_alone="0.1"),
        layered(dtssd_alone=float("nan")),
        layered(mad_alone=10**400),
        layered(**{"\ud800\x1b[2J": 1}),
        ranged(largest=0),
        ranged(largest=-1.0),
        ranged(largest=float("inf")),
        ranged(largest="6.25"),
        ranged(scales=[1.5, 0.0]),
        ranged(scales=[1.5, 10**400]),
        ranged(scales="12"),
        ranged(scales={"a": 1}),
        ranged(means=[None]),
        lambda data: data.update(layers=[]),
        lambda data: data.update(layers=[{**layer, "macs": 0} for layer in data["layers"]]),
        lambda data: data.update(layers={"a": 1}),
        lambda data: data.update(mad_budget="1"),
        lambda data: data.update(key=[["a", 1]]),
        lambda data: data.update(footage=None),
        lambda data: data.update(schema={"a": "x" * 100_000}),
    ],
)
def test_a_recipe_of_the_wrong_kinds_is_refused(
    change: Callable[[dict[str, Any]], Any], tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="no readable recipe") as caught:
        read_recipe(sealed(tmp_path / "recipe.json", change))
    assert words(caught.value)


@pytest.mark.parametrize(
    "levels", [40, 900, *range(sys.getrecursionlimit() - 60, sys.getrecursionlimit(), 7), 10**5]
)
def test_a_recipe_that_nests_deep_is_refused_however_deep(levels: int, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**RECIPE.to_json(), "key": "@"}).replace('"@"', "[" * levels + "]" * levels))
    with pytest.raises(EngineError, match="deep"):
        read_recipe(path)


def npy(header: str, content: bytes, *, magic: bytes = b"\x93NUMPY\x01\x00") -> bytes:
    body = header.encode()
    return magic + len(body).to_bytes(2, "little") + body + content


def npz(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def described(descr: str = "'<f4'", order: str = "False", shape: str = "(4,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}          \n"


def test_a_head_is_read_as_it_was_written(tmp_path: Path) -> None:
    weights: dict[str, Values] = {
        **WEIGHTS,
        "turned": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    }
    write_head(tmp_path, weights)
    found = read_head_file(tmp_path / HEAD)
    assert set(found) == set(weights)
    for name, values in weights.items():
        np.testing.assert_array_equal(found[name], values)


HEADERS = {
    "pickled objects": npy(described("'|O'"), b"cposix\nsystem\n."),
    "a terabyte": npy(described(shape="(99999, 99999, 99999)"), bytes(16)),
    "more digits than a number of C has": npy(described(shape="(" + "9" * 40 + ",)"), bytes(16)),
    "fewer bytes than the shape": npy(described(), bytes(15)),
    "more bytes than the shape": npy(described(), bytes(17)),
    "a side below nothing": npy(described(shape="(-4,)"), bytes(16)),
    "fields": npy(described("[('a', '<f4')]"), bytes(16)),
    "complex numbers": npy(described("'<c8'"), bytes(32)),
    "an expression": npy(described(shape="(4,) + ()"), bytes(16)),
    "brackets that never close": npy("(" * 3000, b""),
    "strings that never close": npy("'''{", b""),
    "another version": npy(described(), bytes(16), magic=b"\x93NUMPY\x03\x00"),
    "no array": b"<html>",
    "nothing": b"",
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_head_with_a_hostile_array_is_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no weights") as caught:
        read_head_file(npz(tmp_path / HEAD, {"project.bias.npy": HEADERS[what]}))
    assert words(caught.value)


def test_a_head_that_inflates_without_end_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = npz(tmp_path / HEAD, {"project.bias.npy": bytes(32 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 16
    tracemalloc.start()
    try:
        with pytest.raises(EngineError, match="65536 bytes"):
            read_head_file(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def flagged(content: bytes, field: int, value: int) -> bytes:
    """Changes a field of the first entry in an archive's directory."""
    start = content.index(b"PK\x01\x02") + field
    return content[:start] + bytes([value]) + content[start + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"PK\x03\x04",
        lambda _: npy(described(), bytes(16)),
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"\x80\x3f", b"\x81\x3f", 1),
        lambda content: flagged(content, 8, 1),  # encrypted
        lambda content: flagged(content, 8, 32),  # patched
        lambda content: flagged(content, 10, 12),  # bzip2
        lambda content: flagged(content, 10, 99),
        lambda content: flagged(content, 42, 7),  # starts elsewhere
        lambda content: content + bytes(1 << 16),
    ],
)
def test_a_damaged_head_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    write_head(tmp_path, WEIGHTS)
    (tmp_path / HEAD).write_bytes(damage((tmp_path / HEAD).read_bytes()))
    with pytest.raises(EngineError, match="no weights") as caught:
        read_head_file(tmp_path / HEAD)
    assert words(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_head_of_too_many_or_doubled_arrays_is_refused(tmp_path: Path) -> None:
    array = npy(described(), bytes(16))
    with pytest.raises(EngineError, match="more than 16 members"):
        read_head_file(npz(tmp_path / HEAD, {f"{n}.npy": array for n in range(17)}))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.npy", array)
        archive.writestr("a.npy", array)
    (tmp_path / HEAD).write_bytes(content.getvalue())
    with pytest.raises(EngineError, match="twice"):
        read_head_file(tmp_path / HEAD)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_head_in_another_compression_than_numpy_uses_is_refused(method: int, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no weights \(compression"):
        read_head_file(npz(tmp_path / HEAD, {"a.npy": npy(described(), bytes(16))}, method))
