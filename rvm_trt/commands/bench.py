"""Measures frame to frame: rvm-trt beside the network in PyTorch, on the same frames.

Every entrant takes a uint8 frame and gives a composited uint8 frame, in a process of its own with the same
number of threads; short rounds take turns. Alpha is compared over the same frames. Engines that are missing
are built first. Prints a table, and as its last line the whole result as JSON.

Without --clip the footage is a public clip of 176x144 pixels, upscaled to each profile: good for the time of
a frame, which does not depend on its content, and soft at the edges for the comparison of alpha.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_trt.errors import DependencyError, OptionError

if TYPE_CHECKING:
    from rvm_trt.benchmarks.frame_bench import BenchOptions

HELP = "measure speed, accuracy and memory beside PyTorch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``rvm-trt bench``."""
    parser.add_argument(
        "--profile", default="hd,4k", metavar="NAMES", help="profiles, with commas (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each entrant (default: 12)")
    parser.add_argument("--frames-per-round", type=int, metavar="N", help="frames of each turn (default: 8)")
    parser.add_argument(
        "--threads", type=int, default=2, metavar="N", help="of each entrant (default: %(default)s)"
    )
    parser.add_argument("--checkpoint", metavar="PATH", help="a checkpoint of your own (default: fetched)")
    parser.add_argument("--clip", metavar="PATH", help="footage, scaled to each profile (default: see above)")
    parser.add_argument(
        "--precisions",
        metavar="LIST",
        help="of our engines, as fp32,bf16,int8 (default: fp32, and bf16 where the CPU has it)",
    )
    parser.add_argument(
        "--memory-frames",
        type=int,
        metavar="N",
        help="frames of the memory measurement, on the last profile; 0 leaves it out (default: 1000)",
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
        metavar="PATH",
        help="result file (default: benchmarks/results/frame-to-frame-<cpu>.json; with --quick under build/)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few frames only, to see that it works: no figures to quote"
    )


def run(args: argparse.Namespace) -> int:
    """Measures, prints, writes the result, and returns 0. Raises `RvmTrtError` where the user can mend it."""
    try:
        from rvm_trt.benchmarks.frame_bench import run_frame_bench
        from rvm_trt.benchmarks.report import default_output, markdown_table, write_result

        options = options_from(args)
        output = default_output()
        if args.quick:
            output = Path("build/bench") / output.name
        result = run_frame_bench(options, tell=_say)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rvm_trt"):
            raise
        raise DependencyError(error.name, extra="export,cpu,video,bench", stage="benchmark") from None
    path = write_result(result, args.output or output)
    _say(f"Wrote {path}")
    print(markdown_table(result))
    print()
    print(json.dumps(result))
    return 0


def options_from(args: argparse.Namespace) -> BenchOptions:
    """Returns what the arguments ask for; raises `OptionError` where a value is not usable."""
    from rvm_trt.benchmarks.frame_bench import BenchOptions
    from rvm_trt.benchmarks.interleave import Schedule
    from rvm_trt.options import Precision, choice
    from rvm_trt.profile import Profile

    names = list(dict.fromkeys(name.strip() for name in args.profile.split(",")))
    for subject, value, low in (("--threads", args.threads, 1), ("--memory-frames", args.memory_frames, 0)):
        if value is not None and value < low:
            raise OptionError(
                subject, got=str(value), expected=f"at least {low}", todo="Give a larger number."
            )
    rounds, frames_per_round, memory_frames, sequence_frames = (
        (2, 3, 60, 6) if args.quick else (12, 8, 1000, 32)
    )
    schedule = Schedule(
        rounds=rounds if args.rounds is None else args.rounds,
        frames_per_round=frames_per_round if args.frames_per_round is None else args.frames_per_round,
    )
    precisions = None
    if args.precisions is not None:
        words = dict.fromkeys(word.strip() for word in args.precisions.split(","))
        precisions = tuple(choice(Precision, word, subject="--precisions") for word in words)
    options = BenchOptions(
        precisions=precisions,
        profiles=tuple(Profile.named(name) for name in names),
        schedule=schedule,
        threads=args.threads,
        sequence_frames=sequence_frames,
        memory_frames=memory_frames if args.memory_frames is None else args.memory_frames,
        checkpoint=Path(args.checkpoint) if args.checkpoint else None,
        clip=Path(args.clip) if args.clip else None,
        engines_dir=args.engines,
    )
    return replace(options, command=_command(options, quick=args.quick))


def _command(options: BenchOptions, *, quick: bool) -> str:
    """Returns the command that measures the same; files by their names only."""
    words = ["rvm-trt", "bench", "--profile", ",".join(profile.name for profile in options.profiles)]
    words += ["--rounds", str(options.schedule.rounds)]
    words += ["--frames-per-round", str(options.schedule.frames_per_round)]
    words += ["--threads", str(options.threads), "--memory-frames", str(options.memory_frames)]
    for flag, path in (("--checkpoint", options.checkpoint), ("--clip", options.clip)):
        words += [flag, path.name] if path is not None else []
    if options.precisions is not None:
        words += ["--precisions", ",".join(precision.value for precision in options.precisions)]
    words += ["--quick"] if quick else []
    return shlex.join(words)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
