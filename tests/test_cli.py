"""The command line as a user meets it: help, wrong usage, and errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rvm_trt
from rvm_trt.cli import COMMANDS, main

EXPECTED = {"weights", "export", "build", "matte", "bench", "doctor"}


def stopped(*argv: str) -> int:
    """Runs the command where argparse ends the program, and returns the exit code."""
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_commands_are_those_of_the_design() -> None:
    assert set(COMMANDS) == EXPECTED


def test_the_help_lists_every_command_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    for command in EXPECTED:
        assert any(line.split()[:1] == [command] and len(line.split()) > 2 for line in lines), command


@pytest.mark.parametrize("command", sorted(EXPECTED))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped(command, "--help") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"usage: rvm-trt {command}")
    assert captured.err == ""
    description = captured.out.split("\n\n")[1]
    assert description.strip().endswith((".", ":"))
    assert "None" not in captured.out


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped("--version") == 0
    assert capsys.readouterr().out == f"rvm-trt {rvm_trt.__version__}\n"


@pytest.mark.parametrize("argv", [(), ("mat",), ("train",), ("--fast",), ("matte",), ("matte", "a.mp4")])
def test_wrong_usage_exits_2_with_the_usage(
    argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopped(*argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: rvm-trt")


def test_an_unknown_command_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped("train") == 2
    message = capsys.readouterr().err
    assert "train" in message
    assert all(command in message for command in EXPECTED)


def user_errors(folder: Path) -> dict[str, list[str]]:
    missing = str(folder / "missing.bin")
    return {
        "matte": ["matte", missing, "-o", str(folder / "out.mp4")],
        "weights": ["weights", "--checkpoint", missing],
    }


@pytest.mark.parametrize("command", ["matte", "weights"])
def test_a_user_error_is_one_line_and_exit_code_1(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(user_errors(tmp_path)[command]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"rvm-trt {command}: ")
    assert "missing.bin" in line
    assert ", expected " in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), BrokenPipeError()])
def test_endings_from_outside_give_no_traceback(
    ending: BaseException, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def end(_args: Any) -> int:
        raise ending

    monkeypatch.setattr("rvm_trt.commands.weights.run", end)
    monkeypatch.setattr("sys.stderr", (tmp_path / "stderr").open("w"))
    assert main(["weights"]) == (130 if isinstance(ending, KeyboardInterrupt) else 1)
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_a_bug_is_not_hidden_behind_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_args: Any) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr("rvm_trt.commands.weights.run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["weights"])


def test_the_installed_program_ends_with_the_exit_code(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("rvm-trt")
    assert program.is_file(), "pip install -e . puts it there"
    done = subprocess.run(
        [program, *user_errors(tmp_path)["matte"]], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
