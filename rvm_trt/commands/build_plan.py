"""What ``rvm-trt build`` is going to build: backends, precisions, options and footage from its arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.tensorrt_options import TensorRtOptions, parse_targets
from rvm_trt.errors import DependencyError, OptionError, RvmTrtError
from rvm_trt.options import Backend, Precision


@dataclass(frozen=True, kw_only=True)
class Step:
    """One engine to build.

    Attributes:
        backend, precision: what for.
        options: of TensorRT.
        calibration: footage, or None where none is needed.
    """

    backend: Backend
    precision: Precision
    options: TensorRtOptions
    calibration: CalibrationFootage | None


def plan_builds(args: argparse.Namespace) -> list[Step]:
    """Returns the engines that the arguments ask for, in the order of building.

    Raises:
        OptionError: the arguments contradict each other.
        VideoError: the demo clip is needed and cannot be fetched.
    """
    if args.report is not None and (args.precision != Precision.INT8.value or args.report.suffix == ".png"):
        raise OptionError(
            "--report",
            got=f"{args.report} with --precision {args.precision}",
            expected="the path of a JSON file, with --precision int8",
            todo="Build with --precision int8 --report report.json.",
        )
    options = TensorRtOptions() if args.sm is None else TensorRtOptions(targets=parse_targets(args.sm))
    backends = _backends(Backend(args.backend), args)
    if args.sm is not None and Backend.TENSORRT_RTX not in backends:
        raise OptionError(
            "--sm",
            got=f"{args.sm!r} for the {backends[0].value} backend",
            expected="--sm with tensorrt-rtx only",
            todo="Leave it out: this backend builds for the machine at hand.",
        )
    steps = []
    for backend in backends:
        precision = _precision(backend, args.precision, alone=len(backends) == 1)
        steps.append(
            Step(
                backend=backend,
                precision=precision,
                options=options,
                calibration=_calibration(args, backend, precision),
            )
        )
    return steps


def _backends(backend: Backend, args: argparse.Namespace) -> list[Backend]:
    if backend is not Backend.AUTO:
        return [backend]
    from rvm_trt.engines.tensorrt_library import has_gpu, load_library

    if args.precision == Precision.BF16.value:
        return [Backend.CPU]  # TensorRT has FP16 in its place
    if has_gpu():
        try:
            load_library(Backend.TENSORRT)
        except RvmTrtError as error:
            print(f"note: {error}", file=sys.stderr)
        else:
            return [Backend.TENSORRT]
    try:
        load_library(Backend.TENSORRT_RTX)
    except DependencyError as error:
        print(f"note: no engine for TensorRT: {error}", file=sys.stderr)
        return [Backend.CPU]
    return [Backend.TENSORRT_RTX, Backend.CPU]


def _precision(backend: Backend, asked: str | None, *, alone: bool) -> Precision:
    if backend is not Backend.CPU:
        return Precision.FP16 if asked is None else Precision(asked)
    if asked is None or (asked == Precision.FP16.value and not alone):
        from rvm_trt.engines.openvino_library import fastest_precision

        return fastest_precision()  # what a CPU has in place of FP16
    return Precision(asked)


def _calibration(
    args: argparse.Namespace, backend: Backend, precision: Precision
) -> CalibrationFootage | None:
    needed = precision is Precision.INT8
    useful = precision is Precision.FP16 and backend is not Backend.CPU
    if not needed and not useful:
        return None
    from rvm_trt.benchmarks.calibration_clips import clips_footage

    if args.calibration is not None:
        return clips_footage([Path(clip) for clip in args.calibration])
    from rvm_trt.benchmarks.clips import demo_clip

    try:
        return clips_footage([demo_clip()])
    except RvmTrtError as error:
        if needed:
            raise
        print(f"note: accuracy is not measured: {error}", file=sys.stderr)
        return None


@contextmanager
def search_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yields a progress callback that shows the INT8 search as bars on the error stream, from its first call on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def show(what: str, done: int, total: int) -> None:
        if not tasks:
            progress.start()
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=total)
        progress.update(tasks[what], completed=done, total=total)

    try:
        yield show
    finally:
        if tasks:
            progress.stop()
