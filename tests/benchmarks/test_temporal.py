"""The measurements of cuts, resets and drift, on pictures and sessions whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.benchmarks import cut_report, drift
from rvm_trt.benchmarks.cut_footage import Kind, alterations, joins
from rvm_trt.benchmarks.cut_report import cost_ms, cuts_in, edited_cuts, false_cuts, joined_cuts
from rvm_trt.benchmarks.drift import Subject, measure_drift, summary
from rvm_trt.benchmarks.drift_figures import after_reset, growth
from rvm_trt.benchmarks.wandering import wandering_frames
from rvm_trt.benchmarks.zero_states import at_cuts, warm_up
from rvm_trt.profile import Profile

Image = npt.NDArray[np.uint8]
Moving = Callable[..., list[Image]]
SMALL = Profile(width=64, height=48, ratio=0.5)


class Fading:
    """A session whose alpha is the mean of the frame and of the alpha before, off by what is asked for.

    It lends its memory, as sessions do.
    """

    def __init__(self, off: Callable[[int], float] = lambda _: 0.0) -> None:
        self._off = off
        self._frames = 0
        self.resets = 0
        self._alpha: Any = 0.0
        self._lent: list[Image] = []

    def process(self, frame: Image) -> Any:
        self._alpha = (self._alpha + frame[..., 0].astype(np.float32)) / 2
        self._frames += 1
        alpha = self._alpha + 255 * self._off(self._frames)
        if not self._lent:
            self._lent = [np.empty(alpha.shape, np.uint8) for _ in range(2)]
        self._lent.reverse()
        self._lent[0][:] = alpha.round().clip(0, 255)
        return SimpleNamespace(pha=self._lent[0])

    def reset(self) -> None:
        self._alpha = 0.0
        self.resets += 1

    def state(self) -> Sequence[npt.NDArray[np.float32]]:
        return [np.asarray(self._alpha, np.float32)] * 4


def grey(level: int, count: int) -> list[Image]:
    return [np.full((8, 8, 3), level, np.uint8)] * count


def test_an_equal_engine_has_no_error_and_no_growth() -> None:
    subject = measure_drift(Fading(), {"same": Subject(session=Fading())}, grey(200, 3000))["subjects"][0]
    assert (subject["frames"], subject["mad_e3"], subject["max"]) == (3000, 0, 0)
    assert subject["block_mad_e3"] == [0] * 12
    assert subject["state_error"] == [[0, 0, 0, 0]] * 12
    assert subject["growth"]["mad_e3_per_1000_frames"] == 0


def test_an_error_that_grows_is_seen_to_grow() -> None:
    growing = Subject(session=Fading(lambda frame: frame / 20_000))
    subject = measure_drift(Fading(), {"grows": growing}, grey(100, 4000))["subjects"][0]
    assert subject["growth"]["mad_e3_per_1000_frames"] == pytest.approx(50, rel=0.02)
    assert subject["growth"]["low"] > 45
    assert subject["block_mad_e3"][0] < subject["block_mad_e3"][-1]
    assert subject["max"] == pytest.approx(0.2, abs=0.003)


def test_noise_is_not_taken_for_growth() -> None:
    noise = np.random.default_rng(3).uniform(0.9, 1.1, 40)
    figures = growth(noise)
    assert figures is not None
    assert figures["low"] < 0 < figures["high"]
    assert growth(noise[:2]) is None


def test_resets_come_when_they_are_due_and_their_error_fades() -> None:
    session = Fading()
    subjects = {"reset": Subject(session=session, reset_every=50, frames=200)}
    result = measure_drift(Fading(), subjects, grey(128, 260), block=20)
    (subject,) = result["subjects"]
    assert session.resets == subject["resets"] == 3
    assert subject["frames"] == 200
    assert len(result["reference_state_rms"]) == 13
    errors = subject["after_reset_mad_e3"]
    assert [errors[key] for key in ("1", "2", "3")] == pytest.approx([251, 125.5, 62.7], abs=3)
    assert subject["second_half_mad_e3"] == 0
    assert subject["max"] == pytest.approx(0.25, abs=0.01)


def test_the_first_stretch_has_no_reset_before_it() -> None:
    mad = np.concatenate([np.full(10, 0.9), np.full(10, 0.001), np.full(10, 0.003)])
    figures = after_reset(mad, 10)
    assert figures["resets"] == 2
    assert figures["after_reset_mad_e3"]["1"] == figures["second_half_mad_e3"] == pytest.approx(2)


def test_footage_wanders_and_never_repeats(shots: Path) -> None:
    frames = list(wandering_frames(shots, SMALL, 40))
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert len({frame.tobytes() for frame in frames}) == 40
    steps = [float(np.abs(a.astype(int) - b).mean()) for a, b in pairwise(frames)]
    assert max(steps) < 60  # neighbours stay neighbours


def test_the_summary_names_every_subject() -> None:
    subjects = {"bf16": Subject(session=Fading()), "r": Subject(session=Fading(), reset_every=100)}
    measured = measure_drift(Fading(), subjects, grey(9, 3000))
    lines = list(summary({"clips": [{"clip": "a.mp4", **measured}]}))
    assert [line.split(":")[0] for line in lines] == ["a.mp4, bf16", "a.mp4, r"]
    assert "growth" in lines[0]
    assert "from a reset" in lines[1]
    json.dumps(measured, allow_nan=False)


def test_too_few_frames_are_one_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["drift", "a.mp4", "--frames", "10"])
    assert drift.main() == 1
    assert "--frames: got 10, expected at least 250" in capsys.readouterr().err


def test_carried_states_err_and_reset_ones_start_from_nothing() -> None:
    clips = {"dark": grey(0, 130), "bright": grey(200, 130)}
    result = at_cuts({"fp32": Fading()}, clips)
    assert result["joins"] == 6
    rows = {
        (row["into"], row["states"], row["against"]): row["mad_e3_first_frames"] for row in result["rows"]
    }
    assert rows["bright", "reset", "fp32, from zero"]["30"] == 0
    # Zero states are right for a dark shot; a bright one carries half of its light over to the next frame.
    assert rows["dark", "carried", "fp32, uninterrupted"]["1"] == pytest.approx(100 / 255 * 1e3, abs=2)
    assert rows["dark", "reset", "fp32, uninterrupted"]["1"] == 0
    carried = rows["bright", "carried", "fp32, uninterrupted"]
    assert carried["1"] == pytest.approx(100 / 255 * 1e3, abs=2)
    assert carried["30"] < carried["5"] < carried["1"]


def test_warm_up_tells_when_the_start_is_forgotten() -> None:
    brighter = [picture for level in range(260) for picture in grey(level // 2, 1)]
    row, rising = warm_up(Fading(), {"grey": grey(255, 260), "brighter": brighter})
    errors = row["mad_e3_after_frames"]
    assert [errors[key] for key in ("0", "1", "2")] == pytest.approx([500, 250, 125], abs=3)
    assert errors["50"] == 0
    assert row["worst_start_mad_e3_after_frames"] == errors
    assert rising["mad_e3_after_frames"]["0"] < rising["worst_start_mad_e3_after_frames"]["0"]
    assert rising["mad_e3_after_frames"]["50"] == 0


def test_joins_are_the_same_each_time_and_of_every_kind(moving_frames: Moving) -> None:
    clips = {"a": moving_frames(64, 48, 60), "b": [frame[::-1] for frame in moving_frames(64, 48, 60)]}
    first, second = ([(j.words, j.cut, j.frames[0].tobytes()) for j in joins(clips, 9)] for _ in range(2))
    assert first == second
    made = list(joins(clips, 9))
    assert [join.kind for join in made] == list(Kind) * 3
    for join in made:
        assert (len(join.frames), join.cut) == (24, 12)
        one, other = join.words.split(",")[0].split(" to ")
        assert (one != other) == (join.kind is Kind.OTHER_CLIP)


def test_every_alteration_changes_the_shot_and_cuts_nothing_off(moving_frames: Moving) -> None:
    shot = moving_frames(64, 48, 30)
    for name, alter in alterations().items():
        altered = alter(shot, np.random.default_rng(0))
        share = 2 if "half" in name else 4 if "quarter" in name else 1
        assert len(altered) == -(-30 // share)
        assert all(frame.dtype == np.uint8 for frame in altered)
        whole = b"".join(frame.tobytes() for frame in altered)
        assert (whole == b"".join(frame.tobytes() for frame in shot)) == (name == "as it is"), name


def test_found_missed_and_false_cuts_are_counted(moving_frames: Moving) -> None:
    first = moving_frames(64, 48, 60)
    second = [255 - frame[:, ::-1] for frame in first]
    film = [*first[:20], *second[:20], *first[30:50]]
    assert cuts_in(film) == [20, 40]
    rows = edited_cuts(film, [20, 30])["rates"]
    assert [(row["cuts"], row["found"], row["false_cuts"]) for row in rows[:2]] == [(2, 1, 1)] * 2
    assert [row["frames"] for row in rows] == [60, 30, 15]
    (plain,) = [row for row in false_cuts({"film": film}) if row["alteration"] == "as it is"]
    assert (plain["frames"], plain["false_cuts"]) == (60, 2)
    joined = joined_cuts({"a": first, "b": second}, 12)
    assert joined["frames"] == 12 * 24
    assert [row["joins"] for row in joined["kinds"]] == [4, 4, 4]
    assert joined["kinds"][0]["recall"] == 1


def test_the_cost_is_of_frames_and_of_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(s=0.0)

    class Slow(cut_report.CutDetector):
        """Takes a second for what has no frame before it, two for a frame, five for a cut."""

        def is_cut(self, image: Image) -> bool:
            clock.s += 1 if not self.state().size else 2
            cut = super().is_cut(image)
            clock.s += 3 * cut
            return cut

    monkeypatch.setattr(cut_report, "CutDetector", Slow)
    monkeypatch.setattr(cut_report, "time", SimpleNamespace(perf_counter=lambda: clock.s))
    cost = cost_ms(width=64, height=36, frames=20)
    assert cost == {
        "frame_least_ms": 2000,
        "frame_median_ms": 2000,
        "cut_least_ms": 5000,
        "cut_median_ms": 5000,
    }
