"""Which plan of an engine fits a GPU."""

from __future__ import annotations

from pathlib import Path

from rvm_trt.engines.artifact import Engine
from rvm_trt.errors import EngineError
from rvm_trt.options import Backend
from rvm_trt.runtime.cuda_gpu import Gpu

_PLAN = "engine.plan"


def choose_plan(engine: Engine, gpu: Gpu) -> Path:
    """Returns the plan for a GPU: the one built for its compute capability alone, where there is one.

    Enterprise TensorRT names no targets: whether its plan fits, the library says when it is loaded.

    Raises:
        EngineError: the engine was not built for such a GPU.
    """
    manifest, target = engine.manifest, f"sm_{gpu.sm}"
    own = f"engine-{target}.plan"
    if manifest.backend is Backend.TENSORRT_RTX and target not in manifest.targets:
        raise EngineError(
            str(engine.path),
            got=f"a GPU of compute capability {gpu.capability[0]}.{gpu.capability[1]} ({gpu.name}, {target})",
            expected=f"one that the engine was built for: {', '.join(manifest.targets)}",
            todo=f"Build the engine for it: rvm-trt build --sm {gpu.sm} with the other options as they were.",
        )
    return engine.file(own if own in manifest.files else _PLAN)


def read_file(path: Path) -> bytes:
    """Returns a file's content; raises `EngineError` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineError(
            str(path),
            got=error.strerror or str(error),
            expected="a readable file",
            todo="Build the engine again.",
        ) from None
