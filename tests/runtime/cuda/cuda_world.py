"""A GPU, a driver, TensorRT and an engine, all of them stand-ins, for the real classes of the runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in_driver import KernelCall, StandInDriver
from stand_in_tensorrt import StandInTensorRt

from rvm_trt.contract import tensors
from rvm_trt.engines import tensorrt_library
from rvm_trt.engines.artifact import Engine, write_engine
from rvm_trt.engines.manifest import Manifest
from rvm_trt.engines.tensorrt_library import Library
from rvm_trt.options import Backend, Graph, Precision
from rvm_trt.profile import Profile
from rvm_trt.runtime import cuda_session, cuda_stages
from rvm_trt.runtime.cuda import CudaDevice
from rvm_trt.runtime.cuda_driver import Driver
from rvm_trt.runtime.cuda_gpu import Gpu
from rvm_trt.runtime.cuda_stages import CudaStages
from rvm_trt.runtime.head_weights import HEAD_LAYOUT, head_names
from rvm_trt.runtime.kernel_cache import CompiledKernel
from rvm_trt.runtime.kernel_variants import KernelVariant, all_variants
from rvm_trt.runtime.schedule import Schedule

SMALL = Profile(width=50, height=38, ratio=0.5)
TARGETS = ("sm_80", "sm_89")


@dataclass(frozen=True, kw_only=True)
class World:
    """Stand-ins that belong together."""

    driver: StandInDriver
    tensorrt: StandInTensorRt
    engine: Engine

    @property
    def gpu(self) -> Gpu:
        """The GPU, opened once more."""
        return Gpu(Driver(self.driver))

    def stages(self, outputs: Sequence[str] = ("composite", "pha")) -> CudaStages:
        """The engine's stages, opened once more."""
        return cuda_session.make_cuda_stages(self.engine, self.gpu, outputs=outputs)

    @contextmanager
    def schedule(
        self, outputs: Sequence[str] = ("composite", "pha"), **options: Any
    ) -> Iterator[tuple[Schedule, CudaDevice]]:
        """A schedule and its device, closed as a session closes them."""
        with ExitStack() as owned:
            stages = owned.enter_context(self.stages(outputs))
            device = CudaDevice(stages.gpu)
            owned.callback(device.close)
            owned.callback(device.finish)
            yield Schedule(device, stages, **options), device


def make_world(
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    profile: Profile = SMALL,
    precision: Precision = Precision.FP16,
    backend: Backend = Backend.TENSORRT_RTX,
    targets: tuple[str, ...] = TARGETS,
    plans: Sequence[str] = ("engine.plan",),
    capability: tuple[int, int] = (8, 9),
) -> World:
    """Returns a world in which the stand-ins are installed, and kernels are their variants' names."""
    engine = make_engine(
        folder, profile=profile, precision=precision, backend=backend, targets=targets, plans=plans
    )
    driver = StandInDriver(capability=capability)
    rtx = backend is Backend.TENSORRT_RTX
    tensorrt = StandInTensorRt(driver, engine.manifest.tensors, rtx=rtx)
    make = tensorrt_library._rtx if rtx else tensorrt_library._tensorrt
    patch.setattr(cuda_session, "load_library", lambda asked: _library(make(tensorrt), asked, backend))
    patch.setattr(cuda_stages, "compile_kernel", compile_nothing)
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return World(driver=driver, tensorrt=tensorrt, engine=engine)


def make_engine(
    folder: Path,
    *,
    profile: Profile,
    precision: Precision,
    backend: Backend,
    targets: tuple[str, ...],
    plans: Sequence[str],
) -> Engine:
    """Returns an engine whose plans are their names, and whose head has random weights."""
    dtype = "float32" if precision is Precision.FP32 else "float16"
    manifest = Manifest(
        profile=profile,
        graph=Graph.CORE,
        precision=precision,
        backend=backend,
        backend_version="1.7.1.116",
        tensors=tensors(profile, Graph.CORE, dtype=dtype, trunk=True),
        targets=targets,
        checkpoint_sha256="0" * 64,
        onnx_sha256="0" * 64,
    )
    names = head_names(profile.refiner if profile.uses_refiner else None)
    generator = np.random.default_rng(5)
    weights = {name: generator.standard_normal(HEAD_LAYOUT[name]) / 8 for name in sorted(names)}

    def write(target: Path) -> dict[str, Any]:
        for plan in plans:
            (target / plan).write_bytes(plan.encode())
        np.savez(target / "head.npz", **{name: value.astype(np.float32) for name, value in weights.items()})
        return {}

    write_engine(folder / "engine", manifest, write)
    return Engine.load(folder / "engine")


def variant_of(call: KernelCall) -> KernelVariant:
    """Returns the kernel that was launched."""
    return next(variant for variant in all_variants() if variant.name == call.cubin.decode())


def compile_nothing(variant: KernelVariant, *, sm: int) -> CompiledKernel:
    """Returns a kernel that is only its variant's name."""
    return CompiledKernel(variant=variant, sm=sm, cubin=variant.name.encode(), log="")


def _library(library: Library, asked: Backend, expected: Backend) -> Library:
    assert asked is expected
    return library
