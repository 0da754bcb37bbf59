"""Seeds and mutants of them through every fuzz target, without atheris: what ``make fuzz`` goes on from."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random

import pytest
from fuzz_seeds import part_of_the_network
from fuzz_targets import TARGETS, Target

from rvm_trt.export import checkpoint, webmodel

ROOT = Path(__file__).parents[2]
MUTANTS = 60
# These are not whole on purpose: they reach messages that a whole one does not.
INCOMPLETE = {("checkpoint", "some"), ("checkpoint", "kept"), ("web-model", "few")}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does as the fuzzing process does, for a test."""
    monkeypatch.setattr(checkpoint, "expected_shapes", cache(part_of_the_network))
    monkeypatch.setattr(webmodel, "expected_shapes", cache(webmodel.expected_shapes))


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    taken = {seed: target.run(data, tmp_path) for seed, data in target.seeds().items()}
    assert taken == {seed: (name, seed) not in INCOMPLETE for seed in taken}
    assert any(taken.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_mutants_of_the_seeds_raise_nothing_but_errors_of_ours(name: str, tmp_path: Path) -> None:
    target, rng = TARGETS[name], Random(name)
    seeds = list(target.seeds().values())
    taken = sum(target.run(mutant(target, rng.choice(seeds), rng), tmp_path) for _ in range(MUTANTS))
    assert taken < MUTANTS, "mutations that no reader notices"


def mutant(target: Target, data: bytes, rng: Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = target.mutate(data, rng)
    return data


def test_the_committed_run_covers_every_target_found_nothing_and_is_told_as_it_was() -> None:
    told = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    document = json.loads((ROOT / "benchmarks" / "results" / "fuzz.json").read_text(encoding="utf-8"))
    assert set(document["targets"]) == set(TARGETS)
    for name, figures in document["targets"].items():
        assert figures["findings"] == [], name
        least = 60 if name in document["later"]["targets"] else 600
        assert figures["executions"] >= 100_000 or figures["seconds"] >= least, name
        row = (
            figures["executions"],
            figures["seconds"],
            figures["coverage_features"],
            figures["peak_rss_mb"],
        )
        assert f"| `{name}` | {' | '.join(f'{figure:,}' for figure in row)} |" in told
