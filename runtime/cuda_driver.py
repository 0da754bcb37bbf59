"""CUDA's driver API: loaded once, every failure in words."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from rvm_trt.errors import DependencyError, EngineError

_LOST = "The process cannot use this GPU any longer: start it again, and look for the cause with compute-sanitizer."
_UPDATE = "Update the NVIDIA driver: nvidia-smi shows the CUDA version that it supports."
_TODO: Mapping[str, str] = {
    "CUDA_ERROR_OUT_OF_MEMORY": "End other programs on this GPU, or choose a smaller profile or fewer videos.",
    "CUDA_ERROR_NO_DEVICE": "Check nvidia-smi and CUDA_VISIBLE_DEVICES; without a GPU, use backend 'cpu'.",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "Restart the machine: the driver was updated while it ran.",
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": _UPDATE,
    "CUDA_ERROR_SYSTEM_NOT_READY": "Check that the NVIDIA services of this machine run.",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": "Remove the folder of compiled kernels in the cache, and try again.",
    "CUDA_ERROR_INVALID_CONTEXT": "Use memory and streams of the GPU's primary context, the one of this session's GPU.",
    "CUDA_ERROR_INVALID_HANDLE": "Use a stream of the GPU's primary context that has not been destroyed.",
    "CUDA_ERROR_ILLEGAL_ADDRESS": _LOST,
    "CUDA_ERROR_MISALIGNED_ADDRESS": _LOST,
    "CUDA_ERROR_LAUNCH_FAILED": _LOST,
    "CUDA_ERROR_LAUNCH_TIMEOUT": _LOST,
}


class Driver:
    """CUDA's driver API.

    Attributes:
        module: ``cuda.bindings.driver``, or what stands in for it: functions that return a ``CUresult`` and values.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

    @classmethod
    def load(cls) -> Driver:
        """Returns the driver of this machine, initialised.

        Raises:
            DependencyError: ``cuda-bindings`` is not installed.
            EngineError: there is no driver, or no GPU.
        """
        try:
            module = import_module("cuda.bindings.driver")
            missing: Any = import_module("cuda.pathfinder").DynamicLibNotFoundError
        except ImportError:
            raise DependencyError("cuda-bindings", extra="cuda", stage="CUDA session") from None
        driver = cls(module)
        try:
            driver.ask("cuInit", 0)
        except missing:
            raise EngineError(
                "GPU",
                got="no NVIDIA driver on this machine",
                expected="an NVIDIA GPU with its driver",
                todo="Install the driver, or build and run the engine with backend 'cpu'.",
            ) from None
        return driver

    def ask(self, name: str, *arguments: Any) -> Any:
        """Calls a function and returns its value, a tuple where there are several; for set-up, not for frames.

        Raises:
            EngineError: the driver refuses.
        """
        code, *values = getattr(self.module, name)(*arguments)
        if code:
            raise self.error(name, code)
        return tuple(values) if len(values) > 1 else values[0] if values else None

    def error(self, subject: str, code: Any) -> EngineError:
        """Returns the error of a code other than success, with the driver's name and text for it."""
        _, text = self.module.cuGetErrorString(code)
        words = text.decode() if text else "an error that this driver does not describe"
        return EngineError(
            subject,
            got=f"{code.name} ({words})",
            expected="success",
            todo=_TODO.get(code.name, "Look up this name in the documentation of CUDA's driver API."),
        )
