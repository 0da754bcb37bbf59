"""The whole benchmark on a tiny network, and the command around it."""

from __future__ import annotations

import argparse
import json
import platform
import re
import runpy
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from rvm_trt.benchmarks.bench import run_bench
from rvm_trt.benchmarks.bench_options import BenchOptions
from rvm_trt.benchmarks.compare import Comparison
from rvm_trt.benchmarks.entrants import BASELINE
from rvm_trt.benchmarks.environment import cpu_slug, describe_environment
from rvm_trt.benchmarks.report import read_result, write_report
from rvm_trt.benchmarks.timings import Schedule
from rvm_trt.commands import bench
from rvm_trt.errors import OptionError
from rvm_trt.options import Precision
from rvm_trt.profile import Profile

make_document = runpy.run_path(str(Path(__file__).with_name("documents.py")))["make_document"]
OURS = "rvm-trt-fp32"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def document(
    fast_checkpoint: Path, shots: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A measurement of two sizes of small frames in all its parts."""
    options = BenchOptions(
        profiles=tuple(Profile.for_size(width=width, height=96, ratio=0.5) for width in (96, 128)),
        schedule=Schedule(rounds=2, frames_per_round=2, warm_up_frames=1, rest_s=0.0),
        threads=1,
        sequence_frames=4,
        accuracy_frames=4,
        file_frames=4,
        file_rounds=1,
        memory_frames=20,
        peaks=False,
        precisions=(Precision.FP32,),
        entrants=("openvino-fp32", "onnxruntime-tensorrt"),
        checkpoint=fast_checkpoint,
        clip=shots,
        engines_dir=tmp_path_factory.mktemp("build") / "engines",
        command="rvm-trt bench",
    )
    return run_bench(options, folder, tell=lambda _: None)


def entrant(document: dict[str, Any], name: str, profile: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in document["profiles"][profile]["entrants"] if e["name"] == name)
    return found


def test_all_ran_the_same_network_on_the_same_frames(document: dict[str, Any]) -> None:
    entry = document["profiles"][-1]
    # The checkpoint has no deep guided filter, so nobody may have used one.
    assert entry["name"] == "128x96-r0.5-fgf"
    assert entry["footage"]["scaled"] is True
    assert [e["name"] for e in entry["entrants"]] == [BASELINE, OURS, "openvino-fp32", "onnxruntime-tensorrt"]
    # Half a level of uint8, and what fp32 arithmetic in another order may add.
    for name, limit in ((OURS, 0.5 / 255 + 1e-3), ("openvino-fp32", 1e-3)):
        error = entrant(document, name)["accuracy"]
        assert error["max"] <= limit
        assert 0.0 < error["reference_mean"] < 1.0
    assert entrant(document, BASELINE)["accuracy"] is None
    assert len(entrant(document, OURS)["accuracy"]["drift_mad_e3"]) == 4
    assert entrant(document, "openvino-fp32")["accuracy"]["frames"] == 1


@pytest.mark.parametrize("protocol", ["frame", "tensor"])
def test_every_entrant_is_timed_beside_the_baseline(document: dict[str, Any], protocol: str) -> None:
    base = entrant(document, BASELINE)[protocol]
    assert base["beside_pytorch"] is None
    for name in (OURS, "openvino-fp32"):
        timing = entrant(document, name)[protocol]
        assert all(value > 0 for turn in timing["samples_ms"] for value in turn)
        assert timing["frames"] == base["frames"] == (4 if protocol == "frame" else 2)
        assert timing["beside_pytorch"] == pytest.approx(base["median_ms"] / timing["median_ms"], abs=2e-3)


def test_what_an_entrant_takes_besides_time(document: dict[str, Any]) -> None:
    for name in (BASELINE, OURS, "openvino-fp32"):
        facts = entrant(document, name)
        assert facts["unavailable"] is None
        assert min(facts["start_ms"], facts["first_frame_ms"], facts["cpu_ms_per_frame"]) > 0
        assert facts["peak_bytes"] > 10e6
        assert facts["gpu"] is None
    assert entrant(document, OURS)["peak_bytes"] < entrant(document, BASELINE)["peak_bytes"]
    assert entrant(document, OURS)["engine"]["name"] == "128x96-r0.5-fgf-core-fp32-cpu"


def test_who_cannot_run_is_listed_with_the_reason(document: dict[str, Any]) -> None:
    missing = entrant(document, "onnxruntime-tensorrt")
    assert re.fullmatch(r"The installed ONNX Runtime .* has no TensorRT provider\.", missing["unavailable"])
    assert set(missing) == set(entrant(document, BASELINE))
    assert [missing[key] for key in ("frame", "tensor", "start_ms", "accuracy")] == [None] * 4


def test_stages_files_and_the_cost_of_size(document: dict[str, Any]) -> None:
    entry = document["profiles"][0]
    (stages,) = entry["stages"]
    assert stages["entrant"] == OURS
    assert {"sample", "core", "compose", "rest"} <= set(stages["median_ms"])
    assert [row["entrant"] for row in entry["files"]] == [BASELINE, OURS, "openvino-fp32"]
    assert all(row["frames"] == 4 for row in entry["files"])
    cost = document["profile_cost"]
    assert (cost["first"], cost["last"]) == ("96x96-r0.5-fgf", "128x96-r0.5-fgf")
    assert set(cost["entrants"]) == {BASELINE, OURS}


def test_pictures_of_our_entrant_are_kept(document: dict[str, Any], folder: Path) -> None:
    for entry in document["profiles"]:
        assert {picture["why"] for picture in entry["pictures"]} == {"largest error", "middle of the clip"}
        for picture in entry["pictures"]:
            with Image.open(folder / picture["reference_alpha"]) as image:
                assert image.size == (entry["profile"]["width"], entry["profile"]["height"])


def test_memory_was_watched_without_pytorch(document: dict[str, Any]) -> None:
    memory = document["memory"]
    assert (memory["entrant"], memory["torch_loaded"], memory["frames"]) == (OURS, False, 20)
    assert memory["peak_bytes"] >= max(memory["rss_bytes"]) > 10e6
    assert memory["growth_bytes"] == memory["rss_bytes"][-1] - memory["rss_bytes"][0]


def test_so_short_a_run_says_that_it_proves_nothing(document: dict[str, Any]) -> None:
    assert document["noise"]["noisy"] is True


def test_the_document_makes_a_report(document: dict[str, Any], folder: Path) -> None:
    result, markdown, page = write_report(document, folder)
    assert read_result(result) == json.loads(json.dumps(document))
    assert "ONNX Runtime, TensorRT provider" in markdown.read_text(encoding="utf-8")
    assert "<html" in page.read_text(encoding="utf-8")


def test_the_document_names_no_place_of_this_machine(document: dict[str, Any], fast_checkpoint: Path) -> None:
    text = json.dumps(document)
    for word in (str(fast_checkpoint.parent), str(Path.home()), str(Path.cwd()), "/tmp", "file://"):
        assert word not in text
    assert document["weights"]["file"] == fast_checkpoint.name
    assert re.fullmatch(r"[0-9a-f]{64}", document["weights"]["sha256"])


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


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """``rvm-trt bench`` without its hour of work: what is measured is invented, and written nowhere."""
    document = make_document()
    for entry in document["profiles"]:
        entry["pictures"] = []
    measure = Mock(return_value=document)
    monkeypatch.setattr("rvm_trt.benchmarks.bench.run_bench", measure)
    return measure


def test_the_command_writes_a_folder_and_ends_with_the_result_as_one_line(
    command: Mock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--quick", "--rounds", "5", "--clip", "/some/where/my.mp4", "--output", str(tmp_path))
    assert bench.run(parsed(*arguments)) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out.splitlines()[-1]) == command.return_value == read_result(tmp_path)
    assert out.startswith("# rvm-trt beside PyTorch")
    assert (tmp_path / "report.html").is_file()
    (options, folder), _ = command.call_args
    assert folder == tmp_path
    assert [profile.name for profile in options.profiles] == ["hd", "4k"]
    assert (options.schedule.rounds, options.schedule.frames_per_round, options.threads) == (5, 3, 2)
    assert "pytorch-compile" not in options.entrants
    assert "--clip my.mp4" in options.command
    assert "--rounds 5" in options.command
    assert "/some/where" not in options.command


def test_by_default_everybody_takes_part() -> None:
    options = bench.options_from(parsed())
    assert options.entrants is None
    assert options.precisions is None
    assert options.accuracy_frames >= 300


@pytest.mark.parametrize(("regressed", "code"), [(False, 0), (True, 3)])
def test_a_regression_is_an_exit_code_of_its_own(
    command: Mock,
    regressed: bool,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = tmp_path / "old.json"
    old.write_text(json.dumps(make_document(seed=2)), encoding="utf-8")
    comparison = Mock(spec=Comparison, regressed=regressed)
    comparison.markdown.return_value = "# Compared"
    compare = Mock(return_value=comparison)
    monkeypatch.setattr("rvm_trt.benchmarks.compare.compare", compare)
    arguments = ("--compare", str(old), "--output", str(tmp_path / "new"))
    assert bench.run(parsed(*arguments)) == code
    out, _ = capsys.readouterr()
    assert "# Compared" in out.splitlines()
    assert json.loads(out.splitlines()[-1]) == command.return_value
    assert compare.call_args.args == (make_document(seed=2), command.return_value)


def test_an_old_result_that_is_none_is_told_before_any_work(command: Mock, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"old\.json"):
        bench.run(parsed("--compare", str(tmp_path / "old.json")))
    command.assert_not_called()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profile", "hd,8k"), "'8k'"),
        (("--rounds", "0"), "--rounds: got 0"),
        (("--threads", "0"), "--threads: got 0"),
        (("--memory-frames", "-1"), "--memory-frames: got -1"),
        (("--entrants", "openvino"), "--entrants: got 'openvino'"),
        (("--precisions", "fp64"), "--precisions: got 'fp64'"),
    ],
)
def test_mistakes_are_told_before_any_work(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        bench.options_from(parsed(*arguments))
