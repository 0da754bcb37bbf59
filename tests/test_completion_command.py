"""The completion scripts, run by the shell that they are for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rvm_trt.cli import COMMANDS, main
from rvm_trt.commands.completion import SHELLS, completion_script
from rvm_trt.errors import DependencyError
from rvm_trt.profile import Profile

COMPLETE = """
source completion.bash
function_name=$(complete -p rvm-trt | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=({words} "{word}")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
COMP_LINE="${{COMP_WORDS[*]}}" COMP_POINT=${{#COMP_LINE}}
"$function_name" rvm-trt "{word}" "{before}" 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script for bash, a video and a folder."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "completion.bash").write_text(completion_script("bash"))
    (folder / "talk.mp4").touch()
    (folder / "tapes").mkdir()
    return folder


def completions(folder: Path, line: str) -> set[str]:
    """What bash offers for a line; its last word, which may be empty, is the one to complete."""
    *words, word = line.split(" ")
    program = COMPLETE.format(words=" ".join(words), word=word, before=words[-1])
    done = subprocess.run(
        ["bash", "--norc", "-c", program], capture_output=True, text=True, check=True, cwd=folder
    )
    return {offer.strip().rstrip("/") for offer in done.stdout.split("\n") if offer.strip()}


def test_bash_completes_commands(folder: Path) -> None:
    assert set(COMMANDS) <= completions(folder, "rvm-trt ")
    assert completions(folder, "rvm-trt pro") == {"profiles"}


def test_bash_completes_options(folder: Path) -> None:
    assert completions(folder, "rvm-trt matte --outp") == {"--output", "--output-kind"}
    assert {"--quiet", "--verbose", "--json"} <= completions(folder, "rvm-trt doctor --")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rvm-trt build --precision ", {"fp32", "bf16", "fp16", "int8"}),
        ("rvm-trt export --graph ", {"core", "full"}),
        ("rvm-trt build --profile ", set(Profile.names())),
        ("rvm-trt completion ", set(SHELLS)),
    ],
)
def test_bash_completes_choices(line: str, offered: set[str], folder: Path) -> None:
    assert completions(folder, line) >= offered


def test_bash_completes_files_and_folders(folder: Path) -> None:
    assert completions(folder, "rvm-trt matte ta") == {"talk.mp4", "tapes"}
    assert completions(folder, "rvm-trt matte talk.mp4 -o ta") == {"talk.mp4", "tapes"}
    assert completions(folder, "rvm-trt matte talk.mp4 --engines ta") == {"tapes"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command in script for command in COMMANDS)


def test_without_shtab_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(DependencyError, match="shtab"):
        completion_script("bash")
    assert main(["completion", "bash"]) == 1
    assert capsys.readouterr().out == ""
