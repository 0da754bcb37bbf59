"""The two TensorRT libraries: what they say of themselves, and where there is none."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import tensorrt_rtx

from rvm_trt.engines import tensorrt_library
from rvm_trt.engines.tensorrt_library import Library, has_gpu, load_library
from rvm_trt.errors import DependencyError, EngineError, OptionError
from rvm_trt.options import Backend


def test_the_libraries_say_what_they_have(rtx: Library, recorder: Any) -> None:
    other = load_library(Backend.TENSORRT)
    assert (rtx.name, rtx.version) == ("TensorRT for RTX", tensorrt_rtx.__version__)
    assert (other.name, other.version, other.known_targets) == ("TensorRT", recorder.__version__, ())
    assert rtx.builds_ahead_of_time
    assert not rtx.needs_gpu
    assert other.needs_gpu
    assert not other.builds_ahead_of_time


@pytest.mark.parametrize(
    ("backend", "name", "extra"),
    [(Backend.TENSORRT, "tensorrt", "tensorrt"), (Backend.TENSORRT_RTX, "tensorrt_rtx", "rtx")],
)
def test_a_library_that_is_not_installed_names_its_extra(
    backend: Backend, name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(wanted: str) -> ModuleType:
        raise ModuleNotFoundError(f"No recorder named {wanted!r}", name=wanted)

    monkeypatch.setattr(tensorrt_library, "import_module", missing)
    with pytest.raises(DependencyError, match=rf'pip install "rvm-trt\[{extra}\]"'):
        load_library(backend)

    def broken(_: str) -> ModuleType:
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(tensorrt_library, "import_module", broken)
    with pytest.raises(EngineError, match=rf"^{name}: got an import that failed: libnvinfer\.so\.10"):
        load_library(backend)


def test_an_old_tensorrt_is_refused(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(recorder), "__version__", "10.9.0.34")
    with pytest.raises(DependencyError, match=r"got no package 'tensorrt>=10\.12'"):
        load_library(Backend.TENSORRT)


@pytest.mark.parametrize("backend", [Backend.CPU, Backend.AUTO])
def test_other_backends_have_no_tensorrt_library(backend: Backend) -> None:
    with pytest.raises(OptionError, match="expected 'tensorrt' or 'tensorrt-rtx'"):
        load_library(backend)


class Driver:
    def __init__(self, status: int, gpus: int) -> None:
        self._status, self._gpus = status, gpus

    def cuInit(self, _: int) -> int:  # noqa: N802
        return self._status

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self._gpus
        return 0


@pytest.mark.parametrize(("status", "gpus", "found"), [(0, 1, True), (0, 0, False), (100, 1, False)])
def test_a_gpu_is_one_that_the_driver_counts(
    status: int, gpus: int, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: Driver(status, gpus))
    assert has_gpu() is found


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert has_gpu() is False
