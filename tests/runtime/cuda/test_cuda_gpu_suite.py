"""The tests that need a GPU are there, can be imported without one, and say what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NO_GPU = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
HERE = Path(__file__).parent
ONE = "tests/gpu/test_gpu_session.py::test_all_memory_comes_back"


def run_pytest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("pytest")), "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**NO_GPU, **environment}, capture_output=True, text=True, check=False
    )


def test_they_are_collected_without_a_gpu() -> None:
    done = run_pytest("--collect-only", "-m", "gpu", "tests/gpu")
    assert done.returncode == 0, done.stdout
    collected = [line for line in done.stdout.splitlines() if line.startswith("tests/gpu/")]
    for part in (
        "parity.py::test_mattes_of_real_frames_are_those_of_the_cpu[int8]",
        "session.py::test_graphs_give_what_plain_launches_give",
        "session.py::test_ten_thousand_frames_take_no_memory",
        "session.py::test_our_kernels_are_clean[racecheck]",
        "kernels.py::test_sample_every_format_and_size_gives_the_reference[nv12]",
        "kernels.py::test_compose_",
        "kernels.py::test_head_",
    ):
        assert any(part in line for line in collected), part


def test_without_a_gpu_they_are_skipped_or_fail_where_one_is_required() -> None:
    skipped = run_pytest(ONE, RVM_TRT_REQUIRE_GPU="")
    assert skipped.returncode == 0
    assert "1 skipped" in skipped.stdout
    failed = run_pytest(ONE, RVM_TRT_REQUIRE_GPU="1")
    assert failed.returncode == 1
    assert "EngineError: " in failed.stdout
    assert "1 skipped" not in failed.stdout


def test_they_run_as_far_as_stand_ins_can_show() -> None:
    done = run_pytest(
        *("-p", "stand_in_plugin", "-k", "graphs or videos or caller", "tests/gpu/test_gpu_session.py"),
        RVM_TRT_REQUIRE_GPU="1",
        PYTHONPATH=str(HERE),
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "3 passed" in done.stdout
