"""What a session needs to run a TensorRT engine: the GPU, the network, the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.tensorrt_library import load_library
from rvm_trt.runtime.cuda_driver import Driver
from rvm_trt.runtime.cuda_gpu import Gpu
from rvm_trt.runtime.cuda_stages import CudaStages
from rvm_trt.runtime.head_weights import read_head
from rvm_trt.runtime.tensorrt import TensorRtNetwork


def open_cuda_stages(engine: Engine, *, outputs: Sequence[str], ordinal: int = 0) -> CudaStages:
    """Returns the stages of a core engine of TensorRT or TensorRT for RTX, to be closed after its schedules.

    A schedule takes a device of its own: ``Schedule(CudaDevice(stages.gpu), stages)``.

    Args:
        engine: as `Engine.load` verified it just now: what is in a plan is run.
        outputs: names of the outputs that ``compose`` writes.
        ordinal: which GPU, as ``CUDA_VISIBLE_DEVICES`` numbers them.

    Raises:
        DependencyError: a package that CUDA or TensorRT needs is not installed.
        EngineError: there is no GPU with a driver, or the engine does not run on it.
        OptionError: there is no GPU with this number.
    """
    return make_cuda_stages(engine, Gpu(Driver.load(), ordinal), outputs=outputs)


def make_cuda_stages(engine: Engine, gpu: Gpu, *, outputs: Sequence[str]) -> CudaStages:
    """As `open_cuda_stages`, on a GPU that is closed with the stages, or where this raises."""
    manifest = engine.manifest
    with ExitStack() as owned:
        owned.enter_context(gpu)
        network = TensorRtNetwork(engine, load_library(manifest.backend), gpu)
        owned.callback(network.close)
        stages = CudaStages(
            gpu,
            network,
            engine.profile,
            outputs=outputs,
            half=manifest.dtype == "float16",
            head=read_head(engine) if manifest.trunk else None,
        )
        owned.pop_all()
    return stages
