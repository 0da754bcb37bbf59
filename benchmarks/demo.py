"""The demonstration: ``python -m rvm_trt.benchmarks.demo``, or ``make demo``.

A public clip of a person goes through the whole chain, from the checkpoint to a matted video, and the result is
measured beside PyTorch on the same frames. Everything that is missing is made on the way.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvm_trt.benchmarks.clips import CARPHONE, Image, demo_clip
from rvm_trt.benchmarks.entrants import BACKGROUND
from rvm_trt.benchmarks.frame_bench import (
    PYTORCH,
    BenchOptions,
    bench_weights,
    measure_accuracy,
    measure_speed,
    notes_once,
    prepare,
)
from rvm_trt.benchmarks.interleave import Schedule
from rvm_trt.benchmarks.pictures import Panel, write_sheet
from rvm_trt.errors import DependencyError, RvmTrtError
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.scaled import scaled_frames

if TYPE_CHECKING:
    from rvm_trt.engines.artifact import Engine
    from rvm_trt.export.weights import Weights
    from rvm_trt.runtime.video.job import JobReport

FOLDER = Path("build/demo")
_THREADS = 2
_MOMENTS = 4
_ENCODE_CRF = 12


def main() -> int:
    """Runs the demonstration; returns 0, 1 after a user error, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, metavar="PATH", help="weights (default: fetched)")
    parser.add_argument("--frames", type=int, default=75, metavar="N", help="of the clip (default: 75)")
    args = parser.parse_args()
    try:
        print(run_demo(checkpoint=args.checkpoint, count=max(1, args.frames), folder=FOLDER, tell=_say))
    except RvmTrtError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    return 0


def run_demo(*, checkpoint: Path | None, count: int, folder: Path, tell: Callable[[str], None]) -> str:
    """Makes ``input.mp4``, ``composite.mp4`` and ``contact_sheet.png`` in ``folder``; returns the summary.

    Raises:
        RvmTrtError: a stage failed; what was made before stays.
    """
    from rvm_trt.engines.openvino_library import fastest_precision

    tell = notes_once(tell)
    profile = Profile.named("hd")
    options = BenchOptions(
        profiles=(profile,),
        checkpoint=checkpoint,
        threads=_THREADS,
        precisions=(fastest_precision(),),
        schedule=Schedule(rounds=4, frames_per_round=3),
    )
    folder.mkdir(parents=True, exist_ok=True)
    tell(f"Footage: {CARPHONE.credit}; upscaled to {profile.width}x{profile.height}")
    source = write_input(demo_clip(), folder / "input.mp4", profile=profile, count=count)
    weights = bench_weights(options, tell)
    # What is measured and compared is what the video chain reads: the frames of the written file.
    frames = list(scaled_frames(source, width=profile.width, height=profile.height, count=count))
    with tempfile.TemporaryDirectory(prefix="rvm-trt-demo-") as name:
        contest = prepare(
            options, profile, frames[: max(1, count // 4)], weights, folder=Path(name), tell=tell
        )
        engine = next(iter(contest.engines.values()))
        tell("Matting the clip, file to file")
        report = _matte(source, folder / "composite.mp4", engine)
        sheet = _contact_sheet(frames, engine, folder / "contact_sheet.png")
        tell("Measuring beside PyTorch, each in its own process")
        speed = measure_speed([contest], options.schedule, tell=tell)
        accuracy = measure_accuracy(contest, folder=Path(name), tell=tell)
    medians = {key.partition("/")[2]: timing.quartiles_ms()[1] for key, timing in speed.items()}
    facts = _facts(engine, weights, report, sheet)
    return _table({**facts, **_measured(medians, accuracy, options)})


def write_input(clip: Path, path: Path, *, profile: Profile, count: int) -> Path:
    """Writes the first frames of a clip at a profile's size as an H.264 file, so that the chain starts at a file."""
    from rvm_trt.runtime.video.output import EncodeOptions, OutputKind
    from rvm_trt.runtime.video.sink import open_sink
    from rvm_trt.runtime.video.source import open_source

    frames = list(scaled_frames(clip, width=profile.width, height=profile.height, count=count))
    scaled = replace(
        open_source(clip).clip,
        width=profile.width,
        height=profile.height,
        pixel_aspect=Fraction(1),
        has_audio=False,
    )
    with open_sink(
        path,
        clip=scaled,
        kind=OutputKind.COMPOSITE,
        options=EncodeOptions(crf=_ENCODE_CRF, audio=False),
        overwrite=True,
    ) as sink:
        for frame in frames:
            sink.write(frame)
    return path


def _matte(source: Path, output: Path, engine: Engine) -> JobReport:
    from rvm_trt.runtime.session import MattingSession
    from rvm_trt.runtime.video.job import matte_video

    with (
        MattingSession(engine, outputs=("composite",), background=BACKGROUND) as session,
        _progress(output.name) as progress,
    ):
        return matte_video(source, output, session, overwrite=True, progress=progress)


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError as error:
        raise DependencyError("rich", extra="video", stage="progress bar") from error
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _contact_sheet(frames: Sequence[Image], engine: Engine, path: Path) -> Path:
    from rvm_trt.runtime.session import MattingSession

    wanted = {round((step + 1) * (len(frames) - 1) / _MOMENTS) for step in range(_MOMENTS)}
    rows = []
    with MattingSession(engine, outputs=("pha", "composite"), background=BACKGROUND) as session:
        for index, frame in enumerate(frames):
            matte = session.process(frame)
            if index in wanted:
                rows.append(
                    [
                        Panel(image=frame, label=f"frame {index}: input, upscaled from 176x144"),
                        Panel(image=matte.pha.copy(), label="pha (alpha)"),
                        Panel(image=matte.composite.copy(), label="composite"),
                    ]
                )
    caption = f"Footage: {CARPHONE.credit}. Engine: {engine.manifest.name}."
    return write_sheet(rows, path, cell_width=640, caption=caption)


def _facts(engine: Engine, weights: Weights, report: JobReport, sheet: Path) -> dict[str, str]:
    size_bytes = sum((engine.path / name).stat().st_size for name in engine.manifest.files)
    profile = engine.profile
    refiner = profile.refiner.value.replace("_", " ")
    return {
        "weights": f"{weights.path.name}: {weights.origin}",
        "engine": f"{engine.path}, {size_bytes / 1e6:.1f} MB on disk",
        "network": f"{profile.width}x{profile.height}, ratio {profile.ratio:g}, {profile.variant.value}, {refiner}, "
        f"{engine.manifest.precision.value}",
        "video": f"{report.output}, {report.frames} frames",
        "pictures": str(sheet),
        "file to file": f"{report.fps:.1f} FPS ({report.seconds:.1f} s: decode, matte, encode H.264; all CPUs)",
    }


def _measured(medians: dict[str, float], accuracy: dict[str, Any], options: BenchOptions) -> dict[str, str]:
    (name, error), *_ = accuracy.items()
    base_ms, ours_ms = medians[PYTORCH], medians[name]
    counted = options.schedule.rounds * options.schedule.frames_per_round
    return {
        "frame to frame": f"{name} {ours_ms:.0f} ms, PyTorch fp32 {base_ms:.0f} ms: {base_ms / ours_ms:.1f} times as "
        "fast",
        "": f"(medians of {counted} frames in {options.schedule.rounds} interleaved rounds, {options.threads} threads "
        "each, uint8 frame to composited uint8 frame)",
        "alpha beside PyTorch": f"mean difference {error['mad_e3'] / 1e3:.5f}, largest {error['max']:.3f}, over "
        f"{error['frames']} frames (alpha is 0 to 1)",
    }


def _table(facts: dict[str, str]) -> str:
    width = max(len(name) for name in facts) + 2
    return "\n".join(["", *(f"{name:<{width}}{text}" for name, text in facts.items())])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
