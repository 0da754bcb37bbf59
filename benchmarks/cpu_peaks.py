"""What this machine's CPU reaches: memory bandwidth and matrix arithmetic, measured.

    python -m rvm_trt.benchmarks.cpu_peaks -o build/peaks.json

Bandwidth is that of a triad a = b + 2·c over arrays far larger than the caches, the three of them counted once, as
STREAM does (the processor also reads a before it writes it). Arithmetic is that of square matrix products in PyTorch
(oneDNN). The machine may be busy with other work: the best of many short repeats is the peak, and a median far below
it tells that the machine was busy and the peak perhaps too low.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch

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
_MATRIX_SIZE = 1024
_REPEATS = 25


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
        environment: where it was measured.
    """

    cpu: str
    threads: int
    bandwidth_gbs: Rate
    tflops: Mapping[Precision, Rate]
    environment: Mapping[str, Any]

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
        """The peaks as plain JSON values; `read_peaks` is the inverse."""
        return {
            "benchmark": "cpu-peaks",
            "cpu": self.cpu,
            "threads": self.threads,
            "bandwidth_gbs": vars(self.bandwidth_gbs),
            "tflops": {precision.value: vars(rate) for precision, rate in self.tflops.items()},
            "environment": dict(self.environment),
        }


def measure_peaks(
    *,
    threads: int | None = None,
    array_bytes: int = _ARRAY_BYTES,
    matrix_size: int = _MATRIX_SIZE,
    repeats: int = _REPEATS,
) -> CpuPeaks:
    """Measures and returns the peaks (about four seconds).

    Args:
        threads: that work together; None means every processor that this process may use.
        array_bytes: of each of the triad's three arrays.
        matrix_size: rows and columns of each matrix.
        repeats: of everything, after one more that is not counted.
    """
    threads = threads or len(os.sched_getaffinity(0))
    environment = describe_environment(threads=threads)
    return CpuPeaks(
        cpu=environment["cpu"],
        threads=threads,
        bandwidth_gbs=_bandwidth(threads, array_bytes, repeats),
        tflops={
            precision: _product_rate(precision, threads, matrix_size, repeats)
            for precision in supported_precisions(environment["cpu_flags"])
        },
        environment=environment,
    )


def supported_precisions(flags: list[str]) -> tuple[Precision, ...]:
    """Returns the precisions that a processor with these flags has matrix instructions for, FP32 first."""
    return (
        Precision.FP32,
        *(precision for precision, needed in _FLAGS.items() if needed & set(flags)),
    )


def read_peaks(path: str | os.PathLike[str]) -> CpuPeaks:
    """Returns peaks that were written as JSON; raises `OptionError` where the file is none."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        return CpuPeaks(
            cpu=data["cpu"],
            threads=data["threads"],
            bandwidth_gbs=Rate(**data["bandwidth_gbs"]),
            tflops={Precision(word): Rate(**rate) for word, rate in data["tflops"].items()},
            environment=data["environment"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            str(path),
            got=f"no peaks ({error})",
            expected="a file of 'python -m rvm_trt.benchmarks.cpu_peaks -o'",
            todo="Measure again.",
        ) from None


def _bandwidth(threads: int, array_bytes: int, repeats: int) -> Rate:
    count = max(threads, array_bytes // 4 // threads * threads)
    a, b, c = (np.full(count, value, np.float32) for value in (0, 1, 2))
    parts = [slice(i * count // threads, (i + 1) * count // threads) for i in range(threads)]
    triad = _compile_triad()
    with ThreadPoolExecutor(threads) as pool:
        return _rate(
            lambda: list(pool.map(lambda part: triad(a[part], b[part], c[part]), parts)),
            3e-9 * a.nbytes,
            repeats,
        )


def _compile_triad() -> Callable[..., None]:
    @numba.njit(nogil=True, fastmath=True)  # type: ignore[misc, unused-ignore]
    def triad(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], c: npt.NDArray[np.float32]) -> None:
        for i in range(a.size):
            a[i] = b[i] + np.float32(2) * c[i]

    compiled: Callable[..., None] = triad
    return compiled


def _product_rate(precision: Precision, threads: int, size: int, repeats: int) -> Rate:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _rate(_product(precision, size), 2e-12 * size**3, repeats)
    finally:
        torch.set_num_threads(before)


def _product(precision: Precision, size: int) -> Callable[[], object]:
    if precision is Precision.INT8:
        left, right = (torch.full((size, size), value, dtype=torch.int8) for value in (3, -2))
        return lambda: torch._int_mm(left, right)
    dtype = torch.bfloat16 if precision is Precision.BF16 else torch.float32
    first, second = (torch.full((size, size), value, dtype=dtype) for value in (0.5, 0.25))
    return lambda: first @ second


def _rate(run: Callable[[], object], amount: float, repeats: int) -> Rate:
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return Rate(best=amount / min(seconds), median=amount / median(seconds))


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes the file where asked, and returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, help="that work together (default: all usable)")
    parser.add_argument("-o", "--output", type=Path, help="file to write as JSON")
    args = parser.parse_args(arguments)
    peaks = measure_peaks(threads=args.threads)
    print(f"{peaks.cpu}, {peaks.threads} threads; best (median) of {_REPEATS}")
    print(f"memory  {peaks.bandwidth_gbs.best:8.1f} ({peaks.bandwidth_gbs.median:.1f}) GB/s")
    for precision, rate in peaks.tflops.items():
        print(f"{precision.value:<7} {rate.best:8.3f} ({rate.median:.3f}) TFLOPS")
    if args.output:
        with atomic_file(args.output) as temporary:
            temporary.write_text(json.dumps(peaks.to_json(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
