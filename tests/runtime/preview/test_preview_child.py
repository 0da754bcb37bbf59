"""A program beside the preview: it is followed, and nothing of it is left."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from rvm_trt.errors import EngineError
from rvm_trt.runtime.preview.child import run_child


def run(program: str, tell: list[str], cancelled: threading.Event | None = None) -> None:
    command = [sys.executable, "-c", program]
    run_child(command, subject="ratio 0.5", tell=tell.append, cancelled=cancelled or threading.Event())


def test_what_it_says_is_told_line_by_line() -> None:
    told: list[str] = []
    run("import sys; print('not this'); sys.stderr.write('Exporting\\n\\nBuilding\\nlast')", told)
    assert told == ["Exporting", "Building", "last"]


def test_its_failure_carries_its_last_words() -> None:
    with pytest.raises(EngineError, match=r"ratio 0.5: got exit code 1 \(no weights\)"):
        run("import sys; print('first', file=sys.stderr); sys.exit('no weights')", [])


def test_it_is_interrupted_when_it_is_called_off(tmp_path: Path) -> None:
    mark, cancelled, told = tmp_path / "half", threading.Event(), []
    program = (
        "import os, pathlib, sys, time\n"
        f"mark = pathlib.Path({str(mark)!r})\n"
        "mark.touch()\n"
        "try:\n"
        "    print(os.getpid(), file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "finally:\n"
        "    mark.unlink()\n"
    )

    def tell(line: str) -> None:
        told.append(line)
        cancelled.set()

    with pytest.raises(EngineError, match="taken back"):
        run_child([sys.executable, "-c", program], subject="ratio 0.5", tell=tell, cancelled=cancelled)
    assert not mark.exists()  # it had the time to remove what it had begun
    with pytest.raises(ProcessLookupError):
        os.kill(int(told[0]), 0)


def test_it_is_ended_where_telling_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rvm_trt.runtime.preview.child._PATIENCE_S", 0.2)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        raise KeyboardInterrupt

    program = (
        "import os, signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)"
    )
    with pytest.raises(KeyboardInterrupt):
        run_child([sys.executable, "-c", program], subject="x", tell=tell, cancelled=threading.Event())
    with pytest.raises(ProcessLookupError):
        os.kill(int(told[0]), 0)
