"""The OpenVINO library: loading it, what this CPU offers, and the names of precisions."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from rvm_trt.errors import DependencyError, OptionError
from rvm_trt.options import Precision

HINTS: Mapping[Precision, str] = {Precision.FP32: "f32", Precision.BF16: "bf16"}


def import_openvino() -> ModuleType:
    """Returns the module ``openvino``; raises `DependencyError` where it is not installed."""
    try:
        import openvino
    except ImportError:
        raise DependencyError("openvino", extra="cpu", stage="CPU engine") from None
    return openvino


def precision_hint(precision: Precision) -> str:
    """Returns OpenVINO's name of a precision; raises `OptionError` unless the CPU backend offers it."""
    if precision not in HINTS:
        raise OptionError(
            "precision",
            got=f"{precision.value!r} for the cpu backend",
            expected=" or ".join(repr(p.value) for p in HINTS),
            todo="Choose one of these.",
        )
    return HINTS[precision]


def fastest_precision() -> Precision:
    """Returns bf16 where this CPU computes in bfloat16 natively (AVX-512 BF16 or AMX), else fp32."""
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return Precision.BF16 if "BF16" in capabilities else Precision.FP32
