"""The OpenVINO library: loading it, its settings, and what this CPU offers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from rvm_trt.errors import DependencyError, OptionError
from rvm_trt.options import Precision

PRECISIONS = (Precision.FP32, Precision.BF16, Precision.INT8)
# Precision is written into the graph; without this, OpenVINO would lower the FP32 islands as well.
HINTS: Mapping[str, str] = {"INFERENCE_PRECISION_HINT": "f32"}
_REPORTER = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Returns the module ``openvino``, loaded without what reports its use to its makers.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        with without_reports():
            return import_module("openvino")
    except ImportError:
        raise DependencyError("openvino", extra="cpu", stage="CPU engine") from None


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
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return Precision.BF16 if "BF16" in capabilities else Precision.FP32
