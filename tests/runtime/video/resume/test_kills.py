"""SIGKILL at any step leaves nothing under the final names but whole outputs, and all can be resumed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("name", "every"), [("out.mp4", 61), ("out", 43)])
def test_killed_jobs_are_resumed_to_the_same_bytes(
    tmp_path: Path, source: Path, name: str, every: int
) -> None:
    (tmp_path / "jobs").mkdir()
    program = Path(__file__).with_name("kills.py")
    command = [sys.executable, str(program), str(source), str(tmp_path / "jobs"), name, str(every)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 2 * every
