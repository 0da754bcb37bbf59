"""OpenVINO is loaded without what reports its use to its makers, and only where it has room."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Threads and connections of everything that is imported; DNS look-ups come before connections.
_WATCHED = """
import sys, threading
reached = []
def watch(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib")):
        reached.append(event)
sys.addaudithook(watch)
{load}
print(sorted(thread.name for thread in threading.enumerate()), reached, "openvino" in sys.modules)
"""


@pytest.mark.parametrize(
    "load",
    [
        "from rvm_trt.engines.openvino_library import import_openvino; import_openvino()",
        "from rvm_trt.commands.doctor_packages import cpu_checks; list(cpu_checks()['openvino'](None))",
    ],
)
def test_nothing_is_reported(load: str, tmp_path: Path) -> None:
    # As a user's first run: it keeps quiet in CI, and where somebody has declined before.
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED.format(load=load)],
        env={**environment, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "['MainThread'] [] True"
    assert list(tmp_path.iterdir()) == []  # nor an identity kept for it


def test_a_limit_that_leaves_openvino_no_room_is_one_error_and_no_hang() -> None:
    """Without the check its threads wait for ever: the limit on time is what would end it."""
    code = """
import resource
from pathlib import Path
from rvm_trt.engines.openvino_library import fastest_precision, import_openvino
from rvm_trt.errors import EngineError
import_openvino()
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
for spare in (64, 256, 384):
    resource.setrlimit(resource.RLIMIT_AS, (held + (spare << 20), resource.RLIM_INFINITY))
    try:
        fastest_precision()
    except EngineError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(fastest_precision().value)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    *refused, found = done.stdout.splitlines()
    assert len(refused) == 3
    assert all(line.startswith("memory: got a limit that leaves this process less than") for line in refused)
    assert found in ("bf16", "fp32")


def test_the_reporting_package_stays_importable_for_others() -> None:
    code = (
        "from rvm_trt.engines.openvino_library import import_openvino\n"
        "import_openvino()\nimport openvino_telemetry\nprint(openvino_telemetry.Telemetry.__name__)"
    )
    pytest.importorskip("openvino_telemetry")
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == "Telemetry\n"


def test_nothing_else_loads_it_first() -> None:
    direct = re.compile(r"""^import openvino\b|^from openvino\b|import_module\("openvino"\)""", re.M)
    folders = ("benchmarks", "engines", "examples", "export", "runtime", "rvm_trt")
    found = {
        path.name
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if direct.search(path.read_text())
    }
    assert found == {"openvino_library.py"}


@pytest.mark.parametrize("options", [(), ("-X", "faulthandler")])  # which has a signal stack of its own
def test_a_network_may_be_closed_on_another_thread_before_a_signal_comes(options: tuple[str, ...]) -> None:
    """OpenVINO would leave a signal stack that is gone, and the signal would end the process."""
    code = """
import os, signal, threading
import numpy as np
from openvino import Model, opset13
from rvm_trt.runtime.openvino_core import OpenVinoCore
given = opset13.parameter([1, 3, 32, 32], np.float32)
weights = opset13.constant(np.ones((8, 3, 3, 3), np.float32))
made = opset13.convolution(given, weights, [1, 1], [1, 1], [1, 1], [1, 1])
given.output(0).set_names({"src"})
made.output(0).set_names({"r1o"})
core = OpenVinoCore(Model([made], [given]), threads=1)
results = np.zeros((1, 8, 32, 32), np.float32)
run = core.context({"src": np.ones((1, 3, 32, 32), np.float32), "r1o": results})
run()
def close():
    global core, run
    core.close()
    core = run = None
thread = threading.Thread(target=close)
thread.start()
thread.join()
signal.signal(signal.SIGINT, lambda *_: print("handled", results[0, 0, 5, 5]))
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "handled 27.0\n"), done.stderr
