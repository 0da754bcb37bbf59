"""What the schedule costs the host: microseconds of Python per frame on a device that does nothing.

``python -m rvm_trt.benchmarks.schedule_overhead [--frames 10000] [--output PATH]`` prints the median and the 99th
percentile of `submit` and `collect` together, and whether objects pile up. On a GPU the driver's own calls come on top:
the number of calls per frame is printed beside it.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.report import write_result
from rvm_trt.profile import Profile
from rvm_trt.runtime.device import Buffer, Bytes, Event, Operation, Span, Stream
from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.stages import Background, Sizes, Tensors, stage_sizes

_TARGET_US = 60.0
_WARM_UP_FRAMES = 200


class NullTransfer:
    """An inlet, an outlet or borrowed memory, without memory."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self.buffer = Buffer(name, size_bytes)
        self.upload = self.download = Operation(name=name)
        self.array: Bytes = np.empty(0, np.uint8)

    def write(self, array: Bytes) -> None:
        """Does nothing."""

    def release(self) -> None:
        """Does nothing."""

    def bind(self, memory: object) -> None:
        """Does nothing."""


class NullDevice:
    """A `Device` that counts its calls and does nothing else."""

    def __init__(self) -> None:
        self.calls = 0

    def buffer(self, name: str, size_bytes: int) -> Buffer:
        """Returns a buffer without memory."""
        return Buffer(name, size_bytes)

    def borrowed(self, name: str, size_bytes: int) -> NullTransfer:
        """Returns a buffer without memory."""
        return NullTransfer(name, size_bytes)

    def inlet(self, name: str, size_bytes: int) -> NullTransfer:
        """Returns an inlet without memory."""
        return NullTransfer(name, size_bytes)

    def outlets(self, name: str, size_bytes: int, count: int) -> tuple[NullTransfer, ...]:
        """Returns outlets without memory."""
        return tuple(NullTransfer(f"{name}.{index}", size_bytes) for index in range(count))

    def stream(self, name: str) -> Stream:
        """Returns a name."""
        return Stream(name)

    def event(self, name: str) -> Event:
        """Returns a name."""
        return Event(name)

    def fill(self, target: Span) -> Operation:
        """Returns an operation that does nothing."""
        return Operation(name="fill", writes=(target,))

    def copy(self, source: Span, target: Span) -> Operation:
        """Returns an operation that does nothing."""
        return Operation(name="copy", reads=(source,), writes=(target,))

    def graph(self, name: str, operations: Sequence[Operation], stream: Stream) -> Operation:  # noqa: ARG002
        """Returns an operation that does nothing."""
        return Operation(name=name, parts=tuple(operations))

    def activate(self) -> None:
        """Nothing to prepare."""

    def enqueue(self, operation: Operation, stream: Stream) -> None:  # noqa: ARG002
        """Counts."""
        self.calls += 1

    def record(self, event: Event, stream: Stream) -> None:  # noqa: ARG002
        """Counts."""
        self.calls += 1

    def wait(self, stream: Stream, event: Event) -> None:  # noqa: ARG002
        """Counts."""
        self.calls += 1

    def synchronize(self, event: Event) -> None:  # noqa: ARG002
        """Counts."""
        self.calls += 1

    def finish(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class NullStages:
    """Stages whose operations do nothing."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def sample(self, source: Span, target: Span) -> Operation:
        """Returns an operation that does nothing."""
        return Operation(name="sample", reads=(source,), writes=(target,))

    def core(
        self, name: str, *, src: Buffer, state: Tensors, next_state: Tensors, results: Tensors
    ) -> Operation:
        """Returns an operation that does nothing."""
        reads, writes = (src, *state), (*next_state, *results)
        return Operation(
            name=name, reads=tuple(b.span() for b in reads), writes=tuple(b.span() for b in writes)
        )

    def head(self, *, src: Buffer, hidden: Buffer, coefficients: Tensors) -> Operation:
        """Returns an operation that does nothing."""
        return Operation(name="head", reads=(src.span(), hidden.span()), writes=(coefficients[0].span(),))

    def compose(
        self,
        *,
        source: Span,
        coefficients: tuple[Span, ...],
        background: Background,  # noqa: ARG002
        outputs: tuple[Span, ...],
    ) -> Operation:
        """Returns an operation that does nothing."""
        return Operation(name="compose", reads=(source, *coefficients), writes=outputs)

    def close(self) -> None:
        """Does nothing."""


def measure(*, frames: int, depth: int = 2) -> dict[str, Any]:
    """Returns host time and growth over a number of frames, as plain JSON values.

    Each frame is one `submit` and one `collect`, with ``depth`` frames under way.
    """
    device = NullDevice()
    sizes = stage_sizes(Profile.named("4k"), ("composite",), element_bytes=2, hidden_channels=16)
    schedule = Schedule(device, NullStages(sizes), depth=depth)
    frame = (np.zeros(0, np.uint8),)
    for _ in range(depth - 1):
        schedule.submit(frame)
    _frames(schedule, frame, np.empty(_WARM_UP_FRAMES))
    calls = device.calls
    times_us = np.empty(frames)
    gc.collect()
    blocks = sys.getallocatedblocks()
    _frames(schedule, frame, times_us)
    gc.collect()
    grown = sys.getallocatedblocks() - blocks
    calls = (device.calls - calls) // frames
    median, high = (float(value) for value in np.percentile(times_us, (50, 99)))
    return {
        "frames": frames,
        "depth": depth,
        "device_calls_per_frame": calls,
        "median_us": round(median, 2),
        "p99_us": round(high, 2),
        "blocks_grown": grown,
        "traced_bytes_grown": _traced_growth(schedule, frame, frames),
    }


def _frames(schedule: Schedule, frame: Sequence[Bytes], times_us: Any) -> None:
    clock = time.perf_counter
    for index in range(len(times_us)):
        start = clock()
        schedule.submit(frame)
        schedule.collect()
        times_us[index] = (clock() - start) * 1e6


def _traced_growth(schedule: Schedule, frame: Sequence[Bytes], frames: int) -> int:
    """Returns how many bytes more are allocated after the frames; tracing makes them slow, so they are not timed."""
    times_us = np.empty(frames)
    tracemalloc.start()
    _frames(schedule, frame, times_us[:100])
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    _frames(schedule, frame, times_us)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return grown


def main() -> int:
    """Measures, prints, writes the result where asked, and returns 1 where the target is missed or objects pile up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    results = [measure(frames=options.frames, depth=depth) for depth in (2, 3)]
    for result in results:
        print(
            f"depth {result['depth']}: median {result['median_us']:.1f} µs, 99 % below {result['p99_us']:.1f} µs "
            f"for {result['device_calls_per_frame']} calls of the device per frame; over {result['frames']} frames "
            f"{result['blocks_grown']} blocks and {result['traced_bytes_grown']} traced bytes more"
        )
    if options.output:
        write_result(
            {
                "benchmark": "schedule-overhead",
                "command": f"python -m rvm_trt.benchmarks.schedule_overhead --frames {options.frames}",
                "environment": describe_environment(threads=1),
                "target_median_us": _TARGET_US,
                "results": results,
            },
            options.output,
        )
    small = all(r["median_us"] < _TARGET_US and abs(r["blocks_grown"]) < 100 for r in results)
    return 0 if small else 1


if __name__ == "__main__":
    sys.exit(main())
