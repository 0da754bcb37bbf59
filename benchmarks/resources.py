"""What a process takes besides time: processor time, memory, and of the machine GPU use and energy.

`watch` looks at one process while a block runs. Energy and GPU use are the whole machine's, so nothing else should run:
from NVML where there is an NVIDIA GPU (the GPU's energy alone), else from RAPL (that of the processor packages, where
the kernel lets it be read). What cannot be read is None.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

POWERCAP = Path("/sys/class/powercap")
_SAMPLE_S = 0.05


@dataclass(frozen=True, kw_only=True)
class GpuUse:
    """Use of a GPU.

    Attributes:
        name: the product's.
        utilisation: share of the time in which kernels ran, 0..1, averaged.
        memory_bytes: most of its memory that was in use, by all processes.
    """

    name: str
    utilisation: float
    memory_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "utilisation": round(self.utilisation, 3),
            "memory_bytes": self.memory_bytes,
        }


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a process took during a block, or several.

    Attributes:
        wall_s: how long it was watched.
        cpu_s: processor time, user and system, of all its threads.
        peak_bytes: largest resident size since the process started.
        gpu: None without NVML.
        energy_j: None where no counter can be read.
        energy_source: ``NVML`` or ``RAPL``; None likewise.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    gpu: GpuUse | None = None
    energy_j: float | None = None
    energy_source: str | None = None

    @classmethod
    def total(cls, uses: Sequence[Use]) -> Use:
        """Returns several blocks of one process as one; energy is None where it is of any of them."""
        gpus = [use.gpu for use in uses if use.gpu is not None]
        wall_s = sum(use.wall_s for use in uses)
        energies = [use.energy_j for use in uses if use.energy_j is not None]
        whole = len(energies) == len(uses)
        return cls(
            wall_s=wall_s,
            cpu_s=sum(use.cpu_s for use in uses),
            peak_bytes=max(use.peak_bytes for use in uses),
            gpu=None
            if len(gpus) < len(uses)
            else GpuUse(
                name=gpus[0].name,
                utilisation=sum(use.wall_s * gpu.utilisation for use, gpu in zip(uses, gpus, strict=True))
                / wall_s,
                memory_bytes=max(gpu.memory_bytes for gpu in gpus),
            ),
            energy_j=sum(energies) if whole else None,
            energy_source=uses[0].energy_source if whole else None,
        )

    def to_json(self, *, frames: int, threads: int) -> dict[str, Any]:
        """Plain JSON values, per frame where the name says so.

        Args:
            frames: matted in that time.
            threads: given to the process; ``cpu_utilisation`` is the share of their time that was used.
        """
        return {
            "cpu_ms_per_frame": round(self.cpu_s * 1e3 / frames, 3),
            "cpu_utilisation": round(self.cpu_s / (self.wall_s * threads), 3),
            "peak_bytes": self.peak_bytes,
            "gpu": None if self.gpu is None else self.gpu.to_json(),
            "energy_j_per_frame": None if self.energy_j is None else round(self.energy_j / frames, 4),
            "energy_source": self.energy_source,
        }


class Rapl:
    """The energy counters of the processor packages.

    Args:
        folder: where the kernel shows them.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        # A package holds its cores and its memory controller; "psys" would count everything again.
        self._ranges = {
            domain: int((domain / "max_energy_range_uj").read_text(encoding="ascii"))
            for domain in sorted(folder.glob("intel-rapl:*"))
            if (domain / "name").read_text(encoding="ascii").startswith("package")
        }

    @classmethod
    def find(cls, folder: Path = POWERCAP) -> Rapl | None:
        """Returns the counters, or None where there are none or they may not be read (usually by root alone)."""
        try:
            rapl = cls(folder)
            return rapl if rapl.read() else None
        except OSError:
            return None

    def read(self) -> tuple[int, ...]:
        """Returns the counters in microjoules; raises `OSError`."""
        return tuple(int((domain / "energy_uj").read_text(encoding="ascii")) for domain in self._ranges)

    def joules(self, before: Sequence[int], after: Sequence[int]) -> float:
        """Returns the energy between two readings; each counter may have started again from zero once."""
        pairs = zip(before, after, self._ranges.values(), strict=True)
        return sum((last - first) % (highest + 1) for first, last, highest in pairs) * 1e-6


class Nvml:
    """The counters of one GPU, through NVIDIA's management library.

    Args:
        nvml: the module ``pynvml``, initialised; its owner shuts it down.
        index: number of the GPU.
    """

    def __init__(self, nvml: Any, index: int = 0) -> None:
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self.name: str = nvml.nvmlDeviceGetName(self._handle)

    def energy_j(self) -> float | None:
        """Returns the energy since the driver was loaded; None where this GPU does not count it."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) * 1e-3
        except self._nvml.NVMLError:
            return None

    def sample(self) -> tuple[float, int]:
        """Returns the utilisation, 0..1, of the last fraction of a second, and the memory in use in bytes."""
        rates = self._nvml.nvmlDeviceGetUtilizationRates(self._handle)
        return rates.gpu / 100, int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What the machine counts; None is what it does not."""

    nvml: Nvml | None = None
    rapl: Rapl | None = None

    def energy(self) -> float | tuple[int, ...] | None:
        """Returns a reading for `joules`."""
        if self.nvml is not None:
            return self.nvml.energy_j()
        return None if self.rapl is None else self.rapl.read()

    def joules(
        self, before: float | tuple[int, ...] | None, after: float | tuple[int, ...] | None
    ) -> tuple[float, str] | tuple[None, None]:
        """Returns the energy between two readings and its source."""
        if isinstance(before, tuple) and isinstance(after, tuple) and self.rapl is not None:
            return self.rapl.joules(before, after), "RAPL"
        if isinstance(before, float) and isinstance(after, float):
            return after - before, "NVML"
        return None, None


@contextmanager
def open_counters(*, gpu: int = 0, powercap: Path = POWERCAP) -> Iterator[Counters]:
    """Yields the counters of this machine, as far as there are any.

    Args:
        gpu: which GPU.
        powercap: where the kernel shows RAPL.
    """
    with ExitStack() as owned:
        yield Counters(nvml=_open_nvml(owned, gpu), rapl=Rapl.find(powercap))


@dataclass(kw_only=True)
class Watch:
    """A process being watched.

    Attributes:
        use: what it took; None until the block has ended.
    """

    use: Use | None = None


@contextmanager
def watch(pid: int | None = None, *, counters: Counters | None = None) -> Iterator[Watch]:
    """Watches a process while a block runs; what it took stands in the yielded object afterwards.

    Args:
        pid: the process; None is this one.
        counters: from `open_counters`; None looks at the process alone.
    """
    counters = counters or Counters()
    process = psutil.Process(pid)
    watched = Watch()
    with _sampling(counters.nvml) as samples:
        energy, cpu_s, start = counters.energy(), _cpu_s(process), time.perf_counter()
        yield watched
        wall_s = time.perf_counter() - start
        cpu_s, (energy_j, source) = _cpu_s(process) - cpu_s, counters.joules(energy, counters.energy())
    watched.use = Use(
        wall_s=wall_s,
        cpu_s=cpu_s,
        peak_bytes=_peak_bytes(process.pid),
        gpu=_gpu_use(counters.nvml, samples),
        energy_j=energy_j,
        energy_source=source,
    )


@contextmanager
def _sampling(nvml: Nvml | None) -> Iterator[list[tuple[float, int]]]:
    """Yields a list that fills with samples of the GPU while the block runs."""
    samples: list[tuple[float, int]] = []
    if nvml is None:
        yield samples
        return
    done = threading.Event()

    def sample(source: Nvml) -> None:
        samples.append(source.sample())
        while not done.wait(_SAMPLE_S):
            samples.append(source.sample())

    with ThreadPoolExecutor(1, thread_name_prefix="rvm-trt-nvml") as executor:
        sampler = executor.submit(sample, nvml)
        try:
            yield samples
        finally:
            done.set()
        sampler.result()


def _gpu_use(nvml: Nvml | None, samples: Sequence[tuple[float, int]]) -> GpuUse | None:
    if nvml is None:
        return None
    shares, sizes = zip(*samples, strict=True)
    return GpuUse(name=nvml.name, utilisation=sum(shares) / len(shares), memory_bytes=max(sizes))


def _open_nvml(owned: ExitStack, index: int) -> Nvml | None:
    try:
        nvml = import_module("pynvml")
    except ModuleNotFoundError:
        return None
    try:
        nvml.nvmlInit()
        owned.callback(nvml.nvmlShutdown)
        return Nvml(nvml, index)
    except nvml.NVMLError:  # no driver, or no such GPU
        return None


def _cpu_s(process: psutil.Process) -> float:
    if process.pid == os.getpid():
        return time.process_time()  # finer than the kernel's ticks
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise OSError(f"no VmHWM in /proc/{pid}/status")
