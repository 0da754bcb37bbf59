"""A steady run is quiet, one whose rounds wander or that began on a busy machine is noisy, and says so."""

from __future__ import annotations

import pytest

from rvm_trt.benchmarks.noise import spread, verdict
from rvm_trt.benchmarks.timings import Timing, Turn


def timing(*medians_ms: float) -> Timing:
    turns = tuple(Turn(samples_ms=(value - 1, value, value + 50)) for value in medians_ms)
    return Timing(turns=turns, first_ms=1.0)


STEADY = timing(100, 101, 102, 103, 104)
WANDERING = timing(100, 120, 140, 160, 180)


def test_the_spread_is_of_the_rounds_not_of_their_frames() -> None:
    assert spread(STEADY) == pytest.approx(2 / 102)
    assert spread(WANDERING) == pytest.approx(40 / 140)


@pytest.mark.parametrize(
    ("timings", "load", "noisy"),
    [
        ({"hd/frame/a": STEADY, "hd/frame/b": STEADY}, 0.2, False),
        ({"hd/frame/a": STEADY, "hd/frame/b": STEADY}, 1.5, True),
        ({"hd/frame/a": STEADY, "hd/frame/b": STEADY, "hd/frame/c": WANDERING}, 0.2, True),
    ],
)
def test_the_verdict(timings: dict[str, Timing], load: float, noisy: bool) -> None:
    found = verdict(timings, load_average=load, cpus=2)
    assert found["noisy"] is noisy
    assert set(found["spread"]) == set(timings)
    assert found["text"].count(".") - found["text"].count("1.5") == 1  # a sentence
    assert ("rough" in found["text"]) is noisy
    assert ("load of 1.5 on 2" in found["text"]) is (load == 1.5)
    assert ("29%" in found["text"]) is ("hd/frame/c" in timings)


def test_a_run_of_few_rounds_cannot_vouch_for_itself() -> None:
    found = verdict({"hd/frame/a": timing(100, 100, 100)}, load_average=0.0, cpus=2)
    assert found["noisy"] is True
    assert "too few rounds" in found["text"]
    assert found["spread"] == {}
