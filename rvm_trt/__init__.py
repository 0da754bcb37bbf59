"""Robust Video Matting from a PyTorch checkpoint to a real-time matting session.

The names below load on first use, so that ``import rvm_trt`` needs no library beyond Python itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvm_trt.engines.artifact import Engine as Engine
    from rvm_trt.engines.build import build_engine as build_engine
    from rvm_trt.errors import RvmTrtError as RvmTrtError
    from rvm_trt.export.onnx_graph import export_onnx as export_onnx
    from rvm_trt.profile import Profile as Profile
    from rvm_trt.runtime.matte import Matte as Matte
    from rvm_trt.runtime.session import MattingSession as MattingSession

_HOMES = {
    "Engine": "rvm_trt.engines.artifact",
    "Matte": "rvm_trt.runtime.matte",
    "MattingSession": "rvm_trt.runtime.session",
    "Profile": "rvm_trt.profile",
    "RvmTrtError": "rvm_trt.errors",
    "build_engine": "rvm_trt.engines.build",
    "export_onnx": "rvm_trt.export.onnx_graph",
}

__all__ = [
    "Engine",
    "Matte",
    "MattingSession",
    "Profile",
    "RvmTrtError",
    "__version__",
    "build_engine",
    "export_onnx",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # slow to import, and hardly ever needed

        return metadata.version("rvm-trt")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rvm_trt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
