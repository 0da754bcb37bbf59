"""A plugin for pytest that puts the stand-ins in the place of GPU, driver and TensorRT: ``pytest -p stand_in_plugin``.

It shows that the tests of a GPU still run, not what a GPU does: kernels do nothing, and the network gives constants.
"""

from __future__ import annotations

from typing import Any

import cuda_world
from stand_in_driver import StandInDriver
from stand_in_tensorrt import StandInTensorRt

from rvm_trt.engines import tensorrt_library
from rvm_trt.engines.artifact import Engine
from rvm_trt.runtime import cuda_session, cuda_stages
from rvm_trt.runtime.cuda_driver import Driver


def pytest_configure() -> None:
    driver, make = StandInDriver(), cuda_session.make_cuda_stages

    def make_cuda_stages(engine: Engine, *arguments: Any, **options: Any) -> Any:
        library = tensorrt_library._rtx(StandInTensorRt(driver, engine.manifest.tensors))
        cuda_session.load_library = lambda _: library
        return make(engine, *arguments, **options)

    Driver.load = classmethod(lambda cls: cls(driver))
    cuda_stages.compile_kernel = cuda_world.compile_nothing
    cuda_session.make_cuda_stages = make_cuda_stages
