"""The command line as a user meets it: help, wrong usage, and errors in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rvm_trt
from rvm_trt import Engine, Profile
from rvm_trt.cli import COMMANDS, main
from rvm_trt.errors import OptionError
from rvm_trt.export.graph_info import read_graph_info
from rvm_trt.options import Graph

EXPECTED = {
    "weights",
    "export",
    "build",
    "matte",
    "preview",
    "live",
    "bench",
    "profiles",
    "inspect",
    "doctor",
    "completion",
}


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
def test_wrong_usage_exits_2_with_one_line(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped(*argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("rvm-trt")
    assert captured.err.endswith(" --help\n")
    assert captured.err.count("\n") == 1


def test_an_unknown_command_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped("train") == 2
    message = capsys.readouterr().err
    assert "train" in message
    assert all(command in message for command in EXPECTED)


def user_errors(folder: Path) -> dict[str, list[str]]:
    missing, size = str(folder / "missing.bin"), ["--size", "161x97", "--ratio", "0.6"]
    return {
        "matte": ["matte", missing, "-o", str(folder / "out.mp4")],
        "weights": ["weights", "--checkpoint", missing],
        "export": ["export", *size, "--checkpoint", missing, "-o", str(folder / "core.onnx")],
        "build": ["build", *size, "--checkpoint", missing, "--engines", str(folder / "engines")],
    }


def told(captured: pytest.CaptureResult[str], command: str) -> str:
    """The one line on stderr, in the house form."""
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"rvm-trt {command}: ")
    assert ", expected " in line
    return line


@pytest.mark.parametrize("command", ["matte", "weights", "export", "build"])
def test_a_missing_file_is_one_line_and_exit_code_1(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(user_errors(tmp_path)[command]) == 1
    assert "missing.bin" in told(capsys.readouterr(), command)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["export", "build"])
@pytest.mark.parametrize(
    "profile",
    [
        ("--profile", "8k"),
        ("--size", "big"),
        ("--size", "0x0"),
        ("--size", "160x96", "--ratio", "2"),
        ("--batch", "0"),
    ],
)
def test_an_impossible_profile_is_one_line_and_exit_code_1(
    command: str, profile: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *profile, "--checkpoint", "missing.pth"]) == 1
    told(capsys.readouterr(), command)


def test_build_makes_an_engine_and_prints_its_manifest(
    tmp_path: Path, checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--size",
        "161x97",
        "--ratio",
        "0.6",
        "--checkpoint",
        str(checkpoint()),
        "--precision",
        "fp32",
        "--backend",
        "cpu",
    ]
    assert main(["build", *arguments, "--engines", str(tmp_path / "engines"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    engine = Engine.load(tmp_path / "engines" / "161x97-r0.6-core-fp32-cpu")
    assert engine.manifest.files.items() <= (printed.get("files") or printed["manifest"]["files"]).items()


def test_export_writes_the_graph_that_was_asked_for(
    tmp_path: Path, checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "graph.onnx"
    target.write_bytes(b"mine")
    arguments = ["--size", "160x96", "--ratio", "0.5", "--graph", "full", "--checkpoint", str(checkpoint())]
    assert main(["export", *arguments, "-o", str(target)]) == 1
    assert "--force" in told(capsys.readouterr(), "export")
    assert target.read_bytes() == b"mine"
    assert main(["export", *arguments, "-o", str(target), "--force", "--json"]) == 0
    assert str(target) in json.dumps(json.loads(capsys.readouterr().out))
    info = read_graph_info(target)
    assert (info.graph, info.profile) == (Graph.FULL, Profile(width=160, height=96, ratio=0.5))


def test_export_does_not_take_a_folder_for_a_file_even_by_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "-o", str(tmp_path), "--force", "--checkpoint", "missing.pth"]) == 1
    assert "a folder of that name" in told(capsys.readouterr(), "export")


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


def failing(error: BaseException) -> Callable[[Any], int]:
    """A command's ``run`` that raises."""

    def fail(_args: Any) -> int:
        print("note: half of it is done", file=sys.stderr)
        print("warning: the other half is not", file=sys.stderr)
        raise error

    return fail


def test_a_bug_is_one_line_that_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rvm_trt.commands.weights.run", failing(ZeroDivisionError("division\nby zero")))
    assert main(["weights"]) == 70
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("rvm-trt weights: internal error: ZeroDivisionError: division by zero.")
    assert "report" in line
    assert "--verbose" in line


@pytest.mark.parametrize("argv", [("--verbose", "weights"), ("weights", "-v")])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError("nothing"), 70),
        (OptionError("--rate", got="x", expected="y", todo="Z."), 1),
    ],
)
def test_verbose_shows_where_an_error_arose(
    argv: tuple[str, ...],
    error: Exception,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("rvm_trt.commands.weights.run", failing(error))
    assert main(argv) == code
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "in fail" in told
    assert told.splitlines()[-1].startswith("rvm-trt weights: ")


@pytest.mark.parametrize("argv", [("--quiet", "weights"), ("weights", "-q")])
def test_quiet_leaves_warnings_and_the_error(
    argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OptionError("--rate", got="x", expected="y", todo="Z.")
    monkeypatch.setattr("rvm_trt.commands.weights.run", failing(error))
    assert main(argv) == 1
    assert capsys.readouterr().err.splitlines() == [
        "warning: the other half is not",
        "rvm-trt weights: --rate: got x, expected y. Z.",
    ]


def test_too_little_memory_is_a_user_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rvm_trt.commands.weights.run", failing(MemoryError()))
    assert main(["weights"]) == 1
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("rvm-trt weights: memory: got none left, expected")
    )


def test_ctrl_c_says_what_the_command_adds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rvm_trt.commands.weights.run", failing(KeyboardInterrupt("Stopped after 3 frames.")))
    assert main(["weights", "--quiet"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "rvm-trt weights: interrupted. Stopped after 3 frames."


@pytest.mark.parametrize("command", sorted(EXPECTED))
def test_every_command_takes_quiet_and_verbose(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped(command, "--help") == 0
    told = capsys.readouterr().out
    assert told.count("-q, --quiet") == told.count("-v, --verbose") == 1


def test_a_reader_that_goes_away_ends_the_program_with_1() -> None:
    program = Path(sys.executable).with_name("rvm-trt")
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [program, "doctor", "--only", "disk"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert (process.returncode, told) == (1, b"")


def test_the_installed_program_ends_with_the_exit_code(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("rvm-trt")
    assert program.is_file(), "pip install -e . puts it there"
    done = subprocess.run(
        [program, *user_errors(tmp_path)["matte"]], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
