"""Two builds at once and kill -9: a whole engine or none."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from disk_engines import CPU, ODD, RTX, names

from rvm_trt import Engine, build_engine

# Arguments: graph, folder, backend, precision, how often. Waits for a line, then builds anew each time.
BUILDER = """
import sys
import onnx
from rvm_trt import build_engine
from rvm_trt.engines.tensorrt_options import TensorRtOptions
graph, engines, backend, precision, times = sys.argv[1:]
options = TensorRtOptions(targets=("sm_89",))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(times)):
    build_engine(graph, backend=backend, precision=precision, engines=engines, options=options, force=True)
"""
# Arguments: a folder, an engine, how often. Writes small files under its manifest: only the renaming takes time.
WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from rvm_trt import Engine
from rvm_trt.engines.artifact import write_engine
source = Engine.load(sys.argv[2])
def write(folder):
    for name in source.manifest.files:
        (folder / name).write_bytes(b"small")
    return {}
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    write_engine(sys.argv[1], replace(source.manifest, files={}), write)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a script in a session of its own, and returns when it has imported what it needs."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), errors


@pytest.mark.parametrize("options", [CPU, RTX], ids=["cpu", "rtx"])
def test_two_builds_at_once_both_succeed(options: dict[str, Any], graph: Path, tmp_path: Path) -> None:
    words = (graph, tmp_path, options["backend"], options["precision"], 1)
    finish([start(BUILDER, *words), start(BUILDER, *words)])
    (name,) = names(tmp_path)
    engine = Engine.load(tmp_path / name)
    assert build_engine(graph, engines=tmp_path, **options) == engine


def test_engines_written_at_once_replace_each_other_whole(whole: Engine, tmp_path: Path) -> None:
    target = tmp_path / whole.path.name
    finish([start(WRITER, target, whole.path, 300) for _ in range(2)])
    assert names(tmp_path) == [target.name]
    assert Engine.load(target).mismatches(whole.manifest) == []


@pytest.mark.parametrize(
    ("script", "kills", "longest_s"),
    [("cpu", 4, 0.8), ("tensorrt-rtx", 3, 3.0), ("writer", 8, 0.3)],
)
def test_kill_9_leaves_a_whole_engine_or_none(
    script: str, kills: int, longest_s: float, whole: Engine, graph: Path, tmp_path: Path
) -> None:
    draw = random.Random(script)
    options = CPU if script == "cpu" else RTX
    engines = tmp_path / "engines"
    target = engines / (whole.path.name if options is RTX else f"{ODD.name}-core-fp32-cpu")
    for _ in range(kills):
        if script == "writer":
            process = start(WRITER, target, whole.path, 1 << 30)
        else:
            process = start(BUILDER, graph, engines, options["backend"], options["precision"], 1 << 30)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(draw.uniform(0, longest_s))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert not target.exists() or Engine.load(target).path == target
    assert Engine.load(build_engine(graph, engines=engines, force=True, **options).path).path == target
    assert names(engines) == [target.name], "what killed builds left behind is swept"
