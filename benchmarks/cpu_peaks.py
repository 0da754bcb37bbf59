"""What this machine's CPU reaches: memory bandwidth and matrix arithmetic, measured.

    python -m rvm_trt.benchmarks.cpu_peaks -o build/peaks.json

Bandwidth is that of a triad a = b + 2·c over arrays far larger than the caches, the three of them counted once, as
STREAM does (the processor also reads a before it writes it). Arithmetic is that of square matrix products in PyTorch
(oneDNN). The machine may be busy with other work: a product takes about a millisecond, short enough to find the
processor free now and then, all take turns, and the best of many is the peak. A median far below it tells that the
machine was busy.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.benchmarks.child import Worker
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.roofline_machine import Machine
from rvm_trt.errors import OptionError
from rvm_trt.files import atomic_file
from rvm_trt.options import Precision

_FLAGS: Mapping[Precision, frozenset[str]] = {
    Precision.BF16: frozenset({"avx512_bf16", "amx_bf16"}),
    Precision.INT8: frozenset({"avx512_vnni", "amx_int8"}),
}
_ARRAY_BYTES = 64 << 20
# The smaller finds a busy machine free more often, the larger feeds many cores.
_MATRIX_SIZES = (384, 1024)
_SECONDS = 0.7
_TURNS = 4
_TIMEOUT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A measured rate: the best and the median of the repeats."""

    best: float
    median: float


@dataclass(frozen=True, kw_only=True)
class CpuPeaks:
    """Measured peaks of a CPU.

    Attributes:
        cpu: its name.
        threads: that worked together.
        bandwidth_gbs: of the memory.
        tflops: of matrix products, two operations for each multiply-accumulate; for each precision that the processor
            has instructions for.
    """

    cpu: str
    threads: int
    bandwidth_gbs: Rate
    tflops: Mapping[Precision, Rate]

    @property
    def machine(self) -> Machine:
        """The best of everything, to bound kernels with."""
        return Machine(
            name=self.cpu,
            tflops={precision: rate.best for precision, rate in self.tflops.items()},
            vector_tflops=self.tflops[Precision.FP32].best,
            bandwidth_gbs=self.bandwidth_gbs.best,
        )

    def to_json(self) -> dict[str, Any]:
        """The peaks as plain JSON values, rounded to four digits; `from_json` is the inverse."""
        return {
            "cpu": self.cpu,
            "threads": self.threads,
            "bandwidth_gbs": _rounded(self.bandwidth_gbs),
            "tflops": {precision.value: _rounded(rate) for precision, rate in self.tflops.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CpuPeaks:
        """Returns the peaks that `to_json` wrote; raises KeyError, TypeError or ValueError where it did not."""
        return cls(
            cpu=data["cpu"],
            threads=data["threads"],
            bandwidth_gbs=Rate(**data["bandwidth_gbs"]),
            tflops={Precision(word): Rate(**rate) for word, rate in data["tflops"].items()},
        )


def measure_peaks(
    *,
    threads: int | None = None,
    array_bytes: int = _ARRAY_BYTES,
    matrix_sizes: Sequence[int] = _MATRIX_SIZES,
    seconds: float = _SECONDS,
) -> CpuPeaks:
    """Measures and returns the peaks (about seven seconds where the processor has BF16 and INT8).

    Args:
        threads: that work together; None means every processor that this process may use.
        array_bytes: of each of the triad's three arrays.
        matrix_sizes: rows and columns of the matrices; the better of the sizes counts.
        seconds: for the triad, and for each precision and size.
    """
    threads = threads or len(os.sched_getaffinity(0))
    environment = describe_environment(threads=threads)
    precisions = supported_precisions(environment["cpu_flags"])
    with ThreadPoolExecutor(threads) as pool, _torch_threads(threads):
        triad = _triad(pool, threads, array_bytes)
        products = [_product(precision, size) for precision in precisions for size in matrix_sizes]
        bandwidth, *rates = _rates([triad, *products], seconds)
    sizes = len(matrix_sizes)
    return CpuPeaks(
        cpu=environment["cpu"],
        threads=threads,
        bandwidth_gbs=bandwidth,
        tflops={
            precision: max(rates[i * sizes : (i + 1) * sizes], key=lambda rate: rate.best)
            for i, precision in enumerate(precisions)
        },
    )


def probe_peaks(*, threads: int) -> CpuPeaks:
    """As `measure_peaks`, in a process of its own: its libraries and their threads end with it (about ten seconds).

    Raises:
        BenchmarkError: the process does not answer.
    """
    command = [sys.executable, "-m", "rvm_trt.benchmarks.cpu_peaks", "--threads", str(threads), "--json"]
    with (
        tempfile.TemporaryDirectory(prefix="rvm-trt-") as folder,
        Worker(command, name="CPU peaks", log=Path(folder) / "log") as worker,
    ):
        return CpuPeaks.from_json(worker.answer(timeout_s=_TIMEOUT_S))


def supported_precisions(flags: list[str]) -> tuple[Precision, ...]:
    """Returns the precisions that a processor with these flags has matrix instructions for, FP32 first."""
    return (
        Precision.FP32,
        *(precision for precision, needed in _FLAGS.items() if needed & set(flags)),
    )


def read_peaks(path: str | os.PathLike[str]) -> CpuPeaks:
    """Returns peaks that were written as JSON; raises `OptionError` where the file is none."""
    try:
        return CpuPeaks.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            str(path),
            got=f"no peaks ({error})",
            expected="a file of 'python -m rvm_trt.benchmarks.cpu_peaks -o'",
            todo="Measure again.",
        ) from None


@dataclass(frozen=True, kw_only=True)
class _Task:
    """Something to repeat, and how much it is of what is counted."""

    run: Callable[[], object]
    amount: float


def _triad(pool: ThreadPoolExecutor, threads: int, array_bytes: int) -> _Task:
    count = max(threads, array_bytes // 4 // threads * threads)
    a, b, c = (np.full(count, value, np.float32) for value in (0, 1, 2))
    parts = [slice(i * count // threads, (i + 1) * count // threads) for i in range(threads)]
    triad = _compile_triad()
    return _Task(
        run=lambda: list(pool.map(lambda part: triad(a[part], b[part], c[part]), parts)),
        amount=3e-9 * a.nbytes,
    )


def _compile_triad() -> Callable[..., None]:
    import numba

    @numba.njit(nogil=True, fastmath=True)  # type: ignore[misc, unused-ignore]
    def triad(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], c: npt.NDArray[np.float32]) -> None:
        for i in range(a.size):
            a[i] = b[i] + np.float32(2) * c[i]

    compiled: Callable[..., None] = triad
    return compiled


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _product(precision: Precision, size: int) -> _Task:
    import torch

    amount = 2e-12 * size**3
    if precision is Precision.INT8:
        left, right = (torch.full((size, size), value, dtype=torch.int8) for value in (3, -2))
        return _Task(run=lambda: torch._int_mm(left, right), amount=amount)
    dtype = torch.bfloat16 if precision is Precision.BF16 else torch.float32
    first, second, product = (torch.full((size, size), value, dtype=dtype) for value in (0.5, 0.25, 0.0))
    return _Task(run=lambda: torch.mm(first, second, out=product), amount=amount)


def _rates(tasks: Sequence[_Task], seconds: float) -> list[Rate]:
    times: list[list[float]] = [[] for _ in tasks]
    for _ in range(_TURNS):
        for task, taken in zip(tasks, times, strict=True):
            taken.extend(_times(task.run, seconds / _TURNS))
    return [
        Rate(best=task.amount / min(taken), median=task.amount / median(taken))
        for task, taken in zip(tasks, times, strict=True)
    ]


def _times(run: Callable[[], object], seconds: float) -> Iterator[float]:
    run()  # compiles, and wakes the threads
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        start = now
        run()
        now = time.perf_counter()
        yield now - start


def _rounded(rate: Rate) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in asdict(rate).items()}


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes the file where asked, and returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, help="that work together (default: all usable)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("-o", "--output", type=Path, help="file to write as JSON")
    args = parser.parse_args(arguments)
    peaks = measure_peaks(threads=args.threads)
    if args.json:
        print(json.dumps(peaks.to_json()))
    else:
        print(table(peaks))
    if args.output:
        environment = describe_environment(threads=peaks.threads)
        document = {"benchmark": "cpu-peaks", **peaks.to_json(), "environment": environment}
        with atomic_file(args.output) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def table(peaks: CpuPeaks) -> str:
    """Returns the peaks as text."""
    lines = [
        f"{peaks.cpu}, {peaks.threads} threads; best (median)",
        f"memory  {peaks.bandwidth_gbs.best:8.1f} ({peaks.bandwidth_gbs.median:.1f}) GB/s",
    ]
    lines += [
        f"{precision.value:<7} {rate.best:8.3f} ({rate.median:.3f}) TFLOPS"
        for precision, rate in peaks.tflops.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
