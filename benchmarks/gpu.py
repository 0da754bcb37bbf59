"""A GPU in published figures: what it computes, moves, copies, decodes and encodes."""

from __future__ import annotations

from dataclasses import dataclass

from rvm_trt.benchmarks.roofline_machine import Machine
from rvm_trt.options import Precision

# Bytes that a transfer of 256 bytes adds on the link: 16 of header, 6 of sequence number and checksum, 4 of framing.
_PCIE_EFFICIENCY = 256 / (256 + 16 + 6 + 4)
# Per direction, 16 lanes, after 128b/130b coding, in GB/s.
_PCIE_GBS = {generation: 16 * rate / 8 * 128 / 130 for generation, rate in ((3, 8), (4, 16), (5, 32))}
_HD_PIXELS = 1920 * 1080


@dataclass(frozen=True, kw_only=True)
class VideoEngine:
    """Frames per second of 1920x1080 that one hardware codec engine handles of a single 4:2:0, 8-bit stream.

    Attributes:
        h264_fps, hevc_fps: None where not published.
    """

    h264_fps: float | None
    hevc_fps: float | None

    def fps(self, codec: str, *, width: int, height: int) -> float | None:
        """Returns the rate for a frame size, taken as proportional to pixels; codec is ``h264`` or ``hevc``."""
        rate = {"h264": self.h264_fps, "hevc": self.hevc_fps}[codec]
        return None if rate is None else rate * _HD_PIXELS / (width * height)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU's published figures; what NVIDIA does not publish is None.

    Tensor-core figures are dense. FP16 is with FP32 accumulation, which GeForce cards do at half the rate of FP16
    accumulation. A fused multiply-add counts as two operations.

    Attributes:
        key: the word on the command line.
        name: as NVIDIA writes it.
        compute_capability: major and minor.
        fp32_tflops: of the CUDA cores.
        fp16_tflops: of the tensor cores, dense, FP32 accumulation; None without tensor cores.
        fp16_fast_tflops: the same with FP16 accumulation.
        int8_tops: dense.
        bandwidth_gbs: of the device memory.
        l2_kib: level-2 cache.
        pcie_generation: of a 16-lane link; None where the memory is shared with the host.
        decoder, encoder: NVDEC and NVENC; None where the GPU has none.
        sources: where the figures are published.
    """

    key: str
    name: str
    compute_capability: tuple[int, int]
    fp32_tflops: float
    fp16_tflops: float | None
    fp16_fast_tflops: float | None
    int8_tops: float
    bandwidth_gbs: float
    l2_kib: int
    pcie_generation: int | None
    decoder: VideoEngine | None
    encoder: VideoEngine | None
    sources: str

    @property
    def pcie_gbs(self) -> float | None:
        """What a large copy can reach in one direction, in GB/s; None where there is nothing to copy over."""
        return None if self.pcie_generation is None else _PCIE_GBS[self.pcie_generation] * _PCIE_EFFICIENCY

    @property
    def machine(self) -> Machine:
        """The peaks that bound a kernel; a precision without units of its own runs at the FP32 rate."""
        fp16 = self.fp16_tflops or self.fp32_tflops
        return Machine(
            name=self.name,
            tflops={Precision.FP32: self.fp32_tflops, Precision.FP16: fp16, Precision.INT8: self.int8_tops},
            vector_tflops=self.fp32_tflops,
            bandwidth_gbs=self.bandwidth_gbs,
            cache_bytes=self.l2_kib * 1024,
            copy_gbs=self.pcie_gbs,
        )
