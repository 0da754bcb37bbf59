"""The charts of a bench report are to scale, and never show a model beside a measurement."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rvm_trt.benchmarks.html_report import render_html
from rvm_trt.benchmarks.report import markdown
from rvm_trt.benchmarks.report_charts import charts
from rvm_trt.benchmarks.report_sections import sections

helpers = runpy.run_path(str(Path(__file__).with_name("report_helpers.py")))
make_document: Callable[..., dict[str, Any]] = helpers["make_document"]
entrant_of: Callable[..., dict[str, Any]] = helpers["entrant_of"]
fill: Callable[..., Path] = helpers["fill"]


@pytest.fixture
def document() -> dict[str, Any]:
    return make_document()


@pytest.fixture
def folder(document: dict[str, Any], tmp_path: Path) -> Path:
    return fill(tmp_path / "bench", document)


def test_what_is_modelled_is_in_no_chart_of_what_is_measured(document: dict[str, Any], folder: Path) -> None:
    before = charts(document)
    assert {key for key, group in before.items() if any(chart.modelled for chart in group)} == {"schedule"}
    assert all(chart.modelled for chart in before["schedule"])
    for profile in ("hd", "4k"):
        entrant_of(document, profile, "rvm-trt-bf16")["bound"]["modelled_ms"] = 0.0123
    assert charts(document) == before
    for section in sections(document):
        for table in section.tables:
            if any("0.012" in cell for row in table.rows for cell in row):
                assert section.modelled
                assert table.modelled
    assert "(modelled, not measured)" in markdown(document)
    assert render_html(document, folder).count("modelled, not measured</span>") >= 6


def test_bars_are_as_long_as_their_numbers(document: dict[str, Any]) -> None:
    chart = charts(document)["frame"][0]
    widths = {row.label: row.rects[0].width for row in chart.rows}
    speeds = {e["label"]: e["frame"]["fps"] for e in document["profiles"][0]["entrants"] if e["frame"]}
    for label, speed in speeds.items():
        assert widths[label] / widths["PyTorch eager"] == pytest.approx(
            speed / speeds["PyTorch eager"], rel=1e-3
        )
        assert 0 < widths[label] <= 100


def test_the_papers_figures_are_marks_with_their_card(document: dict[str, Any]) -> None:
    for key in ("frame", "tensor"):
        hd, uhd = charts(document)[key]
        assert hd.mark is not None
        assert uhd.mark is not None
        assert hd.mark.label == "104 FPS: RVM paper, GTX 1080 Ti, FP32, tensor protocol"
        assert uhd.mark.label.startswith("76 FPS")
        width = next(row.rects[0].width for row in hd.rows if row.label == "rvm-trt BF16")
        speed = entrant_of(document, "hd", "rvm-trt-bf16")[key]["fps"]
        assert hd.mark.at / 104 == pytest.approx(width / speed, rel=1e-3)
    document["profiles"][0]["profile"]["ratio"] = 0.4
    assert charts(document)["frame"][0].mark is None
    assert markdown(document).count("RVM's authors report") == 2


def test_every_chart_stays_within_its_track(document: dict[str, Any]) -> None:
    for group in charts(document).values():
        for chart in group:
            places = [tick.at for tick in chart.ticks] + ([chart.mark.at] if chart.mark else [])
            places += [rect.left for row in chart.rows for rect in row.rects]
            places += [rect.left + rect.width for row in chart.rows for rect in row.rects]
            places += [
                float(number)
                for row in chart.rows
                for stroke in row.strokes
                for number in re.findall(r"[ML]([\d.e-]+) ", stroke.path)
            ]
            assert all(-0.01 <= place <= 100.01 for place in places), chart.caption


def test_stages_and_busy_parts_are_drawn_to_scale(document: dict[str, Any]) -> None:
    (chart, _), row = charts(document)["stages"], document["profiles"][0]["stages"][0]
    drawn = chart.rows[0].rects
    assert sum(rect.width for rect in drawn) == pytest.approx(100 / 1.04, abs=0.1)
    whole = sum(row["median_ms"].values())
    assert drawn[1].width == pytest.approx(row["median_ms"]["core"] / whole * 100 / 1.04, abs=0.1)
    assert drawn[1].left == drawn[0].width
    assert "core" in chart.rows[0].detail
    assert "(65%)" in chart.rows[0].detail


def test_a_single_time_has_an_axis_too(document: dict[str, Any]) -> None:
    entry = document["profiles"][0]
    entry |= {"entrants": entry["entrants"][:1], "stages": [], "files": []}
    timed = dict.fromkeys(("median_ms", "p50_ms", "p95_ms", "p99_ms"), 200.0)
    entry["entrants"][0]["frame"] |= {**timed, "quartiles_ms": [200.0, 200.0], "samples_ms": [[200.0]]}
    chart = charts(document | {"profile_cost": None, "profiles": [entry]})["latency"][0]
    assert [tick.label for tick in chart.ticks] == ["200", "500"]
