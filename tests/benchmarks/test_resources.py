"""What a process takes: real figures of this one, and stand-ins for the counters that a machine may lack."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from rvm_trt.benchmarks.resources import GpuUse, Rapl, Use, open_counters, watch

BURN = """
import sys, time
sys.stdin.readline()
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
print(1, flush=True)
sys.stdin.read()
"""


class FakeNvml:
    """``pynvml`` with one GPU that is half busy and takes 10 J between two looks at its counter."""

    class NVMLError(Exception):
        """As the real one."""

    def __init__(self, *, driver: bool = True, counts_energy: bool = True) -> None:
        self.open = False
        self._driver = driver
        self._counts_energy = counts_energy
        self._millijoules = 5_000
        self.nvmlInit = self._start
        self.nvmlShutdown = self._stop
        self.nvmlDeviceGetHandleByIndex = self._handle
        self.nvmlDeviceGetName = lambda handle: f"Fake GPU, {handle}"
        self.nvmlDeviceGetUtilizationRates = lambda _: self._told(gpu=50, memory=10)
        self.nvmlDeviceGetMemoryInfo = lambda _: self._told(used=3 << 30, total=8 << 30)
        self.nvmlDeviceGetTotalEnergyConsumption = self._energy

    def _start(self) -> None:
        if not self._driver:
            raise self.NVMLError("Driver Not Loaded")
        self.open = True

    def _stop(self) -> None:
        self.open = False

    def _handle(self, index: int) -> str:
        if index:
            raise self.NVMLError("Invalid Argument")
        return "handle"

    def _told(self, **values: int) -> SimpleNamespace:
        assert self.open
        return SimpleNamespace(**values)

    def _energy(self, handle: str) -> int:
        assert self.open
        if not self._counts_energy:
            raise self.NVMLError(f"Not Supported, {handle}")
        self._millijoules += 10_000
        return self._millijoules


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """A machine with two packages, one of which has a core domain, and a platform domain."""
    for name, kind, counted in (
        ("intel-rapl:0", "package-0", 1_000_000),
        ("intel-rapl:0:0", "core", 400_000),
        ("intel-rapl:1", "package-1", 262_143_000_000),
        ("intel-rapl:2", "psys", 9_000_000),
    ):
        domain = tmp_path / name
        domain.mkdir()
        (domain / "name").write_text(f"{kind}\n")
        (domain / "max_energy_range_uj").write_text("262143328850\n")
        (domain / "energy_uj").write_text(f"{counted}\n")
    return tmp_path


@pytest.fixture
def no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without NVIDIA's management library."""
    monkeypatch.setitem(sys.modules, "pynvml", None)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """A machine with a GPU."""
    module = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for a line, burns 0.3 s of processor time, says so, and waits again."""
    command = [sys.executable, "-c", BURN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.communicate()


def spent(domain: Path, microjoules: int) -> None:
    (domain / "energy_uj").write_text(f"{microjoules}\n")


@pytest.mark.usefixtures("no_nvml")
def test_this_process_is_watched(tmp_path: Path) -> None:
    with open_counters(powercap=tmp_path) as counters, watch(counters=counters) as watched:
        assert watched.use is None
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    use = watched.use
    assert use is not None
    assert use.cpu_s >= 0.05
    assert use.wall_s > 0
    assert use.peak_bytes > 10e6
    assert (use.gpu, use.energy_j, use.energy_source) == (None, None, None)


def test_another_process_is_watched(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None and child.stdout is not None
    with watch(child.pid) as watched:
        child.stdin.write(b"begin\n")
        child.stdin.flush()
        child.stdout.readline()
    assert watched.use is not None
    assert 0.19 <= watched.use.cpu_s <= 0.6
    assert 1e6 < watched.use.peak_bytes < 100e6


@pytest.mark.usefixtures("no_nvml")
def test_packages_are_counted_once_and_through_a_wrap(powercap: Path) -> None:
    with open_counters(powercap=powercap) as counters, watch(counters=counters) as watched:
        spent(powercap / "intel-rapl:0", 3_500_000)
        spent(powercap / "intel-rapl:0:0", 2_000_000)
        spent(powercap / "intel-rapl:1", 671_149)
        spent(powercap / "intel-rapl:2", 20_000_000)
    assert watched.use is not None
    # 2.5 J of the one; of the other 0.32885 J to its highest count and 0.671149 J from zero on.
    assert watched.use.energy_j == pytest.approx(3.5, abs=1e-5)
    assert watched.use.energy_source == "RAPL"


def test_no_counters_and_unreadable_ones_are_none(powercap: Path, tmp_path: Path) -> None:
    assert Rapl.find(tmp_path / "nowhere") is None
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert Rapl.find(powercap) is None


def test_a_gpu_is_watched_and_let_go(nvml: FakeNvml, powercap: Path) -> None:
    with open_counters(powercap=powercap) as counters, watch(counters=counters) as watched:
        assert nvml.open
    assert not nvml.open
    use = watched.use
    assert use is not None
    assert use.gpu == GpuUse(name="Fake GPU, handle", utilisation=0.5, memory_bytes=3 << 30)
    # The processor's counters are left out: their sum would be of neither.
    assert (use.energy_j, use.energy_source) == (pytest.approx(10.0), "NVML")


@pytest.mark.parametrize(
    "module", [FakeNvml(driver=False), FakeNvml(counts_energy=False)], ids=["no driver", "no counter"]
)
def test_what_a_gpu_does_not_tell_is_none(
    module: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    with open_counters(powercap=tmp_path) as counters, watch(counters=counters) as watched:
        pass
    assert watched.use is not None
    assert (watched.use.energy_j, watched.use.energy_source) == (None, None)
    assert (watched.use.gpu is None) == (counters.nvml is None)


@pytest.mark.usefixtures("nvml")
def test_a_gpu_that_is_not_there_is_none(tmp_path: Path) -> None:
    with open_counters(gpu=1, powercap=tmp_path) as counters:
        assert counters.nvml is None


def test_blocks_add_up() -> None:
    gpu = GpuUse(name="A", utilisation=0.2, memory_bytes=5)
    first = Use(wall_s=1.0, cpu_s=2.0, peak_bytes=10, gpu=gpu, energy_j=4.0, energy_source="NVML")
    busier = GpuUse(name="A", utilisation=0.6, memory_bytes=7)
    second = Use(wall_s=3.0, cpu_s=4.0, peak_bytes=9, gpu=busier, energy_j=6.0, energy_source="NVML")
    total = Use.total([first, second])
    assert total.to_json(frames=10, threads=2) == {
        "cpu_ms_per_frame": 600.0,
        "cpu_utilisation": 0.75,
        "peak_bytes": 10,
        "gpu": {"name": "A", "utilisation": 0.5, "memory_bytes": 7},
        "energy_j_per_frame": 1.0,
        "energy_source": "NVML",
    }
    bare = Use.total([first, Use(wall_s=1.0, cpu_s=1.0, peak_bytes=1)])
    assert (bare.gpu, bare.energy_j, bare.energy_source) == (None, None, None)
