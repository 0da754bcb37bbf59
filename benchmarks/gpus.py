"""Published figures of GPUs that the roofline is drawn for; what NVIDIA does not publish is None.

Tensor-core figures are dense. FP16 is with FP32 accumulation, which GeForce cards do at half the rate of FP16
accumulation; `Gpu.fp16_fast_tflops` is the latter. A fused multiply-add counts as two operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rvm_trt.benchmarks.roofline_machine import Machine
from rvm_trt.errors import OptionError
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
    """One GPU's published figures.

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


def gpu_named(key: str) -> Gpu:
    """Returns a GPU by its key; raises `OptionError` listing the keys."""
    for gpu in GPUS:
        if key.lower() == gpu.key:
            return gpu
    raise OptionError(
        "--gpu",
        got=repr(key),
        expected=f"one of {', '.join(gpu.key for gpu in GPUS)}",
        todo="Choose one of these.",
    )


# Application notes of Video Codec SDK 13.0: NVDEC, and NVENC at preset P1, CBR, low latency (the fastest listed). They
# hold at the highest video clock of the card that was measured, and scale with the clock on others of its family.
_DECODERS: Mapping[str, VideoEngine] = {
    "Pascal": VideoEngine(h264_fps=694, hevc_fps=810),
    "Turing": VideoEngine(h264_fps=771, hevc_fps=1316),
    "Ampere": VideoEngine(h264_fps=748, hevc_fps=1415),
    "Ada": VideoEngine(h264_fps=903, hevc_fps=1641),
    "Blackwell": VideoEngine(h264_fps=2172, hevc_fps=1872),
}
_ENCODERS: Mapping[str, VideoEngine] = {
    "Pascal": VideoEngine(h264_fps=667, hevc_fps=539),
    "Turing": VideoEngine(h264_fps=855, hevc_fps=932),
    "Ampere": VideoEngine(h264_fps=868, hevc_fps=943),
    "Ada": VideoEngine(h264_fps=910, hevc_fps=1055),
    "Blackwell": VideoEngine(h264_fps=977, hevc_fps=1134),
}

GPUS: tuple[Gpu, ...] = (
    Gpu(
        key="1080ti",
        name="GeForce GTX 1080 Ti",
        compute_capability=(6, 1),
        fp32_tflops=11.3,
        fp16_tflops=None,
        fp16_fast_tflops=None,
        int8_tops=45.2,
        bandwidth_gbs=484,
        l2_kib=2816,
        pcie_generation=3,
        decoder=_DECODERS["Pascal"],
        encoder=_ENCODERS["Pascal"],
        sources="NVIDIA GeForce GTX 1080 Ti specifications; INT8 is DP4A, four times FP32 (CUDA C Programming Guide, "
        "arithmetic throughput of 6.1). No tensor cores, and half arithmetic at 1/64: FP16 is storage only here.",
    ),
    Gpu(
        key="t4",
        name="T4",
        compute_capability=(7, 5),
        fp32_tflops=8.1,
        fp16_tflops=65,
        fp16_fast_tflops=65,
        int8_tops=130,
        bandwidth_gbs=320,
        l2_kib=4096,
        pcie_generation=3,
        decoder=_DECODERS["Turing"],
        encoder=_ENCODERS["Turing"],
        sources="NVIDIA T4 datasheet; Turing architecture whitepaper",
    ),
    Gpu(
        key="2080ti",
        name="GeForce RTX 2080 Ti",
        compute_capability=(7, 5),
        fp32_tflops=13.4,
        fp16_tflops=53.8,
        fp16_fast_tflops=107.6,
        int8_tops=215.2,
        bandwidth_gbs=616,
        l2_kib=5632,
        pcie_generation=3,
        decoder=_DECODERS["Turing"],
        encoder=_ENCODERS["Turing"],
        sources="NVIDIA Turing architecture whitepaper (reference card, not Founders Edition)",
    ),
    Gpu(
        key="3090",
        name="GeForce RTX 3090",
        compute_capability=(8, 6),
        fp32_tflops=35.6,
        fp16_tflops=71,
        fp16_fast_tflops=142,
        int8_tops=284,
        bandwidth_gbs=936,
        l2_kib=6144,
        pcie_generation=4,
        decoder=_DECODERS["Ampere"],
        encoder=_ENCODERS["Ampere"],
        sources="NVIDIA Ampere GA102 architecture whitepaper, appendix A",
    ),
    Gpu(
        key="4090",
        name="GeForce RTX 4090",
        compute_capability=(8, 9),
        fp32_tflops=82.6,
        fp16_tflops=165.2,
        fp16_fast_tflops=330.3,
        int8_tops=660.6,
        bandwidth_gbs=1008,
        l2_kib=73728,
        pcie_generation=4,
        decoder=_DECODERS["Ada"],
        encoder=_ENCODERS["Ada"],
        sources="NVIDIA Ada architecture whitepaper, appendix A",
    ),
    Gpu(
        key="5090",
        name="GeForce RTX 5090",
        compute_capability=(12, 0),
        fp32_tflops=104.8,
        fp16_tflops=209.5,
        fp16_fast_tflops=419,
        int8_tops=838,
        bandwidth_gbs=1792,
        l2_kib=98304,
        pcie_generation=5,
        decoder=_DECODERS["Blackwell"],
        encoder=_ENCODERS["Blackwell"],
        sources="NVIDIA RTX Blackwell architecture whitepaper, appendix A",
    ),
    Gpu(
        key="l4",
        name="L4",
        compute_capability=(8, 9),
        fp32_tflops=30.3,
        fp16_tflops=121,
        fp16_fast_tflops=121,
        int8_tops=242,
        bandwidth_gbs=300,
        l2_kib=49152,
        pcie_generation=4,
        decoder=_DECODERS["Ada"],
        encoder=_ENCODERS["Ada"],
        sources="NVIDIA L4 datasheet (half of its figures with sparsity); Ada architecture whitepaper 2.0",
    ),
    Gpu(
        key="a10",
        name="A10",
        compute_capability=(8, 6),
        fp32_tflops=31.2,
        fp16_tflops=125,
        fp16_fast_tflops=125,
        int8_tops=250,
        bandwidth_gbs=600,
        l2_kib=6144,
        pcie_generation=4,
        decoder=_DECODERS["Ampere"],
        encoder=_ENCODERS["Ampere"],
        sources="NVIDIA A10 datasheet; Ampere GA102 architecture whitepaper",
    ),
    Gpu(
        key="a100",
        name="A100 40 GB PCIe",
        compute_capability=(8, 0),
        fp32_tflops=19.5,
        fp16_tflops=312,
        fp16_fast_tflops=312,
        int8_tops=624,
        bandwidth_gbs=1555,
        l2_kib=40960,
        pcie_generation=4,
        decoder=_DECODERS["Turing"],
        encoder=None,
        sources="NVIDIA A100 architecture whitepaper; NVDEC as Turing's, scaled by an unknown clock; no NVENC",
    ),
    Gpu(
        key="h100-pcie",
        name="H100 PCIe",
        compute_capability=(9, 0),
        fp32_tflops=51,
        fp16_tflops=756,
        fp16_fast_tflops=756,
        int8_tops=1513,
        bandwidth_gbs=2000,
        l2_kib=51200,
        pcie_generation=5,
        decoder=_DECODERS["Turing"],
        encoder=None,
        sources="NVIDIA H100 datasheet (half of its figures with sparsity) and architecture whitepaper; NVDEC as "
        "Turing's, scaled by an unknown clock; no NVENC",
    ),
    Gpu(
        key="h100-sxm",
        name="H100 SXM",
        compute_capability=(9, 0),
        fp32_tflops=67,
        fp16_tflops=989,
        fp16_fast_tflops=989,
        int8_tops=1979,
        bandwidth_gbs=3350,
        l2_kib=51200,
        pcie_generation=5,
        decoder=_DECODERS["Turing"],
        encoder=None,
        sources="NVIDIA H100 datasheet (half of its figures with sparsity) and architecture whitepaper; NVDEC as "
        "Turing's, scaled by an unknown clock; no NVENC",
    ),
    Gpu(
        key="orin",
        name="Jetson AGX Orin 64 GB",
        compute_capability=(8, 7),
        fp32_tflops=5.3,
        fp16_tflops=42.5,
        fp16_fast_tflops=42.5,
        int8_tops=85,
        bandwidth_gbs=204.8,
        l2_kib=4096,
        pcie_generation=None,
        decoder=VideoEngine(h264_fps=None, hevc_fps=22 * 30),
        encoder=VideoEngine(h264_fps=None, hevc_fps=16 * 30),
        sources="NVIDIA Jetson AGX Orin technical brief and datasheet, without its DLAs; INT8 is half of 170 TOPS with "
        "sparsity, FP16 half of that (16 HMMA beside 32 IMMA); video is 22 and 16 streams of 1080p30 in H.265 together",
    ),
)
