"""The page of a bench report is whole, safe and described; its error maps are right."""

from __future__ import annotations

import base64
import io
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rvm_trt.benchmarks.html_report import render_html
from rvm_trt.benchmarks.report_frames import HEAT_TOP, heat_colours, scenes

helpers = runpy.run_path(str(Path(__file__).with_name("report_helpers.py")))
make_document: Callable[..., dict[str, Any]] = helpers["make_document"]
fill: Callable[..., Path] = helpers["fill"]
Page = helpers["Page"]


@pytest.fixture
def document() -> dict[str, Any]:
    return make_document()


@pytest.fixture
def folder(document: dict[str, Any], tmp_path: Path) -> Path:
    return fill(tmp_path / "bench", document)


def test_the_page_asks_for_nothing_outside_itself(document: dict[str, Any], folder: Path) -> None:
    text = render_html(document, folder)
    page = Page(text)
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"url\(|@import|https?:", text)
    assert "default-src 'none'; img-src data:" in text


def test_the_page_is_made_for_every_reader(document: dict[str, Any], folder: Path) -> None:
    page = Page(render_html(document, folder))
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(below - above <= 1 for above, below in zip(page.headings, page.headings[1:], strict=False))
    assert all(caption for caption, _ in page.tables)
    described = [text for text in page.alternatives if text]
    assert (
        len(described) == len(set(described)) == len(page.alternatives) - 2
    )  # the slider's two are filled in later


def test_the_page_holds_every_sample(document: dict[str, Any], folder: Path) -> None:
    page = Page(render_html(document, folder))
    (raw,) = [address for address in page.addresses if address.startswith("data:application/json;base64,")]
    assert json.loads(base64.b64decode(raw.partition(",")[2])) == document


def test_words_of_the_document_are_no_html(document: dict[str, Any], folder: Path) -> None:
    hostile = '<script>alert("x")</script>'
    document["environment"]["cpu"] = document["command"] = document["noise"]["text"] = hostile
    for entrant in document["profiles"][0]["entrants"]:
        entrant["label"] = hostile
    text = render_html(document, folder)
    assert hostile not in text
    assert Page(text).scripts == 2  # the theme's and the slider's


def test_error_maps_show_where_alpha_is_wrong(document: dict[str, Any], folder: Path) -> None:
    shown = scenes(document, folder)
    assert [scene.title for scene in shown[:2]] == [
        "HD, 1920×1080, ratio 0.25: frame 41, largest error",
        "HD, 1920×1080, ratio 0.25: frame 150, middle of the clip",
    ]
    (shot,) = shown[0].shots
    (small, small_error), (large, large_error) = helpers["SMALL_ERROR"], helpers["LARGE_ERROR"]
    assert shot.largest == pytest.approx(large_error / 255, abs=1e-6)
    assert shot.mean == pytest.approx(10 * (small_error + large_error) / helpers["WIDTH"] / 255, abs=1e-6)
    colours = [tuple(bytes.fromhex(colour[1:])) for colour in heat_colours()]
    with Image.open(io.BytesIO(base64.b64decode(shot.heat.uri.partition(",")[2]))) as image:
        heat = np.asarray(image.convert("RGB"))
    assert {tuple(pixel) for pixel in heat[:, 50]} == {colours[0]}
    assert {tuple(pixel) for pixel in heat[:, large].reshape(-1, 3)} == {colours[-1]}
    between = {tuple(pixel) for pixel in heat[:, small].reshape(-1, 3)}
    assert not between & {colours[0], colours[-1]}
    assert small_error / 255 < HEAT_TOP < large_error / 255


def test_one_frame_of_several_entrants_is_one_scene(document: dict[str, Any], tmp_path: Path) -> None:
    entry = document["profiles"][0]
    entry["pictures"] += [{**item, "entrant": "rvm-trt-fp32"} for item in entry["pictures"]]
    first = scenes(document, fill(tmp_path, document))[0]
    assert [shot.label for shot in first.shots] == ["rvm-trt BF16", "rvm-trt FP32"]
