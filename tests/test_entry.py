"""The beginning of the command: Ctrl-C at any moment of it is one line, and what runs in the background ignores it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Ctrl-C arrives while a module is looked for. How the import takes it is the test's.
_PROGRAM = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.{handler})
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
class Lost:
    def __del__(self):
        interrupt()
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            {how}
sys.meta_path.insert(0, Finder())
from rvm_trt.entry import main
sys.argv = ["rvm-trt", "matte", "missing.mp4", "-o", "out.mp4"]
sys.exit(main())
"""
_CHANGED = """
            try:
                interrupt()
            except KeyboardInterrupt:
                raise ImportError("half of it is missing")
"""
_SWALLOWED = """
            Lost()
            time.sleep(30)  # until it comes again
"""
_EARLY, _LATE = "rvm-trt: interrupted\n", "rvm-trt matte: interrupted\n"


def ends(folder: Path, module: str, how: str, *, handler: str = "default_int_handler") -> tuple[int, str]:
    """Runs a command that Ctrl-C meets in an import, and returns its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(handler=handler, module=module, how=how)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("module", "how", "said"),
    [
        ("rvm_trt.cli", "interrupt()", _EARLY),
        ("argparse", _CHANGED, _EARLY),
        ("rvm_trt.commands.matte", _SWALLOWED, _EARLY),
        ("rvm_trt.runtime.session", "interrupt()", _LATE),
        ("rvm_trt.runtime.session", _CHANGED, _LATE),
        ("rvm_trt.runtime.session", _SWALLOWED, _LATE),
    ],
)
def test_ctrl_c_in_an_import_is_one_line(tmp_path: Path, module: str, how: str, said: str) -> None:
    assert ends(tmp_path, module, how) == (130, said)


def test_where_ctrl_c_is_ignored_from_the_start_it_stays_so(tmp_path: Path) -> None:
    code, said = ends(tmp_path, "rvm_trt.runtime.session", "interrupt()", handler="SIG_IGN")
    assert code == 1
    assert said.startswith("rvm-trt matte: input 'missing.mp4': got nothing there")


def test_ctrl_c_in_an_import_ends_it_also_where_nobody_reads_messages(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = _PROGRAM.format(handler="default_int_handler", module="rvm_trt.cli", how="interrupt()")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=writing, timeout=100
    )
    os.close(writing)
    assert done.returncode == 130


def test_ctrl_c_while_it_is_said_is_no_traceback(tmp_path: Path) -> None:
    again = "import rvm_trt.cli; rvm_trt.cli._failed = lambda *_, **__: interrupt()"
    assert ends(tmp_path, "rvm_trt.runtime.session", f"{again}; interrupt()") == (130, "")


@pytest.mark.parametrize("closed", ["2>&-", "0<&- 2>&-"])
def test_where_standard_error_is_closed_messages_go_nowhere(tmp_path: Path, closed: str) -> None:
    code = "from rvm_trt.entry import main; import os, sys; code = main(); print(code, os.readlink('/proc/self/fd/2'))"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" matte missing.mp4 -o out.mp4 {closed}', sys.executable, code],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout == f"1 {os.devnull}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("profiles >&-", 0, ""),
        ("matte missing.mp4 -o - >&-", 1, "rvm-trt matte: output '-': got a closed standard output, "),
        ("profiles >/dev/full", 1, "rvm-trt profiles: standard output: got No space left on device, "),
    ],
)
def test_standard_output_that_takes_nothing_is_no_fault_of_ours(
    tmp_path: Path, arguments: str, code: int, said: str
) -> None:
    program = "import sys; from rvm_trt.entry import main; sys.exit(main())"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {arguments}', sys.executable, program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == bool(said)
