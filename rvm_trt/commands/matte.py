"""Separates people from their background in videos and folders of images.

What is missing is made first, once: the weights are fetched, the network is exported, and an engine is
built for the size of the video. Then the video is read, matted and written at once. Rate, timestamps,
rotation and sound are kept. The output appears under its name only when it is whole.

The output's suffix says how it is stored:
  .mp4        H.264, which every player shows
  .mkv        H.264; FFV1, without loss, for --output-kind rgba or --codec ffv1
  .mov        H.264; ProRes 4444 with alpha for --output-kind rgba
  .webm       VP9 or --codec av1; with alpha for --output-kind rgba
  a folder    PNG images 000000.png, 000001.png, ... (no suffix, or ending in '/'); OpenEXR for --codec exr
  -           raw frames on standard output
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rvm_trt.commands.background import NAMES, Background, parse_background
from rvm_trt.commands.matte_arguments import add_arguments
from rvm_trt.commands.matte_plan import (
    check_background,
    check_standard_output,
    encode_options,
    input_options,
    output_kind,
    pair_outputs,
)
from rvm_trt.errors import DependencyError, RvmTrtError
from rvm_trt.files import sha256_file
from rvm_trt.options import Precision, Refiner, Variant
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.output import STANDARD_OUTPUT

if TYPE_CHECKING:
    from rvm_trt.engines.artifact import Engine
    from rvm_trt.engines.footage import CalibrationFootage
    from rvm_trt.runtime.video.backdrop import Backdrop
    from rvm_trt.runtime.video.input_options import InputOptions
    from rvm_trt.runtime.video.job_report import JobReport
    from rvm_trt.runtime.video.source import Source

__all__ = ["HELP", "add_arguments", "choose_profile", "run"]

HELP = "matte a video: rvm-trt matte in.mp4 -o out.mp4"
_NAMED = ("720p", "hd", "4k", "dci4k")


def run(args: argparse.Namespace) -> int:
    """Mattes, and returns the exit code. Raises `RvmTrtError` where the user can mend it."""
    check_standard_output(args)
    pairs = pair_outputs(args.inputs, args.output)
    reports, code = [], 0
    for given, output in pairs:
        try:
            reports.append(_matte_one(args, given, output))
        except RvmTrtError as error:
            if len(pairs) == 1:
                raise
            # The other inputs are not to suffer from one that does not open.
            print(f"rvm-trt matte: {error}", file=sys.stderr)
            code = 1
    _tell(args, reports, several=len(pairs) > 1)
    return code


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


def _matte_one(args: argparse.Namespace, given: str, output: str) -> JobReport:
    """Everything that can be wrong is looked at before the first slow step."""
    from rvm_trt.runtime.session import MattingSession
    from rvm_trt.runtime.video.cuts import CutDetector
    from rvm_trt.runtime.video.job import matte_video
    from rvm_trt.runtime.video.job_options import JobOptions
    from rvm_trt.runtime.video.outputs import plan_outputs
    from rvm_trt.runtime.video.resume import was_finishing
    from rvm_trt.runtime.video.source import open_source

    options, inputs, kind = encode_options(args), input_options(args), output_kind(args)
    source = open_source(given, rate=args.rate, threads=args.threads, options=inputs)
    also = {name: path for name in ("pha", "fgr") if (path := getattr(args, name)) is not None}
    plans = [
        each.plan
        for each in plan_outputs(
            output,
            kind=kind,
            also=also,
            clip=source.clip,
            options=options,
            overwrite=args.force or (args.resume and was_finishing(Path(output))),
        )
    ]
    check_background(args, plans[0].kind.value)
    profile = choose_profile(
        width=source.width,
        height=source.height,
        ratio=args.ratio,
        refiner=args.refiner,
        variant=args.variant,
    )
    job = JobOptions(
        inputs=inputs,
        cuts=None if args.no_cut_reset else CutDetector(),
        resume=args.resume,
        reset_every=args.reset_every,
    )
    with ExitStack() as stack:
        still, changing = _background(args, source, inputs, stack)
        engine = _engine(args, profile)
        session = stack.enter_context(
            MattingSession(
                engine,
                outputs=tuple(plan.kind.value for plan in plans),
                background=still,
                threads=args.threads or None,
                spill_suppression=not args.no_spill_suppression,
            )
        )
        stack.enter_context(_ending_at_ctrl_c(source))
        return matte_video(
            source,
            output,
            session,
            kind=plans[0].kind,
            also=also,
            overwrite=args.force,
            progress=stack.enter_context(
                _progress_bar(plans[0].path.name, source.frame_count, quiet=args.quiet)
            ),
            options=options,
            job=replace(job, backdrop=changing, facts=_facts(args, engine)),
        )


def _background(
    args: argparse.Namespace, source: Source, inputs: InputOptions, stack: ExitStack
) -> tuple[Background, Backdrop | None]:
    """Returns what is behind the person at first, and what changes it from frame to frame; the stack closes that."""
    background = parse_background(
        args.background or "green",
        width=source.width,
        height=source.height,
        fit=args.fit,
        pixel_aspect=source.clip.pixel_aspect,
        start=source.clip.start,
        hdr=inputs.hdr,
        threads=args.threads,
    )
    if background is None or isinstance(background, (tuple, np.ndarray)):
        return NAMES["green"] if background is None else background, None
    stack.callback(background.close)
    return NAMES["green"], background


def _facts(args: argparse.Namespace, engine: Engine) -> dict[str, str]:
    """What decides the bytes beyond the input, the outputs and their options: `--resume` compares it."""
    path = Path(args.background or "")
    facts = {
        "engine": engine.manifest.seal(),
        "background": f"{args.background}",
        "fit": args.fit,
        "spill suppression": "no" if args.no_spill_suppression else "yes",
    }
    if path.is_file():
        facts["background file"] = sha256_file(path)
    return facts


def _engine(args: argparse.Namespace, profile: Profile) -> Engine:
    from rvm_trt.engines.openvino_library import fastest_precision
    from rvm_trt.engines.provision import provide_engine

    precision = Precision(args.precision) if args.precision else fastest_precision()
    return provide_engine(
        profile,
        backend="cpu",
        precision=precision,
        checkpoint=args.checkpoint,
        engines_dir=args.engines,
        calibration=_calibration() if precision is Precision.INT8 else None,
        progress=None if args.quiet else _say,
    )


def _calibration() -> CalibrationFootage:
    from rvm_trt.benchmarks.calibration_clips import clips_footage
    from rvm_trt.benchmarks.clips import demo_clip

    return clips_footage([demo_clip()])


@contextmanager
def _ending_at_ctrl_c(source: Source) -> Iterator[None]:
    """While a live input is matted, Ctrl-C ends the input: what came so far is written. A second one ends the job.

    So does SIGTERM, the way to end what runs in the background, where Ctrl-C is ignored.
    """
    if not source.clip.live:
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(*_: object) -> None:
        restore()
        source.close()

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        restore()


@contextmanager
def _progress_bar(
    name: str, total: int | None, *, quiet: bool
) -> Iterator[Callable[[int, int | None], None] | None]:
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


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _tell(args: argparse.Namespace, reports: Sequence[JobReport], *, several: bool) -> None:
    if args.json:
        documents = [report.to_json() for report in reports]
        print(json.dumps(documents if several else documents[0], indent=2))
        return
    for report in reports:
        for notice in report.notices:
            _say(f"note: {notice}")
        for warning in report.warnings:
            _say(f"warning: {warning}")
        if report.skipped_frames:
            _say(f"warning: {report.skipped_frames} damaged pieces of the input were skipped.")
        if not args.quiet:
            line = (
                f"{report.output}: {report.kind.value}, {report.frames} frames, {report.width}x{report.height}, "
                f"{float(report.rate):.6g} FPS; done in {report.seconds:.1f} s ({report.fps:.1f} FPS)"
            )
            print(line, file=sys.stderr if args.output == STANDARD_OUTPUT else sys.stdout)
