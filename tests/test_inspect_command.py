"""``rvm-trt inspect`` as a user meets it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from rvm_trt.cli import main
from rvm_trt.engines.plan import read_plan

small = runpy.run_path(str(Path(__file__).parent / "engines" / "small_graphs.py"))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = small["build_plan"](small["half_graph"](), tmp_path_factory.mktemp("plans") / "half.plan")
    return path


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["inspect", *argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_the_facts_and_tables_are_printed(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, str(plan))
    assert "x (1, 3, 64, 64) float32" in text
    assert "TensorRT-RTX plan for sm_89" in text
    assert f"kernels: {len(read_plan(plan).kernels)}\n" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["2", "convolution"] in lines
    assert any(line[:3] == ["float16", "→", "float32"] for line in lines)
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert "\x1b" not in text


def test_every_kernel_is_listed_with_its_layers_when_asked(
    plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, long = printed(capsys, str(plan)), printed(capsys, str(plan), "--kernels")
    assert long.startswith(short.rstrip("\n"))
    rows = long.removeprefix(short.rstrip("\n")).strip().splitlines()[2:]
    kernels = read_plan(plan).kernels
    assert len(rows) == len(kernels)
    for row, kernel in zip(rows, kernels, strict=True):
        assert kernel.kind in row
        assert row.rstrip().endswith(", ".join(kernel.layers))


def test_the_json_is_one_document(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(printed(capsys, str(plan), "--json"))
    assert data["targets"] == ["sm_89"]
    assert data["kinds"]["convolution"] == 2
    assert [kernel["name"] for kernel in data["kernels"]] == [k.name for k in read_plan(plan).kernels]


@pytest.mark.parametrize("name", ["missing.plan", "empty.plan", "text.plan", "text.onnx", "folder"])
def test_what_is_no_artifact_is_one_line_and_exit_code_1(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.plan").touch()
    (tmp_path / "text.plan").write_text("no plan")
    (tmp_path / "text.onnx").write_text("no graph")
    (tmp_path / "folder").mkdir()
    assert main(["inspect", str(tmp_path / name)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("rvm-trt inspect: ")
    assert name in line
