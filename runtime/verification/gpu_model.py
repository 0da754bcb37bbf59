"""How long things take on a GPU, from data sheets: a small model, to be replaced by a roofline and by measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rvm_trt.engines.launches import LAUNCH_US, TRUNK_KERNELS
from rvm_trt.errors import OptionError
from rvm_trt.profile import Profile


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU in numbers, and its host.

    Attributes:
        name: as it is sold.
        memory_bytes_per_s: peak bandwidth of its memory, from the data sheet.
        macs_per_s: dense multiply-accumulates in half precision on tensor cores, half of the data sheet's TFLOPS.
        copy_bytes_per_s: one way over PCIe x16; about 80 % of the link's raw rate, as page-locked copies reach.
        kernel_s: least time of a kernel within a graph. An assumption, the same as the roofline's.
        call_s: host time of one call of the driver. An assumption.
        host_copy_bytes_per_s: one thread's copy into page-locked memory. An assumption.
    """

    name: str
    memory_bytes_per_s: float
    macs_per_s: float
    copy_bytes_per_s: float
    kernel_s: float = LAUNCH_US * 1e-6
    call_s: float = 2e-6
    host_copy_bytes_per_s: float = 10e9


def gpus() -> Mapping[str, Gpu]:
    """Returns the GPUs by name.

    Sources: NVIDIA's white papers on GA102 (RTX 3090: 936 GB/s, 142 TFLOPS FP16 tensor with FP16 accumulation, PCIe
    4.0), AD102 (RTX 4090: 1008 GB/s, 330 TFLOPS, PCIe 4.0) and the T4 data sheet (320 GB/s, 65 TFLOPS, PCIe 3.0).
    """
    table = (
        Gpu(name="RTX 3090", memory_bytes_per_s=936e9, macs_per_s=71e12, copy_bytes_per_s=25e9),
        Gpu(name="RTX 4090", memory_bytes_per_s=1008e9, macs_per_s=165e12, copy_bytes_per_s=25e9),
        Gpu(name="T4", memory_bytes_per_s=320e9, macs_per_s=32.5e12, copy_bytes_per_s=12.5e9),
    )
    return {gpu.name: gpu for gpu in table}


def named_gpu(name: str) -> Gpu:
    """Returns a GPU; raises `OptionError` where there are no numbers of it."""
    table = gpus()
    if name not in table:
        raise OptionError(
            "gpu", got=repr(name), expected=" or ".join(map(repr, table)), todo="Name one of these."
        )
    return table[name]


@dataclass(frozen=True, kw_only=True)
class Network:
    """The work of the core for one frame of one lane.

    Attributes:
        macs: multiply-accumulates of its convolutions.
        kernels: kernels of its engine.
    """

    macs: float
    kernels: int


def network_of(profile: Profile) -> Network:
    """Returns the work of a profile's core.

    From the mobilenetv3 core at 480×270: 4.076e9 multiply-accumulates in convolutions, which grow with the number of
    low-resolution pixels, and the kernels of its FP16 plan.
    """
    return Network(macs=4.076e9 / (480 * 270) * profile.low_width * profile.low_height, kernels=TRUNK_KERNELS)


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Durations of a schedule's operations on one GPU."""

    gpu: Gpu
    network: Network
    lanes: int = 1
    sample_share: float = 1.0  # of the frame that `sample` reads

    @classmethod
    def of(cls, gpu: Gpu, profile: Profile) -> CostModel:
        """Returns the model of a profile.

        ``sample`` reads two rows of the frame for each row of its output, and these whole: pixels are closer than the
        smallest piece that memory gives.
        """
        share = min(1.0, 2 * profile.ratio)
        return cls(gpu=gpu, network=network_of(profile), lanes=profile.batch, sample_share=share)

    def seconds(self, name: str, read_bytes: int, written_bytes: int) -> float:
        """Returns how long an operation takes by itself, by its name."""
        if name.startswith(("upload", "download")):
            return self.gpu.kernel_s + written_bytes / self.gpu.copy_bytes_per_s
        if name.startswith("core"):
            work = self.lanes * self.network.macs / self.gpu.macs_per_s
            return max(work, self.network.kernels * self.gpu.kernel_s)
        if name == "sample":
            read_bytes = int(read_bytes * self.sample_share)
        return max(self.gpu.kernel_s, (read_bytes + written_bytes) / self.gpu.memory_bytes_per_s)

    def engine(self, name: str) -> str:
        """Returns the part of the GPU that an operation keeps busy: one for each way of copying, one for kernels."""
        return name.split()[0] if name.startswith(("upload", "download")) else "kernels"
