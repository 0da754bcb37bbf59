"""Two bench documents compared: real changes are found, noise and slow machines are not taken for them."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rvm_trt.benchmarks.compare import Comparison, compare
from rvm_trt.benchmarks.compare_accuracy import Closeness
from rvm_trt.benchmarks.compare_times import TimeChange
from rvm_trt.benchmarks.ratio_interval import Verdict, ratio_of
from rvm_trt.errors import OptionError

documents = runpy.run_path(str(Path(__file__).with_name("documents.py")))
make_document: Callable[..., dict[str, Any]] = documents["make_document"]
entrant_of: Callable[..., dict[str, Any]] = documents["entrant_of"]

BF16 = "rvm-trt-bf16"


def row_of(comparison: Comparison, entrant: str, profile: str = "hd", protocol: str = "frame") -> TimeChange:
    (row,) = (
        row
        for row in comparison.times
        if (row.profile, row.protocol, row.entrant) == (profile, protocol, entrant)
    )
    return row


def noisy(generator: np.random.Generator, spread: float, rounds: int = 12) -> Any:
    return 40 * np.exp(spread * generator.standard_normal(rounds))


def test_a_slowdown_of_a_tenth_is_found_in_noise() -> None:
    old, new = make_document(seed=1), make_document(seed=2, factors={BF16: 1.1}, noise=0.5)
    comparison = compare(old, new)
    row = row_of(comparison, BF16)
    assert row.relative is not None
    assert row.verdict is row.relative.verdict is Verdict.SLOWER
    assert 1 < row.relative.low < 1.1 < row.relative.high < 1.2
    assert row_of(comparison, "rvm-trt-fp32").verdict is Verdict.SAME
    assert comparison.regressed
    assert f"{BF16} at hd (frame): slower" in comparison.regressions
    assert not any("fp32" in phrase for phrase in comparison.regressions)
    back = row_of(compare(new, old), BF16)
    assert back.verdict is Verdict.FASTER
    assert not compare(new, old).regressed


def test_equal_runs_are_hardly_ever_told_apart() -> None:
    pairs = [
        (make_document(seed=2 * seed, profiles=("hd",)), make_document(seed=2 * seed + 1, profiles=("hd",)))
        for seed in range(20)
    ]
    assert sum(compare(old, new).regressed for old, new in pairs) <= 1


@pytest.mark.parametrize("rounds", [5, 12])
def test_equal_series_are_told_apart_in_one_of_twenty_tries_at_most(rounds: int) -> None:
    generators = map(np.random.default_rng, range(400))
    series = ((noisy(generator, 0.15, rounds), noisy(generator, 0.15, rounds)) for generator in generators)
    verdicts = [ratio_of(*pair, confidence=0.95).verdict for pair in series]
    assert sum(verdict is Verdict.SAME for verdict in verdicts) >= 380


@pytest.mark.parametrize(("spread", "change"), [(0.02, 1.1), (0.05, 0.8)])
def test_intervals_hold_the_true_ratio(spread: float, change: float) -> None:
    ratios = [
        ratio_of(noisy(generator, spread), change * noisy(generator, spread), confidence=0.95)
        for generator in map(np.random.default_rng, range(200))
    ]
    assert sum(ratio.low <= change <= ratio.high for ratio in ratios) >= 188
    told = Verdict.SLOWER if change > 1 else Verdict.FASTER
    assert sum(ratio.verdict is told for ratio in ratios) >= 190


def test_rounds_are_drawn_again_and_not_frames() -> None:
    # Frames of a round agree, rounds do not: as 96 frames this would look like a sure thing.
    old, new = (make_document(seed=seed, noise=0.0) for seed in (1, 2))
    generator = np.random.default_rng(0)
    for document, centre in ((old, 30.0), (new, 31.5)):
        rounds = centre * np.exp(0.15 * generator.standard_normal(12))
        samples = np.repeat(rounds, 8).reshape(12, 8).tolist()
        entrant_of(document, "hd", BF16)["frame"]["samples_ms"] = samples
    ratio = row_of(compare(old, new), BF16).raw
    assert ratio.high - ratio.low > 0.1
    assert ratio.verdict is Verdict.SAME


def test_a_stray_frame_in_each_round_changes_nothing() -> None:
    old, new = make_document(noise=0.0), make_document(noise=0.0)
    for turn in entrant_of(new, "hd", BF16)["frame"]["samples_ms"]:
        turn[0], turn[3] = 10 * turn[0], 0.1 * turn[3]
    assert row_of(compare(old, new), BF16).raw.value == 1


def test_a_sure_change_below_the_threshold_is_none() -> None:
    old, new = make_document(noise=0.0), make_document(noise=0.0, factors={BF16: 1.015})
    ratio = row_of(compare(old, new), BF16).raw
    assert ratio.low > 1
    assert ratio.verdict is Verdict.SAME


def test_a_machine_half_as_fast_is_no_regression() -> None:
    comparison = compare(make_document(seed=1), make_document(seed=2, machine=2.0))
    for name in (BF16, "openvino-fp32"):
        row = row_of(comparison, name)
        assert row.raw.verdict is Verdict.SLOWER
        assert row.raw.value == pytest.approx(2, rel=0.1)
        assert row.verdict is Verdict.SAME
    assert not comparison.regressed


def test_pairs_of_rounds_take_out_what_slows_everybody() -> None:
    old, new = make_document(noise=0.0), make_document(noise=0.0, factors={BF16: 1.05})
    generator = np.random.default_rng(3)
    for document in (old, new):
        weather = np.exp(0.5 * generator.standard_normal((12, 1)))
        for name in ("pytorch-eager", BF16):
            timing = entrant_of(document, "hd", name)["frame"]
            timing["samples_ms"] = (weather * np.array(timing["samples_ms"])).tolist()
    row = row_of(compare(old, new), BF16)
    assert row.raw.verdict is Verdict.SAME
    assert row.raw.high / row.raw.low > 1.5
    assert row.relative is not None
    assert (row.relative.low, row.relative.high) == pytest.approx((1.05, 1.05), abs=1e-3)
    assert row.verdict is Verdict.SLOWER


def test_another_processor_spoils_raw_times_alone() -> None:
    old, new = make_document(seed=1), make_document(seed=2, factors={BF16: 1.3})
    new["environment"]["cpu"] = "Some CPU 9001"
    comparison = compare(old, new)
    (condition,) = comparison.conditions
    assert (condition.subject, condition.old, condition.new) == (
        "processor",
        "Some CPU 9000",
        "Some CPU 9001",
    )
    row = row_of(comparison, BF16)
    assert row.raw.verdict is Verdict.INCOMPARABLE
    assert row.verdict is Verdict.SLOWER
    assert row_of(comparison, "pytorch-eager").verdict is Verdict.INCOMPARABLE
    assert all(change.verdict is Closeness.SAME for change in comparison.accuracy)
    assert "another processor (Some CPU 9000 → Some CPU 9001); raw times cannot" in comparison.markdown()


def test_another_pytorch_leaves_the_raw_times_to_judge_by() -> None:
    old, new = make_document(seed=1), make_document(seed=2, factors={"pytorch-eager": 0.5})
    new["environment"]["packages"]["torch"] = "2.99.0"
    row = row_of(compare(old, new), BF16)
    assert row.relative is not None
    assert row.relative.verdict is Verdict.INCOMPARABLE
    assert row.verdict is row.raw.verdict is Verdict.SAME


def test_other_footage_of_one_profile_spoils_that_profile() -> None:
    old, new = make_document(seed=1), make_document(seed=2)
    new["profiles"][1]["footage"]["clip"] = "other.mp4"
    entrant_of(new, "4k", BF16)["accuracy"]["mad_e3"] = 9.0
    comparison = compare(old, new)
    assert row_of(comparison, BF16, "4k").raw.verdict is Verdict.INCOMPARABLE
    assert row_of(comparison, BF16, "hd").raw.verdict is Verdict.SAME
    assert {change.verdict for change in comparison.accuracy if change.profile == "4k"} == {
        Closeness.INCOMPARABLE
    }
    assert not comparison.regressed


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        (lambda d: d["environment"].update(threads_per_entrant=4), "threads per entrant"),
        (lambda d: d["environment"].update(cores_usable=8), "usable cores"),
        (lambda d: d["weights"].update(sha256="0" * 64), "weights (SHA-256)"),
        (lambda d: d["profiles"][0]["profile"].update(ratio=0.4), "profile"),
        (lambda d: d["profiles"][0]["footage"].update(frames=64), "clip's frames"),
    ],
)
def test_conditions_that_differ_are_told(change: Callable[[dict[str, Any]], None], subject: str) -> None:
    new = make_document()
    change(new)
    comparison = compare(make_document(), new)
    assert [condition.subject for condition in comparison.conditions] == [subject]
    assert row_of(comparison, BF16).raw.verdict is Verdict.INCOMPARABLE
    assert f"another {subject}" in comparison.markdown()


@pytest.mark.parametrize(
    ("old_e3", "new_e3", "verdict"),
    [
        (0.55, 0.70, Closeness.FURTHER),
        (0.70, 0.55, Closeness.CLOSER),
        (0.55, 0.59, Closeness.SAME),  # 7 %
        (0.001, 0.015, Closeness.SAME),  # fifteen times, of nothing
        (0.0, 0.03, Closeness.FURTHER),
    ],
)
def test_changes_of_accuracy(old_e3: float, new_e3: float, verdict: Closeness) -> None:
    old, new = make_document(), make_document()
    for document, mad_e3 in ((old, old_e3), (new, new_e3)):
        entrant_of(document, "hd", BF16)["accuracy"]["mad_e3"] = mad_e3
    comparison = compare(old, new)
    (change,) = (row for row in comparison.accuracy if (row.profile, row.entrant) == ("hd", BF16))
    assert change.verdict is verdict
    assert comparison.regressed is (verdict is Closeness.FURTHER)


def test_errors_over_clips_of_different_length_are_not_compared() -> None:
    old, new = make_document(), make_document()
    entrant_of(new, "hd", BF16)["accuracy"] |= {"mad_e3": 2.0, "frames": 32}
    verdicts = {(row.profile, row.entrant): row.verdict for row in compare(old, new).accuracy}
    assert verdicts["hd", BF16] is Closeness.INCOMPARABLE
    assert verdicts["4k", BF16] is Closeness.SAME


def test_others_that_become_slower_or_worse_are_no_regression() -> None:
    old, new = make_document(seed=1), make_document(seed=2, factors={"openvino-fp32": 1.5})
    entrant_of(new, "hd", "openvino-fp32")["accuracy"]["mad_e3"] = 5.0
    comparison = compare(old, new)
    assert row_of(comparison, "openvino-fp32").verdict is Verdict.SLOWER
    assert not comparison.regressed


def test_entrants_and_profiles_of_one_document_alone_are_listed() -> None:
    old, new = make_document(), make_document(profiles=("hd",))
    entrants = new["profiles"][0]["entrants"]
    entrants[:] = [entrant for entrant in entrants if entrant["name"] != "onnxruntime"]
    entrants.append({**entrants[-1], "name": "rvm-trt-int8"})
    comparison = compare(old, new)
    listed = {(row.profile, row.entrant): row.text for row in comparison.absences}
    assert listed == {
        ("4k", None): "only in the old document",
        ("hd", "onnxruntime"): "only in the old document",
        ("hd", "rvm-trt-int8"): "only in the new document",
    }
    assert {row.profile for row in comparison.times} == {"hd"}
    assert not comparison.regressed
    assert "onnxruntime at hd: only in the old document" in comparison.markdown()


def test_an_engine_that_cannot_run_any_more_is_a_regression_on_the_same_machine() -> None:
    old, new = make_document(), make_document()
    entrant = entrant_of(new, "hd", BF16)
    entrant.update(dict.fromkeys(entrant.keys() - {"name", "label", "group", "precision"}))
    entrant["unavailable"] = "The engine is damaged."
    comparison = compare(old, new)
    assert comparison.regressions == (f"{BF16} at hd: cannot run any more: The engine is damaged.",)
    new["environment"]["cpu"] = "A CPU without BF16"
    assert not compare(old, new).regressed
    back = compare(new, old)
    assert [row.text for row in back.absences] == ["could not run before: The engine is damaged."]
    assert not back.regressed


def test_files_are_compared_where_there_were_enough_repeats() -> None:
    old, new = make_document(), make_document()
    assert row_of(compare(old, new), BF16, protocol="file").verdict is Verdict.TOO_FEW
    generator = np.random.default_rng(1)
    for document, factor in ((old, 1.0), (new, 1.3)):
        for row in document["profiles"][0]["files"]:
            if not row["unavailable"]:
                slower = factor if row["entrant"] == BF16 else 1.0
                row["samples_s"] = (slower * np.exp(0.01 * generator.standard_normal(6)) * 5).tolist()
    change = row_of(compare(old, new), BF16, protocol="file")
    assert change.old_ms == pytest.approx(5000, rel=0.02)
    assert change.verdict is Verdict.SLOWER
    assert change.relative is not None
    assert change.relative.value == pytest.approx(1.3, rel=0.03)


def test_without_a_baseline_in_step_the_raw_times_decide() -> None:
    old, new = make_document(seed=1), make_document(seed=2)
    timing = entrant_of(new, "hd", "pytorch-eager")["frame"]
    timing["samples_ms"] = timing["samples_ms"][:-1]
    row = row_of(compare(old, new), BF16)
    assert row.relative is None
    assert row.verdict is row.raw.verdict is Verdict.SAME


def test_the_same_documents_give_the_same_comparison_as_json() -> None:
    old, new = make_document(seed=1), make_document(seed=2)
    first, second = (json.dumps(compare(old, new).to_json(), allow_nan=False) for _ in range(2))
    assert first == second
    data = json.loads(first)
    assert data["regressed"] is False
    # Two engines in two protocols and two profiles, and one of them on files: ten intervals that hold together.
    assert data["confidence"] == 0.995
    assert data["times"][0]["relative"] is None


def test_the_markdown() -> None:
    old, new = make_document(noise=0.0), make_document(noise=0.0, factors={BF16: 1.25})
    new["noise"] = {**new["noise"], "noisy": True, "text": "Rounds differed by 40 %."}
    text = compare(old, new).markdown()
    assert (
        f"| hd | frame | {BF16} | 31.0 | 38.8 | 1.250 (1.250–1.250) | 1.250 (1.250–1.250) | **slower** |"
        in text
    )
    assert "The new run was noisy: Rounds differed by 40 %." in text
    assert f"Regressed: {BF16} at hd (frame): slower; {BF16} at hd (tensor): slower" in text
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {9}
    assert compare(old, old).markdown().endswith("No regression found.")


def test_documents_that_cannot_be_compared() -> None:
    with pytest.raises(OptionError, match="old document: got schema 1"):
        compare({"schema": 1, "profiles": []}, make_document())
    with pytest.raises(OptionError, match="new document: got schema None"):
        compare(make_document(), {})
    with pytest.raises(OptionError, match="hd in the old document and 4k in the new one"):
        compare(make_document(profiles=("hd",)), make_document(profiles=("4k",)))
