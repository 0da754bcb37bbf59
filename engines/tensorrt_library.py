"""The two libraries of TensorRT behind one description of what each of them has."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rvm_trt.engines.tensorrt_options import DEFAULT_TARGETS, TensorRtOptions
from rvm_trt.errors import DependencyError, EngineError, OptionError
from rvm_trt.options import Backend

_OLDEST_TENSORRT = (10, 12)  # earlier ones do not take precision from the graph in every operator


@dataclass(frozen=True, kw_only=True)
class Library:
    """A TensorRT library that is installed, and what it has.

    Attributes:
        backend: which of the two.
        module: its Python module.
        name: its name in messages.
        version: of the library.
        builds_ahead_of_time: whether it builds for named targets, without a GPU.
        needs_gpu: whether it builds for the GPU at hand, and only there.
        has_tactic_search: whether it measures kernels while building, so that there is a level and a log of that
            search.
        has_timing_cache: whether what it measured can be kept in a file.
        has_hardware_compatibility: whether a plan can be made to run on other GPUs than the one at hand.
        known_targets: compute capabilities that it builds for, such as ``sm_89``, ascending; none where it builds
            for the GPU at hand.
    """

    backend: Backend
    module: Any
    name: str
    version: str
    builds_ahead_of_time: bool
    needs_gpu: bool
    has_tactic_search: bool
    has_timing_cache: bool
    has_hardware_compatibility: bool
    known_targets: tuple[str, ...]

    def check(self, options: TensorRtOptions) -> None:
        """Raises `OptionError` where the options ask for what this library does not have."""
        asked = {
            "targets": not self.builds_ahead_of_time and options.targets != DEFAULT_TARGETS,
            "optimization_level": not self.has_tactic_search and options.optimization_level is not None,
            "tactic_log": not self.has_tactic_search and options.tactic_log,
            "timing_cache": not self.has_timing_cache and options.timing_cache is not None,
            "hardware_compatibility": not self.has_hardware_compatibility
            and options.hardware_compatibility != "none",
        }
        for subject, refused in asked.items():
            if refused:
                raise OptionError(
                    subject,
                    got=repr(getattr(options, subject)),
                    expected=f"nothing: {self.name} has no such option",
                    todo=_INSTEAD[subject],
                )
        if self.builds_ahead_of_time and (unknown := sorted(set(options.targets) - set(self.known_targets))):
            raise OptionError(
                "targets",
                got=", ".join(map(repr, unknown)),
                expected=f"some of those that {self.name} {self.version} knows: {', '.join(self.known_targets)}",
                todo="Leave it out, or build with backend 'tensorrt' on such a GPU.",
            )


_INSTEAD: Mapping[str, str] = {
    "targets": "Leave it out: the plan is built for the GPU at hand.",
    "optimization_level": "Leave it out: kernels are chosen when the plan is loaded.",
    "tactic_log": "Leave it out: kernels are chosen when the plan is loaded.",
    "timing_cache": "Leave it out: no kernel is measured while building.",
    "hardware_compatibility": "Leave it out, and name the GPUs with targets.",
}


def load_library(backend: Backend) -> Library:
    """Returns the library of a backend, ``tensorrt`` or ``tensorrt-rtx``.

    Raises:
        DependencyError: it is not installed, or too old.
        EngineError: it is installed and does not load.
        OptionError: the backend is another.
    """
    if backend is Backend.TENSORRT_RTX:
        return _rtx(_import("tensorrt_rtx", package="tensorrt-rtx-cu13", extra="rtx"))
    if backend is Backend.TENSORRT:
        return _tensorrt(_import("tensorrt", package="tensorrt", extra="tensorrt"))
    raise OptionError(
        "backend",
        got=repr(backend.value),
        expected="'tensorrt' or 'tensorrt-rtx'",
        todo="Choose one of these for a TensorRT plan.",
    )


def has_gpu() -> bool:
    """Whether there is an NVIDIA GPU with a driver that works, found without any library but the driver's."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _rtx(module: Any) -> Library:
    return Library(
        backend=Backend.TENSORRT_RTX,
        module=module,
        name="TensorRT for RTX",
        version=str(module.__version__),
        builds_ahead_of_time=True,
        needs_gpu=False,
        has_tactic_search=False,
        has_timing_cache=False,
        has_hardware_compatibility=False,
        known_targets=_known_targets(module),
    )


def _tensorrt(module: Any) -> Library:
    version = str(module.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_TENSORRT:
        oldest = ".".join(map(str, _OLDEST_TENSORRT))
        raise DependencyError(f"tensorrt>={oldest}", extra="tensorrt", stage="TensorRT engine")
    return Library(
        backend=Backend.TENSORRT,
        module=module,
        name="TensorRT",
        version=version,
        builds_ahead_of_time=False,
        needs_gpu=True,
        has_tactic_search=True,
        has_timing_cache=True,
        has_hardware_compatibility=True,
        known_targets=(),
    )


def _known_targets(module: Any) -> tuple[str, ...]:
    found = (re.fullmatch(r"SM(\d+)", name) for name in module.ComputeCapability.__members__)
    return tuple(f"sm_{number}" for number in sorted(int(match[1]) for match in found if match))


def _import(name: str, *, package: str, extra: str) -> Any:
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: a shared library that it loads itself
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise DependencyError(package, extra=extra, stage="TensorRT engine") from None
        raise EngineError(
            name,
            got=f"an import that failed: {error}",
            expected="a whole installation",
            todo=f"Install {package} again.",
        ) from error
