"""Opening an engine: its stages, a device of its own, and the way for frames in the caller's memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from rvm_trt.engines.artifact import Engine
from rvm_trt.errors import EngineError
from rvm_trt.options import Backend, Graph, Precision
from rvm_trt.runtime.cpu import CpuDevice
from rvm_trt.runtime.cpu_stages import CpuStages
from rvm_trt.runtime.device import Device
from rvm_trt.runtime.head_weights import read_head
from rvm_trt.runtime.lending import CpuLending, Lending
from rvm_trt.runtime.openvino_core import OpenVinoCore
from rvm_trt.runtime.stages import Stages


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What one schedule needs; all belongs to whoever opened it."""

    stages: Stages
    device: Device
    lending: Lending


def open_engine(
    engine: Engine, outputs: Sequence[str], *, threads: int, gpu: int, owned: ExitStack
) -> Opened:
    """Opens a verified engine on the device that it was built for. Nothing of it ran on a GPU yet.

    Args:
        engine: a core engine of batch 1.
        outputs: what ``compose`` is to write.
        threads: of a CPU engine.
        gpu: number of the GPU, for a TensorRT engine.
        owned: closes everything, in the right order.

    Raises:
        EngineError: it is another kind of engine, or it cannot run here.
        DependencyError: a library that it needs is not installed.
    """
    _check(engine)
    if engine.manifest.backend is Backend.CPU:
        stages = owned.enter_context(open_cpu_stages(engine, outputs, threads=threads))
        device = CpuDevice()
        owned.callback(device.close)
        lending = CpuLending(engine.profile, outputs)
        owned.callback(lending.close)
        owned.callback(device.finish)  # first: then nothing lent is in use
        return Opened(stages=stages, device=device, lending=lending)
    return _open_on_gpu(engine, outputs, gpu=gpu, owned=owned)


def open_cpu_stages(engine: Engine, outputs: Sequence[str], *, threads: int) -> CpuStages:
    """Returns the stages of a core engine of the ``cpu`` backend, to be closed after their schedules.

    Raises:
        EngineError: OpenVINO cannot run it here, or its head does not read.
        DependencyError: OpenVINO or numba is not installed.
    """
    head, half = read_head(engine), engine.manifest.precision is not Precision.FP32
    core = OpenVinoCore.load(engine, threads=threads)
    return CpuStages(core, engine.profile, outputs=outputs, threads=threads, head=head, half=half)


def _open_on_gpu(engine: Engine, outputs: Sequence[str], *, gpu: int, owned: ExitStack) -> Opened:
    from rvm_trt.runtime.cuda import CudaDevice
    from rvm_trt.runtime.cuda_lending import lend_on_gpu
    from rvm_trt.runtime.cuda_session import open_cuda_stages

    stages = open_cuda_stages(engine, outputs=outputs, ordinal=gpu)
    owned.callback(stages.close)
    device = CudaDevice(stages.gpu)
    owned.callback(device.close)
    lending = lend_on_gpu(device, stages.gpu, engine.profile, outputs)
    owned.callback(lending.close)
    owned.callback(device.finish)
    return Opened(stages=stages, device=device, lending=lending)


def _check(engine: Engine) -> None:
    manifest = engine.manifest
    facts = {
        "graph": (manifest.graph.value, Graph.CORE.value),
        "batch": (manifest.profile.batch, 1),
    }
    for name, (got, expected) in facts.items():
        if got != expected:
            raise EngineError(
                f"{engine.path}, {name}",
                got=repr(got),
                expected=repr(expected),
                todo="Build an engine that a session runs: graph 'core', batch 1.",
            )
