"""What docs/temporal.md tells of cuts, resets, warm-up and drift is what the committed result files hold."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean as mean
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
FILES = ("cuts.json", "zero-states.json", "drift-20000.json", "drift-5000.json")
CLIPS = {
    "upper_body_640x480.mkv": "a signer, upper body",
    "full_body_512x288.mp4": "three dancers, whole bodies",
    "carphone_pristine.mp4": "a man in a car, dark coat",
}
WARM_UP = ("0", "1", "5", "10", "25", "50", "100")


@pytest.fixture(scope="module")
def page() -> str:
    return " ".join((ROOT / "docs" / "temporal.md").read_text(encoding="utf-8").split())


def result(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return document


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


@pytest.mark.parametrize("name", FILES)
def test_a_result_says_how_it_came_about_and_nothing_of_the_machine(name: str, page: str) -> None:
    document = result(name)
    assert f"`{name}`" in page or f"/{name}`" in page
    assert document["command"].startswith("python -m rvm_trt.benchmarks.")
    assert document["protocol"]
    assert document["date"]
    assert document["environment"]["commit"]
    text = (RESULTS / name).read_text(encoding="utf-8")
    assert not [word for word in ("/tmp", "/home", "/root", "/work", "\\\\") if word in text]
    if name != "cuts.json":
        assert len(document["weights"]["sha256"]) == 64


def test_cuts(page: str) -> None:
    document = result("cuts.json")
    cost, joined = document["cost"], document["joins"]
    assert [kind["found"] for kind in joined["kinds"]] == [200, 190, 52]
    for kind, told in zip(joined["kinds"], ("200 at random", "give it, 200", "jump cut), 200"), strict=True):
        assert f"{told} | {kind['found']} |" in page
        assert kind["joins"] == 200
    assert document["false_cuts_per_1000_frames"] == joined["false_cuts"] == 0
    rates = document["edited"]["rates"]
    assert f"| {'; '.join(str(rate['found']) for rate in rates)} | 0; 0; 0 |" in page
    frames = sum(alteration["frames"] for alteration in document["clips"]["alterations"])
    assert f"altered in {len(document['clips']['alterations'])} ways ({frames:,} frames)" in page
    keys = ("frame_least_ms", "frame_median_ms", "cut_least_ms", "cut_median_ms")
    for size, figures in cost.items():
        assert figures["cut_least_ms"] > figures["frame_least_ms"]
        assert row(size, *(f"{figures[key]:.2f}" for key in keys)) in page


def test_what_a_reset_at_a_cut_is_worth(page: str) -> None:
    cuts = result("zero-states.json")["cuts"]
    assert f"{cuts['joins']} joins" in page
    errors = {
        (line["into"], line["engine"], line["states"]): line["mad_e3_first_frames"]
        for line in cuts["rows"]
        if line["against"] == "fp32, uninterrupted"
    }
    assert {clip for clip, _, _ in errors} == set(CLIPS)
    for clip, words in CLIPS.items():
        carried, reset = (errors[clip, "fp32", states] for states in ("carried", "reset"))
        told = [f"{states[frames]:.1f}" for frames in ("1", "5", "30") for states in (carried, reset)]
        assert row(words, *told) in page
        assert all(reset[frames] <= carried[frames] for frames in ("1", "5", "15"))
        for states in ("carried", "reset"):
            for frames, figure in errors[clip, "fp32", states].items():
                assert errors[clip, "bf16", states][frames] == pytest.approx(figure, rel=0.05)


def test_what_warm_up_removes(page: str) -> None:
    lines = {line["clip"]: line for line in result("zero-states.json")["warm_up"]}
    assert set(lines) == set(CLIPS)
    for clip, words in CLIPS.items():
        errors = lines[clip]["mad_e3_after_frames"]
        assert row(words, *(f"{errors[frames]:.2f}" for frames in WARM_UP)) in page
        left = {frames: errors[frames] / errors["0"] for frames in WARM_UP}
        if "coat" in words:  # "on the third clip none helps"
            assert min(left.values()) > 0.5
        else:
            assert left["25"] == pytest.approx(1 / 4, abs=0.04)
            assert left["100"] == pytest.approx(1 / 8, abs=0.01)


@pytest.mark.parametrize(
    ("name", "clip"), [("drift-20000.json", "the man"), ("drift-5000.json", "the signer")]
)
def test_drift_and_resets_at_intervals(name: str, clip: str, page: str) -> None:
    (document,) = result(name)["clips"]
    lines = {line["name"]: line for line in document["subjects"]}
    for engine, words in (("bf16", "BF16"), ("int8", "INT8")):
        whole = lines[engine]
        blocks, growth = whole["block_mad_e3"], whole["growth"]
        quarter = len(blocks) // 4
        assert growth["low"] < 0 < growth["high"]  # "no drift is to be seen"
        slope, low, high = (f"{growth[key]:+.4f}" for key in ("mad_e3_per_1000_frames", "low", "high"))
        ends = (f"{mean(part):.2f}" for part in (blocks[:quarter], blocks[-quarter:]))
        told = (f"{whole['frames']:,}", f"{whole['mad_e3']:.2f}", *ends, f"{max(blocks):.2f}")
        assert row(f"{clip}, {words}", *told, slope, f"{low} to {high}") in page
        reset = lines[f"{engine}, reset every 250"]
        after = [f"{reset['after_reset_mad_e3'][frames]:.1f}" for frames in ("1", "5", "25", "100")]
        without = mean(blocks[: reset["frames"] // 250])
        assert reset["mad_e3"] > 2 * without
        assert row(f"{clip}, {words}", *after, f"{reset['mad_e3']:.2f}", f"{without:.2f}") in page
    states = [document["reference_state_rms"], *(line["state_rms"] for line in document["subjects"])]
    assert max(figure for run in states for block in run for figure in block) < 1
