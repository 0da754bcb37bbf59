"""The fault runs: what counts as broken, that the watchdog bites, and the page."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rvm_trt.benchmarks.broken_inputs import broken_inputs
from rvm_trt.benchmarks.fault_runner import Outcome
from rvm_trt.benchmarks.fault_scenarios import scenarios
from rvm_trt.benchmarks.reliability import Group, check_run, count_frames
from rvm_trt.benchmarks.reliability_report import write_report

ROOT = Path(__file__).resolve().parents[2]
GOOD = Outcome(code=0, out="{}", err="", seconds=1.0, left=())
REFUSED = replace(GOOD, code=1, err="rvm-trt matte: input 'x': got text, expected a video. Check it.")
TRACEBACK = "Traceback (most recent call last):\n  File\nValueError: no"


def test_inputs_are_broken_in_at_least_300_ways_each_with_its_own_name(tmp_path: Path) -> None:
    cases = list(broken_inputs(tmp_path))
    assert len(cases) >= 300
    assert len({case.name for case in cases}) == len(cases)
    cut = next(case for case in cases if case.name == "cut at 50.0% .mkv")
    assert 0 < cut.make(tmp_path).stat().st_size < (tmp_path / "good.mkv").stat().st_size
    assert count_frames(tmp_path / "good.mkv") > count_frames(tmp_path / "input.mkv") > 0


def test_a_good_run_and_a_clear_refusal_break_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    assert check_run(REFUSED, output) == []
    assert check_run(replace(REFUSED, err=f"note: the weights are old.\n{REFUSED.err}"), output) == []
    output.touch()
    assert check_run(GOOD, output) == []


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (replace(REFUSED, code=None), "did not end"),
        (replace(REFUSED, code=-12), "exit code -12"),
        (replace(REFUSED, code=70), "exit code 70"),
        (replace(REFUSED, err=REFUSED.err + TRACEBACK), "a traceback: ValueError: no"),
        (replace(REFUSED, err="Segmentation fault"), "no clear message"),
        (replace(REFUSED, err=f"note: half of it {REFUSED.err}"), "no clear message"),
        (replace(REFUSED, left=("file /tmp/x",)), "left behind: file /tmp/x"),
    ],
)
def test_what_breaks_a_requirement(outcome: Outcome, words: str, tmp_path: Path) -> None:
    (fault,) = check_run(outcome, tmp_path / "out.mkv")
    assert words in fault


def test_an_output_after_a_failure_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "out.mkv").touch()
    assert check_run(REFUSED, tmp_path / "out.mkv") == ["an output under its name after a failure"]


def in_new_process(code: str, folder: Path) -> Any:
    """What a program says of the fault runner: it forks, which is safe only where no library has threads yet."""
    program = f"""
import json, signal, sys
from pathlib import Path
from rvm_trt.benchmarks.fault_runner import call_in_child, start
folder = Path({str(folder)!r})
{code}
json.dump(said, sys.stdout)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_child_runs_the_command_and_tells_what_it_said(tmp_path: Path) -> None:
    code = """
refused = start(["matte", "missing.mp4", "-o", "out.mp4"], folder).wait(timeout_s=60)
usage = start(["--no-such-option"], folder / "usage").wait(timeout_s=60)
said = [refused.code, refused.left, refused.err, usage.code]
"""
    code_, left, err, usage = in_new_process(code, tmp_path)
    assert (code_, left, usage) == (1, [], 2)
    assert err.startswith("rvm-trt matte: ")


def test_the_watchdog_ends_a_child_that_hangs_and_a_killed_one_says_so(tmp_path: Path) -> None:
    code = """
stopped = start(["--version"], folder / "stopped")
stopped.signal(signal.SIGSTOP)
killed = start(["doctor"], folder / "killed")
killed.signal(signal.SIGKILL)
said = [stopped.wait(timeout_s=0.3).code, killed.wait(timeout_s=60).code]
"""
    stopped, killed = in_new_process(code, tmp_path)
    assert stopped in (None, 0)  # it may have been faster than the signal
    assert killed < 0


def test_a_function_in_a_child_may_crash_or_hang(tmp_path: Path) -> None:
    code = """
functions = (lambda: 7, lambda: signal.raise_signal(signal.SIGKILL) or 0, lambda: signal.pause() or 0)
said = [call_in_child(function, timeout_s=limit) for function, limit in zip(functions, (10, 10, 0.2))]
"""
    assert in_new_process(code, tmp_path) == [7, None, None]


def test_a_child_obeys_ctrl_c_where_its_parent_ignores_it(tmp_path: Path) -> None:
    """As in the background; else the row about Ctrl-C could not fail."""
    code = """
import rvm_trt.cli
rvm_trt.cli.run = lambda _: signal.getsignal(signal.SIGINT) == signal.SIG_IGN
signal.signal(signal.SIGINT, signal.SIG_IGN)
said = start(["profiles"], folder).wait(timeout_s=60).code
"""
    assert in_new_process(code, tmp_path) == 0


def test_the_page_has_a_row_for_each_group_and_names_what_is_broken(tmp_path: Path) -> None:
    group = Group(name="truncated")
    group.add("cut in half", GOOD, [], {"frames": 12, "skipped_frames": 3})
    group.add("cut to nothing", REFUSED, ["a traceback: no"], None)
    document = {
        "date": "2026-11-23",
        "environment": {"python": "3.11", "cpu": "a processor"},
        "command": "python -m …",
        "timeout_s": 120.0,
        "groups": [vars(group)],
    }
    write_report(document, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| truncated | 2 | 1 | 1 | 12 | 3 | 1.0 | 1 |" in page
    assert "- cut to nothing: a traceback: no" in page


def test_every_scenario_has_a_name_of_its_own() -> None:
    names = [scenario.name for scenario in scenarios(kills=1)]
    assert len(set(names)) == len(names) == 12


def test_the_committed_page_is_that_of_the_committed_result_and_nothing_is_broken(tmp_path: Path) -> None:
    document = json.loads((ROOT / "benchmarks" / "results" / "reliability.json").read_text())
    write_report(document, tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == (ROOT / "docs" / "reliability.md").read_text()
    groups = {group["name"]: group for group in document["groups"]}
    assert not any(group["faults"] for group in groups.values())
    assert {scenario.name for scenario in scenarios(kills=1)} <= set(groups)
    assert groups["killed at random moments"]["runs"] >= 200
    cases = {case.group for case in broken_inputs(tmp_path)}
    assert cases <= set(groups)
    assert sum(groups[name]["runs"] for name in cases) >= 300
