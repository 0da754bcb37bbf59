"""What ``rvm-trt matte`` tells: a progress bar, and what came out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rvm_trt.commands.matte_plan import writes_standard_output
from rvm_trt.errors import DependencyError

if TYPE_CHECKING:
    from rvm_trt.runtime.video.job_report import JobReport


def say(text: str) -> None:
    """Prints a line on standard error."""
    print(text, file=sys.stderr)


def tell(args: argparse.Namespace, report: JobReport) -> None:
    """Says what a job did. With ``--json`` only its warnings: all else stands in the document."""
    if not args.json:
        for notice in report.notices:
            say(f"note: {notice}")
    for warning in report.warnings:
        say(f"warning: {report.output}: {warning}")
    if report.skipped_frames:
        say(
            f"warning: {report.output}: {report.skipped_frames} damaged pieces of the input did not decode and were "
            "skipped."
        )
    if not (args.json or args.quiet):
        resumed = "" if report.resumed_at is None else f"; went on after {report.resumed_at} frames"
        count = "1 frame" if report.frames == 1 else f"{report.frames} frames"
        line = (
            f"{report.output}: {report.kind.value}, {count}, {report.width}x{report.height}, "
            f"{float(report.rate):.6g} FPS{resumed}; done in {report.seconds:.1f} s ({report.fps:.1f} FPS)"
        )
        stream = sys.stderr if writes_standard_output(args) else sys.stdout
        print(_printable(line, stream), file=stream, flush=True)


def _printable(text: str, stream: TextIO) -> str:
    """Returns a text that a stream takes: the name of a file may have bytes that are no characters."""
    if stream.errors not in (None, "strict"):
        return text
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def progress_bar(
    name: str, total: int | None, *, quiet: bool
) -> Iterator[Callable[[int, int | None], None] | None]:
    """Yields what shows the frames done, see `matte_video`; None where nobody would see it.

    Args:
        name: what is written.
        total: the expected number of frames.
        quiet: whether nothing is to be shown.

    Raises:
        DependencyError: rich is not installed.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError as error:
        raise DependencyError("rich", extra="video", stage="progress bar") from error
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total, fps="")

        def advance(done: int, expected: int | None) -> None:
            speed = bar.tasks[0].speed
            fps = "" if speed is None else f"{speed:.1f} FPS"
            bar.update(task, completed=done, total=None if expected is None else max(expected, done), fps=fps)

        yield advance
