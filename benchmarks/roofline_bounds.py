"""Bounds of a frame on a machine: the engine, our own kernels, the copies, and what the schedule makes of them.

Everything here is modelled. A kernel takes at least what its arithmetic, its memory traffic or a launch asks for, the
largest of the three; kernels of a stream follow each other. An engine may consist of more kernels than the graph's
nodes make by rule, so the rule's kernels share the launches of the engine evenly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from rvm_trt.benchmarks.gpu import Gpu
from rvm_trt.benchmarks.roofline_graph import Network, Work, by_stage
from rvm_trt.benchmarks.roofline_kernels import KernelWork, frame_kernels, output_bytes, picture_bytes
from rvm_trt.benchmarks.roofline_machine import Bound, Machine, StageBound, bound
from rvm_trt.engines.launches import LAUNCH_US
from rvm_trt.options import Precision
from rvm_trt.profile import Profile
from rvm_trt.runtime.pixels import PixelFormat

_ELEMENT_BYTES = {Precision.FP32: 4, Precision.BF16: 2, Precision.FP16: 2}


@dataclass(frozen=True, kw_only=True)
class FrameModel:
    """A profile's frame, ready to be bounded on any machine.

    Attributes:
        profile: sizes.
        network: of the trunk, or of a whole core or full graph.
        kernels: names of our own kernels that run around it: all three around a trunk, without ``head`` around a
            whole core, none around a full graph.
        launches: kernels that the engine launches; None takes the rule's own count.
        launch_us: least time of a kernel.
        int8: names of the convolutions that run in INT8; None means every dense one of the decoder.
        pixel_format: of frame and composite.
        outputs: that compose writes.
    """

    profile: Profile
    network: Network
    kernels: tuple[str, ...] = ("sample", "head", "compose")
    launches: int | None = None
    launch_us: float = LAUNCH_US
    int8: Collection[str] | None = None
    pixel_format: PixelFormat = PixelFormat.RGB8
    outputs: Sequence[str] = field(default=("composite",))

    def own_kernels(self, precision: Precision) -> tuple[KernelWork, ...]:
        """Returns the work of our own kernels around an engine of this precision."""
        works = frame_kernels(
            self.profile,
            element_bytes=_ELEMENT_BYTES.get(precision, 2),
            pixel_format=self.pixel_format,
            outputs=self.outputs,
        )
        return tuple(work for work in works if work.name in self.kernels)

    @property
    def copied_bytes(self) -> Mapping[str, int]:
        """Bytes of a frame's ``upload`` and of its outputs' ``download``; 0 where the graph is all there is."""
        if not self.kernels:
            return {"upload": 0, "download": 0}
        return {
            "upload": picture_bytes(self.profile, self.pixel_format),
            "download": output_bytes(self.profile, self.pixel_format, self.outputs),
        }

    def runs_in_int8(self, work: Work) -> bool:
        """Returns whether a kernel is an INT8 convolution at INT8 precision."""
        if self.int8 is not None:
            return work.name in self.int8
        return work.dense and work.op == "Conv" and work.stage.startswith("decoder")


@dataclass(frozen=True, kw_only=True)
class FrameBound:
    """The least times of one frame, in milliseconds.

    Attributes:
        engine: stages of the engine in order.
        own: our own kernels by name.
        upload_ms, download_ms: copies between host and device.
        ideal: arithmetic and compulsory traffic (weights, states, frame, outputs once), with everything between them
            in cache and no launches: no implementation of the same arithmetic is faster.
    """

    engine: tuple[StageBound, ...]
    own: Mapping[str, Bound]
    upload_ms: float
    download_ms: float
    ideal: Bound

    @property
    def ideal_ms(self) -> float:
        """The longer of the ideal's arithmetic and traffic."""
        return self.ideal.ms

    @property
    def engine_ms(self) -> float:
        """The engine alone."""
        return sum(stage.ms for stage in self.engine)

    @property
    def device_ms(self) -> float:
        """The engine and our own kernels, one after the other; no copies."""
        return self.engine_ms + sum(kernel.ms for kernel in self.own.values())

    @property
    def latency_ms(self) -> float:
        """A frame that is alone, from host memory to host memory."""
        return self.upload_ms + self.device_ms + self.download_ms

    def streams(self, *, copies: bool = True) -> dict[str, float]:
        """Returns the busy time of each stream of the schedule, and of the memory and the arithmetic that all share.

        Args:
            copies: whether frames come from and go to the host.
        """
        own = {name: kernel.ms for name, kernel in self.own.items()}
        kernels = [kernel for stage in self.engine for kernel in stage.kernels] + list(self.own.values())
        return {
            "in": self.upload_ms * copies + own.get("sample", 0.0),
            "net": self.engine_ms + own.get("head", 0.0),
            "out": own.get("compose", 0.0) + self.download_ms * copies,
            "memory": sum(kernel.memory_ms for kernel in kernels),
            "compute": sum(kernel.compute_ms for kernel in kernels),
        }

    def period_ms(self, *, copies: bool = True) -> float:
        """Returns the least time from one frame to the next while frames overlap: the busiest of `streams`."""
        return max(self.streams(copies=copies).values())

    def slowest(self, *, copies: bool = True) -> str:
        """Returns which of `streams` that is."""
        streams = self.streams(copies=copies)
        return max(streams, key=streams.__getitem__)


def frame_bound(model: FrameModel, machine: Machine, precision: Precision) -> FrameBound:
    """Returns the bounds of a frame."""
    works = model.own_kernels(precision)
    own = {work.name: _own_bound(work, model, machine) for work in works}
    upload, download = (machine.copy_ms(size) for size in model.copied_bytes.values())
    engine = engine_bound(model, machine, precision)
    return FrameBound(
        engine=engine,
        own=own,
        upload_ms=upload,
        download_ms=download,
        ideal=_ideal(model, machine, precision, engine, own),
    )


def engine_bound(model: FrameModel, machine: Machine, precision: Precision) -> tuple[StageBound, ...]:
    """Returns the bounds of the engine's stages, in order."""
    kernels = model.network.kernels
    launches = len(kernels) if model.launches is None else model.launches
    launch_ms = model.launch_us * launches / len(kernels) / 1e3
    return tuple(
        StageBound(
            name=stage,
            kernels=tuple(_work_bound(work, model, machine, precision, launch_ms) for work in works),
        )
        for stage, works in by_stage(kernels).items()
    )


def engine_ms(model: FrameModel, machine: Machine, precision: Precision) -> float:
    """Returns the least time of one run of the engine."""
    return sum(stage.ms for stage in engine_bound(model, machine, precision))


def kernel_ms(model: FrameModel, machine: Machine, precision: Precision, name: str) -> float:
    """Returns the least time of one of our own kernels: ``sample``, ``head`` or ``compose``."""
    (work,) = (work for work in model.own_kernels(precision) if work.name == name)
    return _own_bound(work, model, machine).ms


def copy_ms(model: FrameModel, machine: Machine, direction: str) -> float:
    """Returns the least time of a frame's ``upload`` or of its outputs' ``download``; 0 where memory is shared."""
    return machine.copy_ms(model.copied_bytes[direction])


def file_fps(frame: FrameBound, gpu: Gpu, codec: str, *, width: int, height: int) -> float | None:
    """Returns the most frames per second from file to file with NVDEC and NVENC and frames that stay on the device.

    Args:
        frame: bounds with NV12 frames.
        gpu: where it runs.
        codec: of both files, ``h264`` or ``hevc``.
        width, height: of the frame.

    Returns:
        The rate of the slowest of decoder, kernels and encoder; None where the GPU has no such engine or its rate is
        not published.
    """
    rates = [
        engine.fps(codec, width=width, height=height) if engine is not None else None
        for engine in (gpu.decoder, gpu.encoder)
    ]
    known = [rate for rate in rates if rate is not None]
    return min(*known, 1e3 / frame.period_ms(copies=False)) if len(known) == len(rates) else None


def moved_bytes(work: Work, precision: Precision, *, int8: bool = False) -> int:
    """Returns what a kernel moves; one in INT8 reads bytes, also as weights, and writes at the precision around it."""
    size = _ELEMENT_BYTES[precision]
    return (work.weights + work.read) * (1 if int8 else size) + work.written * size


def _work_bound(
    work: Work, model: FrameModel, machine: Machine, precision: Precision, launch_ms: float
) -> Bound:
    int8 = precision is Precision.INT8 and model.runs_in_int8(work)
    around = _around(machine, precision)
    return bound(
        machine,
        name=work.name,
        stage=work.stage,
        macs=work.macs,
        size=moved_bytes(work, around, int8=int8),
        precision=(precision if int8 else around) if work.dense else None,
        launch_ms=launch_ms,
    )


def _around(machine: Machine, precision: Precision) -> Precision:
    """Returns the precision of what is not quantised: half, on CPUs bfloat16, where the machine has it."""
    if precision is not Precision.INT8:
        return precision
    halves = (each for each in (Precision.FP16, Precision.BF16) if each in machine.tflops)
    return next(halves, Precision.FP32)


def _own_bound(work: KernelWork, model: FrameModel, machine: Machine) -> Bound:
    return bound(
        machine,
        name=work.name,
        stage=work.name,
        macs=work.macs,
        size=work.read_bytes + work.written_bytes,
        precision=None,
        launch_ms=model.launch_us / 1e3,
    )


def _ideal(
    model: FrameModel,
    machine: Machine,
    precision: Precision,
    engine: Sequence[StageBound],
    own: Mapping[str, Bound],
) -> Bound:
    bounds = [kernel for stage in engine for kernel in stage.kernels] + list(own.values())
    size = _ELEMENT_BYTES[_around(machine, precision)]
    weights = model.network.parameters * (1 if precision is Precision.INT8 else size)
    if model.kernels:
        states = 2 * size * sum(prod(shape) for shape in model.profile.state_shapes)
        compulsory = weights + states + sum(model.copied_bytes.values())
    else:
        compulsory = weights + size * (model.network.inputs + model.network.outputs)
    return Bound(
        name="ideal",
        stage="frame",
        macs=sum(kernel.macs for kernel in bounds),
        bytes=compulsory,
        compute_ms=sum(kernel.compute_ms for kernel in bounds),
        memory_ms=compulsory / machine.bandwidth_gbs / 1e6,
        launch_ms=0.0,
    )
