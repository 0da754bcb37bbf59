"""Bands: the rows of a frame shared among threads, for kernels that release Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any


class Bands:
    """Runs a kernel on horizontal bands of a frame, one band a thread; the calling thread takes the first.

    Args:
        threads: number of bands, at least 1.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(max(threads - 1, 1), thread_name_prefix="rvm-band")

    def run(self, kernel: Callable[..., None], rows: int, *args: Any) -> None:
        """Calls ``kernel(band, first_row, last_row, *args)`` for every band, and returns when all have ended."""
        edges = [rows * band // self.threads for band in range(self.threads + 1)]
        others = [
            self._pool.submit(kernel, band, edges[band], edges[band + 1], *args)
            for band in range(1, self.threads)
        ]
        kernel(0, edges[0], edges[1], *args)
        for other in others:
            other.result()

    def close(self) -> None:
        """Ends the threads. May be called twice."""
        self._pool.shutdown()

    def __enter__(self) -> Bands:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def available_threads() -> int:
    """Returns the number of CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
