"""A bench report says what its document says: the same in HTML, Markdown and JSON."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rvm_trt.benchmarks import report
from rvm_trt.benchmarks.html_report import render_html
from rvm_trt.benchmarks.report import markdown, read_result, write_report, write_result
from rvm_trt.benchmarks.report_charts import charts
from rvm_trt.errors import OptionError

helpers = runpy.run_path(str(Path(__file__).with_name("report_helpers.py")))
make_document: Callable[..., dict[str, Any]] = helpers["make_document"]
entrant_of: Callable[..., dict[str, Any]] = helpers["entrant_of"]
fill: Callable[..., Path] = helpers["fill"]
Page = helpers["Page"]
markdown_tables = helpers["markdown_tables"]


@pytest.fixture
def document() -> dict[str, Any]:
    return make_document()


@pytest.fixture
def folder(document: dict[str, Any], tmp_path: Path) -> Path:
    return fill(tmp_path / "bench", document)


def test_the_page_and_the_markdown_have_the_same_tables(document: dict[str, Any], folder: Path) -> None:
    page, text = Page(render_html(document, folder)), markdown(document)
    assert page.tables == markdown_tables(text)
    captions = " ".join(caption for caption, _ in page.tables)
    for part in (
        "Frame to frame",
        "Tensor",
        "Latency",
        "Stages",
        "File to file",
        "foreground",
        "bounds",
        "Machine",
    ):
        assert part in captions


def test_a_row_says_speed_and_accuracy(document: dict[str, Any]) -> None:
    ours = entrant_of(document, "hd", "rvm-trt-bf16")
    ours["frame"] |= {"median_ms": 40.0, "quartiles_ms": [38.0, 41.5], "fps": 25.0, "beside_pytorch": 5.125}
    ours["accuracy"] |= {"mad_e3": 0.4321, "max": 0.25}
    assert "| rvm-trt BF16 | BF16 | 40.0 | 38.0–41.5 | 25.0 | 5.12× | 0.4321 | 0.2500 |" in markdown(document)


def test_the_summary_is_made_of_the_documents_figures(document: dict[str, Any], folder: Path) -> None:
    for profile in ("hd", "4k"):
        entrant_of(document, profile, "pytorch-eager")["frame"] |= {"median_ms": 500.0, "fps": 2.0}
        entrant_of(document, profile, "rvm-trt-bf16")["frame"] |= {"median_ms": 12.5, "fps": 80.0}
    text = markdown(document)
    assert "Frame to frame at HD, rvm-trt BF16 reaches 80.0 FPS, 40.00 times PyTorch eager (2.0)" in text
    assert "**4K, 3840×2160, ratio 0.125: 80.0 FPS**" in text
    assert "<strong>80.0</strong>" in render_html(document, folder)


def test_the_fastest_engine_and_the_fastest_library_are_named(document: dict[str, Any]) -> None:
    entrant_of(document, "hd", "rvm-trt-fp32")["frame"]["fps"] = 500.0
    entrant_of(document, "hd", "onnxruntime")["frame"]["fps"] = 400.0
    first = markdown(document).split("## ")[0]
    assert "at HD, rvm-trt FP32 reaches 500.0 FPS" in first
    assert "times ONNX Runtime (400.0)" in first
    assert "at 4K, rvm-trt BF16" in first
    assert "times OpenVINO, FP32" in first


def test_a_noisy_run_says_so_before_any_figure(document: dict[str, Any], folder: Path) -> None:
    assert "This run was noisy" not in markdown(document)
    document["noise"] = {"noisy": True, "text": "Rounds moved by 40 %.", "spread": {}}
    for text in (markdown(document), render_html(document, folder)):
        before, _, after = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL).partition(
            "This run was noisy"
        )
        assert "FPS" not in before
        assert after.index("Rounds moved by 40 %.") < after.index("31.0")


def test_who_could_not_run_is_named_with_the_reason(document: dict[str, Any], folder: Path) -> None:
    entrant_of(document, "4k", "pytorch-compile")["unavailable"] = "It took more than ten minutes."
    rows = dict(markdown_tables(markdown(document)))["Entrants that could not run here"]
    assert ["PyTorch, torch.compile", "HD", helpers["documents"]["COMPILE_IS_MISSING"]] in rows
    assert ["PyTorch, torch.compile", "4K", "It took more than ten minutes."] in rows
    assert "It took more than ten minutes." in render_html(document, folder)


def test_an_entrant_without_a_protocol_is_named_below_its_table(document: dict[str, Any]) -> None:
    entrant_of(document, "hd", "rvm-trt-bf16")["tensor"] = None
    text = markdown(document)
    assert "Not measured in this protocol: rvm-trt BF16." in text
    captions = dict(markdown_tables(text))
    assert "rvm-trt BF16" not in [row[0] for row in captions["Tensor protocol: HD, 1920×1080, ratio 0.25"]]


def test_the_protocols_do_not_mix(document: dict[str, Any]) -> None:
    before, words = charts(document), dict(markdown_tables(markdown(document)))
    for entry in document["profiles"]:
        for entrant in entry["entrants"]:
            if entrant["tensor"]:
                entrant["tensor"] |= {"median_ms": 1.0, "fps": 1000.0, "quartiles_ms": [0.9, 1.1]}
    after, words_after = charts(document), dict(markdown_tables(markdown(document)))
    assert {key for key in before if before[key] != after[key]} == {"tensor"}
    assert all(caption.startswith("Tensor") for caption in words if words[caption] != words_after[caption])


def test_a_report_of_little_says_little(document: dict[str, Any], tmp_path: Path) -> None:
    document |= {"profile_cost": None, "memory": None, "profiles": document["profiles"][:1]}
    (entry,) = document["profiles"]
    entry |= {"stages": [], "files": [], "pictures": []}
    for entrant in entry["entrants"]:
        entrant |= {"tensor": None, "accuracy": None, "bound": None}
    page = Page(render_html(document, tmp_path))
    captions = " ".join(caption for caption, _ in page.tables)
    assert "Frame to frame: HD" in captions
    for absent in ("Tensor", "Stages", "File", "foreground", "bounds", "Memory", "beside one of"):
        assert absent not in captions
    assert "its alpha was not compared" in markdown(document)


def test_a_report_without_any_engine_of_ours(document: dict[str, Any], tmp_path: Path) -> None:
    for entry in document["profiles"]:
        entry["entrants"] = [entrant for entrant in entry["entrants"] if entrant["group"] != "rvm-trt"]
        entry |= {"stages": [], "pictures": []}
    assert "At HD no engine of rvm-trt ran." in markdown(document)
    assert Page(render_html(document | {"profile_cost": None, "memory": None}, tmp_path)).tables


def test_equal_mattes_and_single_frames_are_drawn(tmp_path: Path) -> None:
    document = make_document(rounds=1, frames=1, noise=0.0)
    for profile in ("hd", "4k"):
        entrant_of(document, profile, "onnxruntime")["accuracy"] |= {
            "mad_e3": 0.0,
            "max": 0.0,
            "drift_mad_e3": [0.0],
        }
    assert "| ONNX Runtime | FP32 | 140.0 | 140.0–140.0 | 7.1 | 1.43× | 0 | 0 |" in markdown(document)
    assert render_html(document, fill(tmp_path, document))


def test_a_gpu_and_its_energy_are_shown_where_they_were_read(document: dict[str, Any]) -> None:
    assert "Nothing in this report was measured on a GPU." in markdown(document)
    ours = entrant_of(document, "hd", "rvm-trt-bf16")
    ours |= {
        "gpu": {"name": "RTX 4090", "utilisation": 0.61, "memory_bytes": 812_000_000},
        "energy_j_per_frame": 0.5,
        "energy_source": "NVML",
    }
    text = markdown(document)
    assert "Nothing in this report was measured on a GPU." not in text
    assert "| 0.50 (NVML) | RTX 4090, 61%, 812 MB |" in text


def test_reports_are_written_beside_each_other_and_read_back(document: dict[str, Any], folder: Path) -> None:
    written = write_report(document, folder)
    assert [path.name for path in written] == ["result.json", "report.md", "report.html"]
    assert read_result(folder) == read_result(folder / "result.json") == document
    assert (folder / "report.md").read_text() == markdown(document)
    assert (folder / "report.html").read_text() == render_html(document, folder)
    turn = entrant_of(document, "hd", "pytorch-eager")["frame"]["samples_ms"][0]
    assert json.dumps(turn) in (folder / "result.json").read_text()
    assert {path.name for path in folder.iterdir()} == {*(path.name for path in written), "frames"}


def test_a_missing_picture_is_named_and_the_result_is_kept(document: dict[str, Any], folder: Path) -> None:
    gone = document["profiles"][1]["pictures"][0]["alpha"]
    (folder / gone).unlink()
    with pytest.raises(OptionError, match=Path(gone).name):
        write_report(document, folder)
    assert read_result(folder) == document
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("{", "Expecting"),
        ("[]", "other JSON"),
        ('{"schema": 2}', "other JSON"),
        ('{"benchmark": "frame-to-frame", "schema": 1}', "'frame-to-frame', schema 1"),
        ('{"benchmark": "rvm-trt bench", "schema": 3}', "schema 3"),
    ],
)
def test_a_file_that_is_no_result_is_refused(content: str, got: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(OptionError, match="expected a result of 'rvm-trt bench', schema 2") as refused:
        read_result(path)
    assert got in refused.value.got
    assert str(path) == refused.value.subject


def test_the_command_writes_the_reports_again(
    document: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(document, folder / "result.json")
    assert report.main([str(folder)]) == 0
    assert capsys.readouterr().out.split() == [
        str(folder / name) for name in ("result.json", "report.md", "report.html")
    ]
    assert report.main([str(folder / "frames")]) == 1
    assert "expected a result of 'rvm-trt bench'" in capsys.readouterr().err
