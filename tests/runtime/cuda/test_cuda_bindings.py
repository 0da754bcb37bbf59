"""The real cuda.bindings take what the runtime gives them, and the stand-in for them is asked for the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import frames_program
import pytest
from stand_in_driver import StandInDriver

from rvm_trt.runtime import cuda_stages
from rvm_trt.runtime.cuda_driver import Driver

HERE = Path(__file__).parent
SHOWN = ("cuLaunchKernel", "cuMemcpy", "cuMemset", "cuGraphLaunch", "cuEventRecord", "cuStreamWaitEvent")


@pytest.fixture(scope="module")
def libcuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a ``libcuda.so.1`` that writes down what it is asked for."""
    folder = tmp_path_factory.mktemp("libcuda")
    library = folder / "libcuda.so.1"
    soname = "-Wl,-soname,libcuda.so.1"
    command = [
        "gcc",
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Werror",
        soname,
        "-o",
        library,
        HERE / "libcuda.c",
        "-ldl",
    ]
    subprocess.run(command, check=True)
    return folder


def test_the_real_bindings_pass_on_what_the_stand_in_is_asked_for(
    libcuda: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libcuda), "STAND_IN_LOG": str(log)}
    subprocess.run([sys.executable, HERE / "frames_program.py"], check=True, env=environment)
    passed = [line.split() for line in log.read_text().splitlines()]

    stand_in = StandInDriver()
    monkeypatch.setattr(cuda_stages, "compile_kernel", None)  # put back what the program changes
    frames_program.run(Driver(stand_in))
    asked = [call for call in stand_in.calls if call[0].startswith("cu")]

    assert [line[0] for line in passed] == ["cuInit", *(call[0] for call in asked)]
    launches = [line for line in passed if line[0] == "cuLaunchKernel"]
    assert {tuple(line[-2:]) for line in launches} == {("params", "plain")}
    shapes = [tuple(map(int, line[2:9])) for line in launches]
    assert shapes == [call[2:9] for call in asked if call[0] == "cuLaunchKernel"]


def test_an_error_of_the_real_driver_is_told_by_name(libcuda: Path) -> None:
    program = """
from rvm_trt.errors import EngineError
from rvm_trt.runtime.cuda_driver import Driver
try:
    Driver.load().ask("cuMemcpyHtoDAsync", 0, 0, 0, 0)
except EngineError as error:
    print(error)
"""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libcuda)}
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, env=environment, capture_output=True, text=True
    )
    assert done.stdout.startswith(
        "cuMemcpyHtoDAsync: got CUDA_ERROR_INVALID_CONTEXT (no context), expected success."
    )
