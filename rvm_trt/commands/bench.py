"""Measures speed, accuracy and memory beside PyTorch and inference libraries, and writes a report.

Every entrant runs in a process of its own with the same number of threads; short rounds take turns. Engines and
graphs that are missing are made first. The folder of the report holds result.json, report.md, report.html and the
pictures. Standard output is the report in Markdown, and as its last line the whole result as JSON.

Without --clip the footage is a public clip of 176x144 pixels, upscaled to each profile: good for the time of
a frame, which does not depend on its content, and soft at the edges for the comparison of mattes.

Exit codes: 0; 1 after an error that you can mend; 3 where --compare finds a regression.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvm_trt.errors import DependencyError, OptionError

if TYPE_CHECKING:
    from rvm_trt.benchmarks.bench_options import BenchOptions

HELP = "measure speed, accuracy and memory beside PyTorch"
REGRESSION = 3
_QUICK_ENTRANTS = ("openvino-fp32", "onnxruntime")
# argument: what it means, default, default with --quick, least
_COUNTS = {
    "rounds": ("turns of each entrant", 8, 2, 1),
    "frames_per_round": ("frames of each turn, fewer where a frame takes long", 8, 3, 1),
    "accuracy_frames": (
        "frames that our mattes are compared over, a thirtieth for other entrants; 0 leaves it out",
        300,
        4,
        0,
    ),
    "file_frames": ("frames of the files matted end to end; 0 leaves it out", 48, 8, 0),
    "memory_frames": ("frames of the memory measurement, on the last profile; 0 leaves it out", 1000, 60, 0),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``rvm-trt bench``."""
    parser.add_argument(
        "--profile", default="hd,4k", metavar="NAMES", help="profiles, with commas (default: %(default)s)"
    )
    for name, (text, usual, quick, _) in _COUNTS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            metavar="N",
            help=f"{text} (default: {usual}, quick: {quick})",
        )
    parser.add_argument(
        "--threads", type=int, default=2, metavar="N", help="of each entrant (default: %(default)s)"
    )
    parser.add_argument("--checkpoint", metavar="PATH", help="a checkpoint of your own (default: fetched)")
    parser.add_argument("--clip", metavar="PATH", help="footage, scaled to each profile (default: see above)")
    parser.add_argument(
        "--precisions",
        metavar="LIST",
        help="of our engines, as fp32,bf16,int8 (default: fp32, the fastest of this machine, and int8)",
    )
    parser.add_argument(
        "--entrants",
        metavar="LIST",
        help="the others, by name as the result has them; PyTorch eager and our engines always run (default: all, "
        f"quick: {','.join(_QUICK_ENTRANTS)})",
    )
    parser.add_argument(
        "--engines",
        type=Path,
        default=Path("build/engines"),
        metavar="DIR",
        help="where engines are kept (default: build/engines)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of the report (default: benchmarks/results/bench-<cpu>; with --quick under build/bench/)",
    )
    parser.add_argument(
        "--compare", type=Path, metavar="OLD", help="an earlier result, to tell regressions from noise"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few frames only, to see that it works: no figures to quote"
    )


def run(args: argparse.Namespace) -> int:
    """Measures, writes and prints the report, and returns the exit code. Raises `RvmTrtError` for user errors."""
    try:
        from rvm_trt.benchmarks.bench import run_bench
        from rvm_trt.benchmarks.compare import compare
        from rvm_trt.benchmarks.report import default_output, markdown, read_result, write_report

        options = options_from(args)
        old = None if args.compare is None else read_result(args.compare)
        output = args.output or default_output()
        if args.quick and args.output is None:
            output = Path("build/bench") / output.name
        document = run_bench(options, output, tell=_say)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rvm_trt"):
            raise
        raise DependencyError(error.name, extra="export,cpu,video,bench", stage="benchmark") from None
    for path in write_report(document, output):
        _say(f"Wrote {path}")
    print(markdown(document))
    comparison = None if old is None else compare(old, document)
    if comparison is not None:
        print(comparison.markdown())
    _warn(document)
    print(json.dumps(document))
    return REGRESSION if comparison is not None and comparison.regressed else 0


def options_from(args: argparse.Namespace) -> BenchOptions:
    """Returns what the arguments ask for; raises `OptionError` where a value is not usable."""
    from rvm_trt.benchmarks.bench_options import BenchOptions
    from rvm_trt.benchmarks.entrants import chosen_entrants, every_entrant
    from rvm_trt.benchmarks.timings import Schedule
    from rvm_trt.options import Precision, choice
    from rvm_trt.profile import Profile

    counts = {name: _count(args, name) for name in _COUNTS}
    if args.threads < 1:
        raise _too_small("--threads", args.threads, 1)
    schedule = Schedule(
        rounds=counts["rounds"],
        frames_per_round=counts["frames_per_round"],
        turn_s=1.2,
        warm_up_frames=1 if args.quick else 3,
    )
    entrants: tuple[str, ...] | None = _QUICK_ENTRANTS if args.quick else None
    entrants = entrants if args.entrants is None else _words(args.entrants)
    chosen_entrants((*every_entrant(()), *every_entrant((), gpu=True)), entrants)
    precisions = args.precisions and tuple(
        choice(Precision, word, subject="--precisions") for word in _words(args.precisions)
    )
    options = BenchOptions(
        profiles=tuple(Profile.named(name) for name in _words(args.profile)),
        schedule=schedule,
        threads=args.threads,
        sequence_frames=6 if args.quick else 32,
        accuracy_frames=counts["accuracy_frames"],
        file_frames=counts["file_frames"],
        file_rounds=1 if args.quick else 3,
        memory_frames=counts["memory_frames"],
        peaks=not args.quick,
        precisions=precisions,
        entrants=entrants,
        checkpoint=Path(args.checkpoint) if args.checkpoint else None,
        clip=Path(args.clip) if args.clip else None,
        engines_dir=args.engines,
    )
    return replace(options, command=_command(args, counts))


def _count(args: argparse.Namespace, name: str) -> int:
    _, usual, quick, least = _COUNTS[name]
    value: int | None = getattr(args, name)
    if value is None:
        return quick if args.quick else usual
    if value < least:
        raise _too_small(f"--{name.replace('_', '-')}", value, least)
    return value


def _too_small(subject: str, value: int, least: int) -> OptionError:
    return OptionError(subject, got=str(value), expected=f"at least {least}", todo="Give a larger number.")


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",")))


def _command(args: argparse.Namespace, counts: dict[str, int]) -> str:
    """Returns the command that measures the same; files by their names only."""
    words = ["rvm-trt", "bench", "--profile", args.profile, "--threads", str(args.threads)]
    for name, value in counts.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    for name in ("precisions", "entrants"):
        words += [f"--{name}", getattr(args, name)] if getattr(args, name) is not None else []
    for name in ("checkpoint", "clip"):
        words += [f"--{name}", Path(getattr(args, name)).name] if getattr(args, name) else []
    words += ["--quick"] if args.quick else []
    return shlex.join(words)


def _warn(document: dict[str, Any]) -> None:
    if document["noise"]["noisy"]:
        _say(f"warning: a noisy run. {document['noise']['text']}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
