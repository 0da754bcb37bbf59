"""Separates people from their background in a video or a folder of images.

What is missing is made first, once: the weights are fetched, the network is exported, and an engine is
built for the size of the video. Then the video is read, matted and written at once. Rate, timestamps,
rotation and sound are kept. The output appears under its name only when it is whole.

The output's suffix says how it is stored:
  .mp4 .mkv   H.264, which every player shows
  .mov        H.264; ProRes 4444 with alpha for --output-kind rgba
  .webm       VP9; with alpha for --output-kind rgba
  a folder    PNG images 000000.png, 000001.png, ... (no suffix, or ending in '/')
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_trt.errors import DependencyError, OptionError
from rvm_trt.options import Precision, Refiner, Variant
from rvm_trt.profile import Profile

if TYPE_CHECKING:
    from rvm_trt.commands.background import Background
    from rvm_trt.runtime.video.job import JobReport
    from rvm_trt.runtime.video.output import EncodeOptions, OutputPlan
    from rvm_trt.runtime.video.source import Source

HELP = "matte a video: rvm-trt matte in.mp4 -o out.mp4"

EXAMPLES = """\
examples:
  rvm-trt matte talk.mp4 -o talk-green.mp4
      the person on green, ready for any player or editor
  rvm-trt matte talk.mp4 -o talk-beach.mp4 --background beach.jpg
      on a picture, which is scaled to cover the frame
  rvm-trt matte talk.mp4 -o talk.mov --output-kind rgba
      with transparency, for an editor
  rvm-trt matte talk.mp4 -o alpha.mp4 --output-kind pha
      the alpha matte alone, white on black
  rvm-trt matte dance.mp4 -o dance-green.mp4 --ratio 0.4
      full bodies, small in an HD frame: a larger ratio sees more
  rvm-trt matte shots/ -o cut-outs/ --rate 25
      a folder of images to a folder of PNG images with transparency
"""
_NAMED = ("720p", "hd", "4k", "dci4k")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("input", metavar="INPUT", help="video file, image, or folder of images")
    parser.add_argument("-o", "--output", required=True, metavar="OUTPUT", help="what to write, see above")
    _add_picture_arguments(parser.add_argument_group("picture"))
    _add_network_arguments(parser.add_argument_group("network"))
    _add_video_arguments(parser.add_argument_group("video"))
    parser.add_argument("--force", action="store_true", help="replace an output that is already there")
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")
    parser.add_argument("--json", action="store_true", help="print the report as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Mattes, and returns the exit code. Raises `RvmTrtError` where the user can mend it."""
    from rvm_trt.commands.background import parse_background
    from rvm_trt.runtime.video.output import EncodeOptions, OutputKind, plan_output
    from rvm_trt.runtime.video.source import open_source

    # Everything that can be wrong is looked at before the first slow step.
    options = EncodeOptions(crf=args.crf, preset=args.preset, threads=args.threads, audio=not args.no_audio)
    source = open_source(args.input, rate=args.rate, threads=args.threads)
    plan = plan_output(args.output, kind=args.output_kind, source=args.input, overwrite=args.force)
    profile = choose_profile(
        width=source.width,
        height=source.height,
        ratio=args.ratio,
        refiner=args.refiner,
        variant=args.variant,
    )
    if args.background is not None and plan.kind is not OutputKind.COMPOSITE:
        raise OptionError(
            "--background",
            got=f"output kind {plan.kind.value!r}",
            expected="output kind 'composite'",
            todo="Leave out --background, or choose --output-kind composite.",
        )
    background = parse_background(args.background or "green", width=source.width, height=source.height)
    try:
        report = _matte(args, source, plan, profile, background, options)
    except KeyboardInterrupt as interrupt:
        print(f"rvm-trt matte: interrupted. {interrupt}".rstrip(), file=sys.stderr)
        return 130
    _tell(report, quiet=args.quiet, as_json=args.json)
    return 0


def choose_profile(
    *,
    width: int,
    height: int,
    ratio: float | None = None,
    refiner: str | Refiner = Refiner.DEEP,
    variant: str | Variant = Variant.MOBILENETV3,
) -> Profile:
    """Returns the profile for a frame size.

    Without ``ratio``, 720p, HD and 4K (and their portraits) take the paper's recommended ratio for people who
    fill the frame; other sizes take ``min(512 / longest side, 1)``.

    Raises:
        OptionError: the size or the ratio is out of range.
    """
    if ratio is None:
        named = (Profile.named(name + turn) for name in _NAMED for turn in ("", "-portrait"))
        ratio = next((p.ratio for p in named if (p.width, p.height) == (width, height)), None)
    return Profile.for_size(width=width, height=height, ratio=ratio, refiner=refiner, variant=variant)


def _add_picture_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--output-kind",
        choices=("composite", "pha", "rgba", "fgr"),
        help="composite: the person on a background; pha: alpha matte; rgba: with transparency; "
        "fgr: foreground colours (default: rgba for a folder, composite for video)",
    )
    group.add_argument(
        "--background",
        metavar="COLOUR|IMAGE",
        help="of the composite: '#78ff9b', '120,255,155', a name such as green, white or black, or an image, "
        "scaled to cover the frame (default: green)",
    )


def _add_network_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--ratio",
        type=float,
        metavar="R",
        help="downsample ratio, 0 to 1; larger for people small in the frame (default: 0.375 for 720p, "
        "0.25 for HD, 0.125 for 4K, otherwise so that the network sees 512 pixels)",
    )
    group.add_argument("--precision", choices=("fp32", "bf16"), help="default: bf16 where the CPU has it")
    group.add_argument("--checkpoint", metavar="PATH", help="a checkpoint of your own (default: fetched)")
    group.add_argument("--variant", choices=[v.value for v in Variant], default=Variant.MOBILENETV3.value)
    group.add_argument("--refiner", choices=[r.value for r in Refiner], default=Refiner.DEEP.value)
    group.add_argument(
        "--engines",
        type=Path,
        default=Path("build/engines"),
        metavar="DIR",
        help="where engines are kept (default: build/engines)",
    )


def _add_video_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--rate", metavar="FPS", help="of an image folder, as 25 or 30000/1001 (default: 30)")
    group.add_argument(
        "--crf",
        type=int,
        metavar="N",
        help="quality, 0 best to 51 worst (default: visually lossless, which is 18 for a preset of libx264)",
    )
    group.add_argument(
        "--preset",
        help="of libx264, ultrafast to veryslow, for smaller files (default: the quality of veryfast in a third of its "
        "time, half as large again)",
    )
    group.add_argument(
        "--threads",
        type=int,
        default=0,
        metavar="N",
        help="threads of decoder, network and encoder (default: all)",
    )
    group.add_argument("--no-audio", action="store_true", help="leave the sound out")


def _matte(
    args: argparse.Namespace,
    source: Source,
    plan: OutputPlan,
    profile: Profile,
    background: Background,
    options: EncodeOptions,
) -> JobReport:
    from rvm_trt.engines.openvino_library import fastest_precision
    from rvm_trt.engines.provision import provide_engine
    from rvm_trt.runtime.session import MattingSession
    from rvm_trt.runtime.video.job import matte_video

    engine = provide_engine(
        profile,
        backend="cpu",
        precision=Precision(args.precision) if args.precision else fastest_precision(),
        checkpoint=args.checkpoint,
        engines_dir=args.engines,
        progress=None if args.quiet else _say,
    )
    with (
        MattingSession(
            engine, outputs=(plan.kind.value,), background=background, threads=args.threads or None
        ) as session,
        _progress_bar(plan.path.name, source.frame_count, quiet=args.quiet) as progress,
    ):
        return matte_video(
            args.input,
            args.output,
            session,
            kind=plan.kind,
            overwrite=args.force,
            progress=progress,
            options=options,
            rate=args.rate,
        )


@contextmanager
def _progress_bar(
    name: str, total: int | None, *, quiet: bool
) -> Iterator[Callable[[int, int | None], None] | None]:
    if quiet:
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


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _tell(report: JobReport, *, quiet: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
        return
    for notice in report.notices:
        _say(f"note: {notice}")
    if report.skipped_frames:
        _say(f"note: {report.skipped_frames} damaged pieces of the input were skipped.")
    if not quiet:
        print(
            f"{report.output}: {report.kind.value}, {report.frames} frames, {report.width}x{report.height}, "
            f"{float(report.rate):.6g} FPS; done in {report.seconds:.1f} s ({report.fps:.1f} FPS)"
        )
