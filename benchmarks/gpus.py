"""The GPUs that the roofline is drawn for, in published figures.

What of them was checked, and what was not found again, stands in docs/roofline.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from rvm_trt.benchmarks.gpu import Gpu, VideoEngine
from rvm_trt.errors import OptionError


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
