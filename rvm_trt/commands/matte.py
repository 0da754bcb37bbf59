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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rvm_trt.commands.background import NAMES, Background, background_words, parse_background
from rvm_trt.commands.matte_arguments import DEFAULT_FIT, add_arguments
from rvm_trt.commands.matte_plan import (
    Task,
    check_options,
    check_standard_output,
    check_use,
    encode_options,
    input_options,
    is_done,
    output_kind,
    pair_outputs,
)
from rvm_trt.commands.matte_report import progress_bar, say, tell
from rvm_trt.errors import RvmTrtError
from rvm_trt.options import Precision, Refiner, Variant
from rvm_trt.profile import Profile

if TYPE_CHECKING:
    from rvm_trt.engines.artifact import Engine
    from rvm_trt.engines.footage import CalibrationFootage
    from rvm_trt.runtime.video.backdrop import Backdrop
    from rvm_trt.runtime.video.input_options import InputOptions
    from rvm_trt.runtime.video.job_report import JobReport
    from rvm_trt.runtime.video.source import Source

__all__ = ["HELP", "add_arguments", "choose_profile", "run"]

HELP = "matte a video: rvm-trt matte in.mp4 -o out.mp4"
_DEFAULT_BACKGROUND = "green"
_NAMED = ("720p", "hd", "4k", "dci4k")


def run(args: argparse.Namespace) -> int:
    """Mattes, and returns the exit code. Raises `RvmTrtError` where the user can mend it."""
    check_standard_output(args)
    check_options(args)
    tasks = pair_outputs(args)
    documents: list[dict[str, Any]] = []
    code = 0
    try:
        for task in tasks:
            if args.resume and not args.force and is_done(task):
                say(f"note: {task.output} is there already; {task.given} was not matted again.")
                documents.append({"input": task.given, "output": task.output, "skipped": True})
                continue
            try:
                report = _matte_one(args, task)
            except RvmTrtError as error:
                if len(tasks) == 1:
                    raise
                # The other inputs are not to suffer from one that does not open.
                say(f"rvm-trt matte: {error}")
                documents.append({"input": task.given, "output": task.output, "error": str(error)})
                code = 1
            else:
                tell(args, report)
                documents.append({"input": task.given, **report.to_json()})
    finally:
        if args.json and documents:
            print(json.dumps(documents if len(tasks) > 1 else documents[0], indent=2))
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


def _matte_one(args: argparse.Namespace, task: Task) -> JobReport:
    """Everything that can be wrong is looked at before the first slow step."""
    from rvm_trt.runtime.session import MattingSession
    from rvm_trt.runtime.video.cuts import CutDetector
    from rvm_trt.runtime.video.job import matte_video
    from rvm_trt.runtime.video.job_options import JobOptions
    from rvm_trt.runtime.video.outputs import plan_outputs
    from rvm_trt.runtime.video.source import open_source

    options, inputs = encode_options(args), input_options(args)
    with ExitStack() as stack:
        source = open_source(task.given, rate=args.rate, threads=args.threads, options=inputs)
        stack.callback(source.close)  # a camera that was opened for nothing must not wait for the next input
        plans = [
            each.plan
            for each in plan_outputs(
                task.output,
                kind=output_kind(args),
                also=task.also,
                clip=source.clip,
                options=options,
                overwrite=args.force,
                resume=args.resume,
            )
        ]
        check_use(args, source, plans)
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
            task.output,
            session,
            kind=plans[0].kind,
            also=task.also,
            overwrite=args.force,
            progress=stack.enter_context(
                progress_bar(plans[0].path.name, source.frame_count, quiet=args.quiet)
            ),
            options=options,
            job=replace(job, backdrop=changing, facts=_facts(args, engine)),
        )


def _background(
    args: argparse.Namespace, source: Source, inputs: InputOptions, stack: ExitStack
) -> tuple[Background, Backdrop | None]:
    """Returns what is behind the person at first, and what changes it from frame to frame; the stack closes that."""
    background = parse_background(
        args.background or _DEFAULT_BACKGROUND,
        width=source.width,
        height=source.height,
        fit=args.fit or DEFAULT_FIT,
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
    return {
        "engine": engine.manifest.seal(),
        "background": background_words(args.background or _DEFAULT_BACKGROUND),
        "fit": args.fit or DEFAULT_FIT,
        "spill suppression": "no" if args.no_spill_suppression else "yes",
    }


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
        progress=None if args.quiet else say,
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
