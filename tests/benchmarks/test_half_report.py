"""The report on FP16: the whole of it on a tiny network, its table, its verdict and its command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rvm_trt.benchmarks import half_report
from rvm_trt.benchmarks.half_accuracy import (
    hostile_frames,
)
from rvm_trt.benchmarks.half_islands import PRODUCT
from rvm_trt.benchmarks.half_report import LIMIT_MAD_E3, HalfOptions, passed, run_half_report
from rvm_trt.benchmarks.half_table import table
from rvm_trt.export.float16 import ISLANDS
from rvm_trt.export.weight_cache import Record, Source, WeightCache, file_name
from rvm_trt.export.weights import find_weights
from rvm_trt.files import cache_dir, sha256_file
from rvm_trt.options import Refiner, Variant
from rvm_trt.profile import Profile

# 64x48 frames, a network input of 32x24.
SMALL = Profile.for_size(width=64, height=48, ratio=0.5)


@pytest.fixture(scope="module")
def report(fast_checkpoint: Path, shots: Path) -> dict[str, Any]:
    """The whole report on 64x48 frames with the fast guided filter."""
    options = HalfOptions(
        profile=SMALL,
        clips=(shots,),
        weights=(find_weights(checkpoint=fast_checkpoint),),
        frames=12,
        hostile_frames=2,
        islands_frames=2,
        command="python -m rvm_trt.benchmarks.half_report",
    )
    seen: list[str] = []
    done = run_half_report(options, advance=seen.append)
    assert len(seen) == 12 + 5 * 2 + 2
    return done


def test_the_report_says_what_was_compared(
    report: dict[str, Any], fast_checkpoint: Path, shots: Path
) -> None:
    (proof,) = report["proof"]
    assert (proof["clip"], proof["clip_frames"], proof["back_and_forth"], proof["frames"]) == (
        shots.name,
        4,
        True,
        12,
    )
    assert (report["profile"], report["limit_mad_e3"]) == ("64x48-r0.5-fgf", LIMIT_MAD_E3)
    assert [row["sequence"] for row in report["hostile"]] == list(hostile_frames(SMALL, 0))
    (analysis,) = report["islands_analysis"]
    rows = {row["islands"]: row for row in analysis["rows"]}
    # The fast guided filter has no slope network.
    assert f"{PRODUCT} + slope network" not in rows
    assert 0 == rows["none"]["fp32_nodes"] < rows["first layers alone"]["fp32_nodes"]
    assert rows[PRODUCT]["fp32_nodes"] == sum(rows[f"{name} alone"]["fp32_nodes"] for name in ISLANDS)
    text = json.dumps(report, allow_nan=False)
    for place in (fast_checkpoint.parent, shots.parent, Path.home(), Path.cwd()):
        assert str(place) not in text


def test_the_table_shows_every_row(report: dict[str, Any]) -> None:
    text = table(report)
    for row in (*report["hostile"], *report["islands_analysis"][0]["rows"]):
        assert row.get("sequence", row.get("islands")) in text
    assert "shots0 (back and forth)" in text
    assert text.endswith("passed" if report["passed"] else "FAILED")


def test_the_table_tells_where_other_weights_are_over_the_limit(report: dict[str, Any]) -> None:
    other = json.loads(json.dumps(report))
    rows = {row["islands"]: row for row in other["islands_analysis"][0]["rows"]}
    for row in rows.values():
        row["clips"][0]["mad_e3"] = LIMIT_MAD_E3
    assert "over 0.3e-3" not in table(other)
    rows["none"]["clips"][0]["mad_e3"] = 1.0
    assert "over 0.3e-3" not in table(other)
    rows[PRODUCT]["clips"][0]["mad_e3"] = LIMIT_MAD_E3 + 1e-4
    assert "over 0.3e-3: shots0" in table(other)


def test_the_bar_and_every_product_figure_decide(report: dict[str, Any]) -> None:
    sound = json.loads(json.dumps(report))
    sound["proof"][0]["mad_e3"] = LIMIT_MAD_E3
    assert passed(sound)
    product = next(row for row in sound["islands_analysis"][0]["rows"] if row["islands"] == PRODUCT)
    other = sound["islands_analysis"][0]["rows"][0]["clips"][0]
    for row, key, value in (
        (sound["proof"][0], "mad_e3", LIMIT_MAD_E3 + 1e-4),
        (sound["proof"][0], "mad_e3", None),
        (sound["proof"][0], "non_finite", 1),
        (sound["hostile"][1], "non_finite", 1),
        (product["clips"][0], "non_finite", 1),
    ):
        good = row[key]
        row[key] = value
        assert not passed(sound)
        row[key] = good
    other["non_finite"] = 1  # no islands: nobody runs that
    assert passed(sound)


@pytest.mark.parametrize(("verdict", "code"), [(True, 0), (False, 1)])
def test_the_command_writes_the_report_and_exits_by_the_verdict(
    report: dict[str, Any],
    fast_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verdict: bool,
    code: int,
) -> None:
    asked: list[HalfOptions] = []

    def compared(options: HalfOptions, **_: object) -> dict[str, Any]:
        asked.append(options)
        return {**report, "passed": verdict}

    monkeypatch.setattr(half_report, "run_half_report", compared)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # this process has other tests to run
    output = tmp_path / "fp16.json"
    words = ["half_report", "/some/where/my.mp4", "--checkpoint", str(fast_checkpoint), "--frames", "20"]
    monkeypatch.setattr("sys.argv", [*words, "--output", str(output)])
    assert half_report.main() == code
    assert json.loads(output.read_text())["passed"] is verdict
    assert capsys.readouterr().out.startswith("FP16 beside FP32, 64x48-r0.5-fgf")
    (options,) = asked
    assert (options.frames, options.profile.name) == (20, "hd")
    assert options.command == (
        "python -m rvm_trt.benchmarks.half_report my.mp4 "
        f"--checkpoint {fast_checkpoint.name} --frames 20 --profile hd"
    )


def test_a_mistake_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["half_report", "my.mp4", "--frames", "0"])
    assert half_report.main() == 1
    assert "--frames: got 0, expected at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("cached", [False, True])
def test_cached_web_weights_bring_the_other_refiner_and_nothing_is_fetched(
    cached: bool,
    report: dict[str, Any],
    checkpoint: Callable[..., Path],
    fast_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if cached:
        cache = WeightCache(cache_dir() / "weights")
        cache.folder.mkdir(parents=True)
        name = file_name(Variant.MOBILENETV3, Source.WEB)
        cache.path(name).write_bytes(fast_checkpoint.read_bytes())
        cache.put_record(
            name,
            Record(
                origin="a test",
                licence="none",
                sha256=sha256_file(fast_checkpoint),
                date="2026-01-01T00:00:00+00:00",
                variant=Variant.MOBILENETV3,
                refiner=Refiner.FAST,
                converted_from={},
            ),
        )
    asked: list[HalfOptions] = []

    def compared(options: HalfOptions, **_: object) -> dict[str, Any]:
        asked.append(options)
        return report

    monkeypatch.setattr(half_report, "run_half_report", compared)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    words = ["half_report", "my.mp4", "--checkpoint", str(checkpoint())]
    monkeypatch.setattr("sys.argv", [*words, "--output", str(tmp_path / "fp16.json")])
    half_report.main()
    (options,) = asked
    refiners = [weights.refiner for weights in options.weights]
    assert refiners == [Refiner.DEEP, Refiner.FAST][: 1 + cached]
