"""The whole benchmark on a tiny network, and what is made of its result."""

from __future__ import annotations

import argparse
import json
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rvm_trt.benchmarks.accuracy import compare_alpha
from rvm_trt.benchmarks.environment import cpu_slug, describe_environment
from rvm_trt.benchmarks.frame_bench import BenchOptions, run_frame_bench
from rvm_trt.benchmarks.interleave import Schedule
from rvm_trt.benchmarks.report import markdown_table, ratios_of_profiles, read_result, write_result
from rvm_trt.commands import bench
from rvm_trt.errors import OptionError
from rvm_trt.options import Precision
from rvm_trt.profile import Profile


@pytest.fixture(scope="module")
def result(fast_checkpoint: Path, shots: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A measurement of 128x96 frames in all its parts."""
    profile = Profile.for_size(width=128, height=96, ratio=0.5)
    options = BenchOptions(
        profiles=(profile,),
        schedule=Schedule(rounds=2, frames_per_round=2, warm_up_frames=1, rest_s=0.0),
        threads=1,
        sequence_frames=4,
        memory_frames=20,
        precisions=(Precision.FP32,),
        checkpoint=fast_checkpoint,
        clip=shots,
        engines_dir=tmp_path_factory.mktemp("build") / "engines",
        command="rvm-trt bench",
    )
    return run_frame_bench(options, tell=lambda _: None)


def test_both_sides_ran_the_same_network_on_the_same_frames(result: dict[str, Any]) -> None:
    (entry,) = result["profiles"]
    # The checkpoint has no deep guided filter, so neither side may have used one.
    assert entry["name"] == "128x96-r0.5-fgf"
    assert entry["footage"]["frames"] == 4
    assert entry["footage"]["scaled"] is True
    ours = entry["entrants"]["rvm-trt fp32"]
    assert ours["frames"] == entry["entrants"]["pytorch"]["frames"] == 4
    assert all(value > 0 for turn in ours["samples_ms"] for value in turn)
    # Half a level of uint8, and what fp32 arithmetic in another order may add.
    assert ours["alpha_error"]["frames"] == 4
    assert ours["alpha_error"]["max"] <= 0.5 / 255 + 1e-3
    assert 0.0 < ours["alpha_error"]["reference_mean"] < 1.0


def test_memory_was_watched_without_pytorch(result: dict[str, Any]) -> None:
    memory = result["memory"]
    assert memory["torch_loaded"] is False
    assert memory["frames"] == 20
    assert memory["peak_bytes"] >= max(memory["rss_bytes"]) > 10e6
    assert memory["growth_bytes"] == memory["rss_bytes"][-1] - memory["rss_bytes"][0]


def test_the_result_names_no_place_of_this_machine(result: dict[str, Any], fast_checkpoint: Path) -> None:
    text = json.dumps(result)
    for word in (str(fast_checkpoint.parent), str(Path.home()), str(Path.cwd()), "/tmp", "file://"):
        assert word not in text
    assert result["weights"]["file"] == fast_checkpoint.name
    assert re.fullmatch(r"[0-9a-f]{64}", result["weights"]["sha256"])


def test_the_environment_says_what_a_reader_needs() -> None:
    environment = describe_environment(threads=2)
    assert environment["cpu"]
    assert environment["cores_usable"] >= 1
    assert environment["threads_per_entrant"] == 2
    assert environment["python"] == platform.python_version()
    assert environment["packages"]["numpy"] == np.__version__
    assert environment["memory_bytes"] > 1 << 28
    assert environment["commit"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", environment["commit"])
    text = json.dumps(environment)
    assert f'"{platform.node()}' not in text
    assert "/" not in text.replace(environment["cpu_family_model"], "")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cpu_slug())


def test_the_file_holds_the_result_and_keeps_rounds_on_a_line(result: dict[str, Any], tmp_path: Path) -> None:
    path = write_result(result, tmp_path / "result.json")
    assert read_result(path) == result
    turn = result["profiles"][0]["entrants"]["pytorch"]["samples_ms"][0]
    assert json.dumps(turn) in path.read_text()
    path.write_text("{}")
    with pytest.raises(OptionError, match=r"result\.json"):
        read_result(path)


def sample_result() -> dict[str, Any]:
    def entrant(median_ms: float, base_ms: float, error: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "median_ms": median_ms,
            "quartiles_ms": [median_ms - 1, median_ms + 2],
            "frames": 96,
            "samples_ms": [[median_ms]],
            "speedup": base_ms / median_ms,
            "alpha_error": error,
        }

    def profile(name: str, base_ms: float, ours_ms: float) -> dict[str, Any]:
        error = {"frames": 32, "mad_e3": 0.25, "max": 0.125, "worst_frame": 3, "reference_mean": 0.3}
        return {
            "name": name,
            "profile": Profile.named(name).to_json(),
            "footage": {"clip": "clip.mp4", "native_size": [176, 144], "scaled": True, "frames": 32},
            "entrants": {
                "pytorch": entrant(base_ms, base_ms, None),
                "rvm-trt bf16": entrant(ours_ms, base_ms, error),
            },
        }

    return {
        "benchmark": "frame-to-frame",
        "environment": {"cpu": "Some CPU", "threads_per_entrant": 2},
        "schedule": {"rounds": 12},
        "weights": {"origin": "somewhere", "refiner": "deep_guided_filter"},
        "profiles": [profile("hd", 200.0, 40.0), profile("4k", 600.0, 50.0)],
        "memory": {
            "profile": "4k",
            "entrant": "rvm-trt bf16",
            "torch_loaded": False,
            "peak_bytes": 400_000_000,
            "growth_bytes": -100_000,
            "frames": 1000,
        },
    }


def test_the_table() -> None:
    text = markdown_table(sample_result())
    assert "| hd (1920×1080, ratio 0.25) | PyTorch fp32, eager | 200.0 (199.0–202.0) | 5.0 | 1.00× |" in text
    assert "| rvm-trt bf16 | 50.0 (49.0–52.0) | 20.0 | 12.00× | 0.250 | 0.125 |" in text
    assert "upscaled or cropped from 176×144" in text
    assert "without PyTorch loaded): peak 400 MB; 1000 frames changed the resident size by -0.1 MB" in text
    assert ratios_of_profiles(sample_result()) == {"pytorch": 3.0, "rvm-trt bf16": 1.25}
    columns = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert columns == {8}


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_command_ends_with_the_result_as_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[BenchOptions] = []

    def measure(options: BenchOptions, **_: object) -> dict[str, Any]:
        asked.append(options)
        return sample_result()

    monkeypatch.setattr("rvm_trt.benchmarks.frame_bench.run_frame_bench", measure)
    output = tmp_path / "out.json"
    arguments = ("--quick", "--rounds", "5", "--clip", "/some/where/my.mp4", "--output", str(output))
    assert bench.run(parsed(*arguments)) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out.splitlines()[-1]) == sample_result() == read_result(output)
    assert out.startswith("| profile |")
    (options,) = asked
    assert [profile.name for profile in options.profiles] == ["hd", "4k"]
    assert (options.schedule.rounds, options.threads) == (5, 2)
    assert "--clip my.mp4" in options.command
    assert "/some/where" not in options.command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profile", "hd,8k"), "'8k'"),
        (("--rounds", "0"), "rounds: got 0"),
        (("--threads", "0"), "--threads: got 0"),
        (("--memory-frames", "-1"), "--memory-frames: got -1"),
    ],
)
def test_mistakes_are_told_before_any_work(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        bench.options_from(parsed(*arguments))


def test_alpha_errors(tmp_path: Path) -> None:
    reference = np.zeros((2, 4, 5), np.uint16)
    reference[:, :2] = 65535
    candidate = np.where(reference > 0, 255, 0).astype(np.uint8)
    candidate[1, 0, 0] = 204  # 0.8 where the reference has 1
    np.save(tmp_path / "reference.npy", reference)
    np.save(tmp_path / "candidate.npy", candidate)
    error = compare_alpha(tmp_path / "reference.npy", tmp_path / "candidate.npy")
    assert error.max == pytest.approx(0.2, abs=1e-6)
    assert error.mad_e3 == pytest.approx(0.2 / 40 * 1e3, rel=1e-4)
    assert (error.worst_frame, error.frames, error.reference_mean) == (1, 2, 0.5)
