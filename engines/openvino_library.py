"""The OpenVINO library: loading it, its settings, and what this CPU offers."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from rvm_trt.engines.signal_stack import own_signal_stack
from rvm_trt.errors import DependencyError, EngineError, OptionError
from rvm_trt.options import Precision

PRECISIONS = (Precision.FP32, Precision.BF16, Precision.INT8)
# Precision is written into the graph; without this, OpenVINO would lower the FP32 islands as well.
HINTS: Mapping[str, str] = {"INFERENCE_PRECISION_HINT": "f32"}
_REPORTER = "openvino_telemetry"
_MIB = 1 << 20
_ROOM_MIB = 1024
_ROOM_FOR_A_THREAD_MIB = 72  # its stack, and the heap that the C library reserves for it


def import_openvino() -> ModuleType:
    """Returns the module ``openvino``, loaded without what reports its use to its makers.

    Raises:
        DependencyError: it is not installed.
        EngineError: this process may not take the memory that it needs.
    """
    _check_room()
    try:
        with without_reports():
            return import_module("openvino")
    except ImportError:
        raise DependencyError("openvino", extra="cpu", stage="CPU engine") from None


def _check_room() -> None:
    """Raises `EngineError` where a limit on address space (``ulimit -v``) leaves too little.

    OpenVINO's threads wait for each other for ever where one of them cannot be started, and the process is ended on the
    spot where they get no memory later: neither could be told to the user any more.
    """
    if sys.platform == "win32":  # which has no such limit
        return
    room = (_ROOM_MIB + _ROOM_FOR_A_THREAD_MIB * (os.cpu_count() or 1)) * _MIB
    try:
        # What is private and cannot be written to counts for the limit, and takes no memory.
        mmap.mmap(-1, room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ).close()
    except OSError as error:
        raise EngineError(
            "memory",
            got=f"a limit that leaves this process less than {room // _MIB} MiB of address space",
            expected="room for OpenVINO, its threads and the network",
            todo="Raise the limit (ulimit -v), or end what else this process keeps in memory.",
        ) from error


@contextmanager
def without_reports() -> Iterator[None]:
    """Keeps what is imported in the block from finding the package by which OpenVINO reports its use over the network.

    OpenVINO then takes the stand-in that it has for a machine where that package is not installed.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    before = {name: modules[name] for name in (_REPORTER,) if name in modules}
    modules[_REPORTER] = None  # an import of it fails
    try:
        yield
    finally:
        del modules[_REPORTER]
        modules.update(before)


def compile_network(model: Any, options: Mapping[str, Any]) -> Any:
    """Returns an ``openvino.CompiledModel`` for the CPU, which any thread may drop.

    Args:
        model: an ``openvino.Model``, or the path of one.
        options: OpenVINO's.

    Raises:
        RuntimeError: OpenVINO cannot compile it.
        DependencyError, EngineError: as `import_openvino`.
    """
    openvino = import_openvino()
    with own_signal_stack():
        return openvino.Core().compile_model(model, "CPU", options)


def check_precision(precision: Precision) -> None:
    """Raises `OptionError` unless the CPU backend offers the precision."""
    if precision not in PRECISIONS:
        raise OptionError(
            "precision",
            got=f"{precision.value!r} for the cpu backend",
            expected=" or ".join(repr(p.value) for p in PRECISIONS),
            todo="Choose one of these.",
        )


def fastest_precision() -> Precision:
    """Returns bf16 where this CPU computes in bfloat16 natively (AVX-512 BF16 or AMX), else fp32."""
    openvino = import_openvino()
    with own_signal_stack():
        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return Precision.BF16 if "BF16" in capabilities else Precision.FP32
