"""Descriptions of engines that others made: plans, layers and graphs that claim too much are refused in words."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from rvm_trt.engines import graph_operations, layer_info
from rvm_trt.engines.graph_operations import read_onnx_nodes, read_openvino_xml
from rvm_trt.engines.inspection import inspect_artifact
from rvm_trt.engines.layer_info import read_layer_info
from rvm_trt.engines.plan import read_plan
from rvm_trt.errors import EngineError

PROGRAM = """header { accelerators={ sm89 } inputs={ "x.1" } outputs={ "y.1" } n_streams=1
region={ name=heap place=accelerator size=4096 } }
descriptors { tensor={ name="x.1" type=float dims={ 1 3 8 8 } region=heap }
tensor={ name="y.1" type=half dims={ 1 3 8 8 } region=heap } }
main { corrltn={ name=first layers="[ONNX Layer: first]" input={ "x.1" } output={ "y.1" } stream=0 } }
"""
TENSOR = {"Name": "x", "Dimensions": [1, 8, 4, 4], "Format/Datatype": "Half"}
LAYER = {
    "Name": "first",
    "LayerType": "Convolution",
    "Inputs": [TENSOR],
    "Outputs": [{**TENSOR, "Name": "y"}],
}
XML = """<net><layers><layer id="0" name="x" type="Parameter"><output><port id="0" precision="FP32"><dim>8</dim></port>
</output></layer><layer id="1" name="y" type="Result"><input><port id="0"/></input></layer></layers>
<edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/></edges></net>"""


def plan(path: Path, text: str, *, whole: int | None = None, length: int | None = None) -> Path:
    """A plan of one program; ``whole`` and ``length`` are what it claims of itself."""
    content = text.encode()
    sizes = len(content) + 16 if whole is None else whole, len(content) if length is None else length
    program = struct.pack("<Q4s4xQ", sizes[0], b"NLYM", sizes[1]) + content
    path.write_bytes(struct.pack("<4s12xQ", b"vtrt", 24 + len(program)) + program)
    return path


def refused(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(EngineError) as caught:
        read(path)
    assert len(str(caught.value)) < 1500
    assert str(caught.value).isprintable()
    return caught.value.got


def test_the_small_descriptions_themselves_are_read(tmp_path: Path) -> None:
    assert [kernel.kind for kernel in read_plan(plan(tmp_path / "a.plan", PROGRAM)).kernels] == [
        "convolution"
    ]
    assert layers(tmp_path, {}) == ["convolution"]
    (tmp_path / "a.xml").write_text(XML)
    assert read_openvino_xml(tmp_path / "a.xml").outputs == ("x",)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("whole", "length"), [(0, 0), (1, 0), (0, 8), (7, 7)])
def test_a_program_of_no_bytes_is_refused_not_read_for_ever(whole: int, length: int, tmp_path: Path) -> None:
    path = plan(tmp_path / "a.plan", PROGRAM, whole=whole, length=length)
    assert f"a program of {whole} bytes" in refused(read_plan, path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1 3 8 8", "99999999999 99999999999"),
        ("1 3 8 8", "9" * 5000),
        ("1 3 8 8", " ".join(["4294967296"] * 40)),
        ("size=4096", "size=" + "9" * 400),
        ("n_streams=1", "n_streams=" + "9" * 5000),
        ("stream=0", "stream=" + "9" * 30),
        ('input={ "x.1" }', "input={ " + "z" * 9000 + " }"),
        ('input={ "x.1" }', 'input={ "\x1b[2J" }'),
    ],
)
def test_a_plan_with_numbers_and_names_beyond_sense_is_refused(old: str, new: str, tmp_path: Path) -> None:
    assert "cannot be read" in refused(read_plan, plan(tmp_path / "a.plan", PROGRAM.replace(old, new)))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["a.plan", "a.onnx", "a.xml", "layers.json"])
def test_a_description_that_is_a_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    read = {".plan": read_plan, ".onnx": read_onnx_nodes, ".xml": read_openvino_xml, ".json": read_layer_info}
    assert "egular file" in refused(read[Path(name).suffix], tmp_path / name)


def layers(folder: Path, change: dict[str, Any]) -> list[str]:
    """The kinds in a description of one layer, whose entries are changed; a key in capitals is the whole one's."""
    path = folder / "layers.json"
    path.write_text(
        json.dumps({"Layers": [{**LAYER, **change}], "Bindings": change.get("Bindings", ["x", "y"])})
    )
    return [kernel.kind for kernel in read_layer_info(path).kernels]


def sized(*sizes: Any) -> dict[str, Any]:
    return {"Inputs": [{**TENSOR, "Dimensions": sizes}]}


@pytest.mark.parametrize(
    "change",
    [
        sized(float("inf")),
        sized(float("nan")),
        sized(1.5),
        sized("8"),
        sized(True),
        sized(10**400),
        sized(*[2**62] * 40),
        {"StreamId": float("inf")},
        {"StreamId": 10**400},
        {"StreamId": None},
        {"Name": 5},
        {"LayerType": ["Convolution"]},
        {"LayerType": "\x1b[2J", "Name": None},
        {"Inputs": [{**TENSOR, "Name": 5}]},
        {"Inputs": [{**TENSOR, "Name": ["x"]}]},
        {"Inputs": [{**TENSOR, "Format/Datatype": 5}]},
        {"Metadata": 5},
        {"Bindings": [{"Name": 5}]},
        {"Bindings": [5]},
    ],
)
def test_layers_of_the_wrong_kinds_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    assert "no description of layers" in refused(lambda path: layers(path, change), tmp_path)


@pytest.mark.parametrize("levels", [40, 900, 100_000])
def test_layers_that_nest_deep_are_refused_however_deep(levels: int, tmp_path: Path) -> None:
    path = tmp_path / "layers.json"
    path.write_text('{"Layers": [], "Bindings": [], "a": ' + "[" * levels + "]" * levels + "}")
    assert "deep" in refused(read_layer_info, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("<dim>8</dim>", "<dim>8</dim>" + "<dim>4294967296</dim>" * 40),
        lambda text: text.replace("<dim>8</dim>", "<dim>" + "9" * 5000 + "</dim>"),
        lambda text: text.replace("<dim>8</dim>", "<dim/>"),
        lambda text: '<?xml version="1.0" encoding="klingon"?>' + text,
        lambda text: text.replace('from-layer="0"', 'from-layer="7"'),
        lambda text: '<!DOCTYPE net [<!ENTITY a "&#38;b;"><!ENTITY b "&#38;a;">]>' + text.replace("8", "&a;"),
    ],
)
def test_an_xml_that_claims_too_much_is_refused(change: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(change(XML))
    assert "no description of operations" in refused(read_openvino_xml, tmp_path / "a.xml")


def test_a_graph_with_a_tensor_beyond_any_memory_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    shape = [2**62] * 40
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, shape)], [value("y", 1, shape)])
    (tmp_path / "a.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    assert "2**60 elements" in refused(read_onnx_nodes, tmp_path / "a.onnx")


def test_descriptions_too_large_are_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (layer_info, "MAX_BYTES"),
        (graph_operations, "MAX_XML_BYTES"),
        (graph_operations, "MAX_ONNX_BYTES"),
    ):
        monkeypatch.setattr(module, name, 10)
    (tmp_path / "a").write_bytes(bytes(11))
    for read in (read_layer_info, read_openvino_xml, read_onnx_nodes):
        assert "more than 10 bytes" in refused(read, tmp_path / "a")


@pytest.mark.parametrize("name", ["clip.mp4", "engine.engine", "graph.json", "README"])
def test_a_file_of_another_kind_is_refused_by_its_ending(name: str, tmp_path: Path) -> None:
    plan(tmp_path / name, PROGRAM)
    assert f"a file that ends in {Path(name).suffix!r}" in refused(inspect_artifact, tmp_path / name)


@pytest.mark.parametrize("name", ["hd", "hd.plan", "hd.onnx"])
def test_what_is_not_there_is_told_so(name: str, tmp_path: Path) -> None:
    assert refused(inspect_artifact, tmp_path / name) == "no such file or folder"
