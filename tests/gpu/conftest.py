"""What the tests on a GPU share: the GPU, our kernels on it, and engines built for it.

They have not run on a GPU yet; they did on the stand-ins of tests/runtime/cuda, with kernels and network on the CPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The kernels' tests lend their launches and their reference.
sys.path.insert(0, str(Path(__file__).parents[1] / "runtime" / "cuda"))
sys.path.insert(0, str(Path(__file__).parent))

from gpu_kernels import GpuKernels

from rvm_trt.engines.build import build_engine
from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.tensorrt_library import load_library
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import DependencyError, EngineError
from rvm_trt.options import Backend
from rvm_trt.profile import Profile
from rvm_trt.runtime.cuda_driver import Driver
from rvm_trt.runtime.cuda_gpu import Gpu


@pytest.fixture(scope="session")
def gpu() -> Iterator[Gpu]:
    """The first GPU. Without one the tests are skipped, or with RVM_TRT_REQUIRE_GPU=1 fail."""
    try:
        opened = Gpu(Driver.load())
    except (DependencyError, EngineError) as error:
        if os.environ.get("RVM_TRT_REQUIRE_GPU") == "1":
            raise
        pytest.skip(str(error))
    with opened:
        yield opened


@pytest.fixture(scope="session")
def host(gpu: Gpu) -> Iterator[GpuKernels]:
    """Our kernels on the GPU, in the place of those that the tests of tests/runtime/cuda run on the CPU."""
    with GpuKernels(gpu) as kernels:
        yield kernels


@pytest.fixture(scope="session")
def engine_for(
    gpu: Gpu, tmp_path_factory: pytest.TempPathFactory, exported: Callable[..., Path]
) -> Callable[..., Any]:
    """``engine_for(profile, precision, weights=None, calibration=None)``: a core engine for the GPU.

    For TensorRT for RTX where that serves the GPU, else for TensorRT.
    """
    folder = tmp_path_factory.mktemp("gpu")
    target = f"sm_{gpu.sm}"

    def make(
        profile: Profile,
        precision: str,
        *,
        weights: Path | None = None,
        calibration: CalibrationFootage | None = None,
    ) -> Any:
        rtx = target in load_library(Backend.TENSORRT_RTX).known_targets
        engines = folder / ("steady" if weights is None else weights.stem) / "engines"
        return build_engine(
            exported(profile, "core", weights),
            backend=Backend.TENSORRT_RTX if rtx else Backend.TENSORRT,
            precision=precision,
            engines=engines,
            options=TensorRtOptions(targets=(target,)) if rtx else None,
            calibration=calibration,
        )

    return make
