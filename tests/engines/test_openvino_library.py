"""OpenVINO is loaded without what reports its use to its makers."""

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
