"""The choices that several parts share, as enums. Each value is the word used on the command line and on disk."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from rvm_trt.errors import OptionError
from rvm_trt.untrusted import quoted

_E = TypeVar("_E", bound=Enum)


class Variant(str, Enum):
    """The encoder of the network."""

    MOBILENETV3 = "mobilenetv3"
    RESNET50 = "resnet50"


class Refiner(str, Enum):
    """The guided filter that brings the matte to full resolution (used where the ratio is not 1)."""

    DEEP = "deep_guided_filter"
    FAST = "fast_guided_filter"


class Graph(str, Enum):
    """Which graph: the low-resolution ``core``, or the ``full`` network with upstream's tensor names."""

    CORE = "core"
    FULL = "full"


class Precision(str, Enum):
    """The arithmetic of an engine."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


class Backend(str, Enum):
    """What builds and runs an engine."""

    AUTO = "auto"
    CPU = "cpu"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"


def choice(kind: type[_E], value: str | _E, *, subject: str) -> _E:
    """Returns the member of ``kind`` that ``value`` names; raises `OptionError` listing the choices."""
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(repr(str(member.value)) for member in kind)
        raise OptionError(
            subject, got=quoted(value), expected=f"one of {names}", todo=f"Choose one of these for {subject}."
        ) from None
