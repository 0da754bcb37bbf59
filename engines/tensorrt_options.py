"""The options of a TensorRT build, for both of its libraries."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rvm_trt.errors import OptionError

# Ampere and later. A plan that also serves Turing is four times as large: Turing is better built on its own.
DEFAULT_TARGETS = ("sm_80", "sm_86", "sm_89", "sm_120")
HARDWARE_COMPATIBILITY = ("none", "ampere_plus", "same_compute_capability")

_TARGET = re.compile(r"sm_(\d{2,3})")
_WRITTEN_TARGET = re.compile(r"(?:sm_?)?(\d{1,2})\.?(\d)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class TensorRtOptions:
    """How a plan is built. What only one library has is refused for the other when building.

    Attributes:
        targets: compute capabilities that the plan is to run on, such as ``sm_89``; kept in ascending order, each
            once. TensorRT for RTX only: TensorRT builds for the GPU at hand.
        workspace_bytes: most memory that one layer may use for intermediate results; the library's default if None.
        optimization_level: 0 (fast build) to 5 (longest search for kernels); the library's default if None.
            TensorRT only.
        hardware_compatibility: other GPUs that the plan is to run on: ``none``, ``ampere_plus`` or
            ``same_compute_capability``. TensorRT only.
        timing_cache: a file with measured kernel times, read where it exists and written back. TensorRT only.
        max_aux_streams: most streams besides the caller's that a run may use; the library's choice if None.
        tactic_log: keep what the builder says about the kernels it tries. TensorRT only.

    Raises:
        OptionError: a value is out of range; the message says which.
    """

    targets: tuple[str, ...] = DEFAULT_TARGETS
    workspace_bytes: int | None = None
    optimization_level: int | None = None
    hardware_compatibility: str = "none"
    timing_cache: Path | None = None
    max_aux_streams: int | None = None
    tactic_log: bool = False

    def __post_init__(self) -> None:
        for target in self.targets:
            if not _TARGET.fullmatch(target):
                raise _target_error(target)
        if not self.targets:
            raise _target_error("")
        # One set of targets, one plan: the library's result depends on their order.
        object.__setattr__(self, "targets", tuple(sorted(set(self.targets), key=_number)))
        _check_integer("workspace_bytes", self.workspace_bytes, low=1)
        _check_integer("optimization_level", self.optimization_level, low=0, high=5)
        _check_integer("max_aux_streams", self.max_aux_streams, low=0)
        if self.hardware_compatibility not in HARDWARE_COMPATIBILITY:
            raise OptionError(
                "hardware_compatibility",
                got=repr(self.hardware_compatibility),
                expected=f"one of {', '.join(map(repr, HARDWARE_COMPATIBILITY))}",
                todo="Choose one of these.",
            )

    def to_json(self) -> dict[str, Any]:
        """What changes the bytes of the plan, as plain JSON values."""
        values = {**asdict(self), "targets": list(self.targets)}
        return {name: value for name, value in values.items() if name not in ("timing_cache", "tactic_log")}


def parse_targets(text: str) -> tuple[str, ...]:
    """Returns the targets in a comma-separated list, each written as ``sm_89``, ``89`` or ``8.9``.

    Raises:
        OptionError: a part of the list is no compute capability.
    """
    targets = []
    for part in text.split(","):
        match = _WRITTEN_TARGET.fullmatch(part.strip())
        if match is None:
            raise _target_error(part.strip())
        targets.append(f"sm_{match[1]}{match[2]}")
    return tuple(targets)


def _number(target: str) -> int:
    return int(target.removeprefix("sm_"))


def _target_error(target: str) -> OptionError:
    return OptionError(
        "targets",
        got=repr(target) if target else "none",
        expected="compute capabilities such as 'sm_89'",
        todo="Name the GPUs that the engine is to run on, for example '86,89,120'.",
    )


def _check_integer(subject: str, value: object, *, low: int, high: int | None = None) -> None:
    if value is None:
        return
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or value < low
        or (high is not None and value > high)
    ):
        raise OptionError(
            subject,
            got=repr(value),
            expected=f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}",
            todo=f"Give another {subject}, or leave it out for the library's default.",
        )
