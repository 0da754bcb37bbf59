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
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_trt.benchmarks.bench_weights import bench_weights, notes_once
from rvm_trt.benchmarks.clips import CARPHONE, Image, demo_clip
from rvm_trt.benchmarks.contests import Contest, Measured, Workshop, measure_speed
from rvm_trt.benchmarks.entrants import BACKGROUND, BASELINE, every_entrant
from rvm_trt.benchmarks.file_bench import write_clip
from rvm_trt.benchmarks.interleave import Field
from rvm_trt.benchmarks.lockstep import Accuracy, Lockstep
from rvm_trt.benchmarks.pictures import Panel, write_sheet
from rvm_trt.benchmarks.timings import Schedule
from rvm_trt.errors import DependencyError, RvmTrtError
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.scaled import scaled_frames

if TYPE_CHECKING:
    from rvm_trt.benchmarks.entrants import EntrantSpec
    from rvm_trt.engines.artifact import Engine
    from rvm_trt.export.weights import Weights
    from rvm_trt.runtime.video.job import JobReport

FOLDER = Path("build/demo")
ENGINES = Path("build/engines")
_THREADS = 2
_SCHEDULE = Schedule(rounds=4, frames_per_round=3)
_MOMENTS = 4


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
    tell = notes_once(tell)
    profile = Profile.named("hd")
    folder.mkdir(parents=True, exist_ok=True)
    tell(f"Footage: {CARPHONE.credit}; upscaled to {profile.width}x{profile.height}")
    source = write_clip(demo_clip(), folder / "input.mp4", profile=profile, count=count)
    weights = bench_weights(profile.variant, checkpoint, tell)
    # What is measured and compared is what the video chain reads: the frames of the written file.
    frames = list(scaled_frames(source, width=profile.width, height=profile.height, count=count))
    measured_frames = frames[: max(1, count // 4)]
    with tempfile.TemporaryDirectory(prefix="rvm-trt-demo-") as name:
        workshop = Workshop(
            weights=weights, threads=_THREADS, engines_dir=ENGINES, folder=Path(name), full=False, tell=tell
        )
        contest = workshop.prepare(profile, _entrants(), measured_frames)
        engine = next(iter(contest.engines.values()))
        tell("Matting the clip, file to file")
        report = _matte(source, folder / "composite.mp4", engine)
        sheet = _contact_sheet(frames, engine, folder / "contact_sheet.png")
        tell("Measuring beside PyTorch, each in its own process")
        measured, accuracy = _measure(contest, measured_frames, Path(name), tell)
    facts = _facts(engine, weights, report, sheet)
    return _table({**facts, **_compared(measured, accuracy)})


def _entrants() -> tuple[EntrantSpec, ...]:
    """Returns PyTorch eager and our fastest engine."""
    from rvm_trt.engines.openvino_library import fastest_precision

    return every_entrant((fastest_precision(),))[:2]


def _measure(
    contest: Contest, frames: Sequence[Image], folder: Path, tell: Callable[[str], None]
) -> tuple[Measured, Accuracy]:
    accuracy = Accuracy()

    def compare(runners: Field, _: Measured) -> None:
        counts = dict.fromkeys(contest.engines, len(frames))
        lockstep = Lockstep(counts, watched=None, folder=folder, pictures=folder, prefix="demo")
        accuracy.add(lockstep.run(runners, frames))

    return measure_speed(contest, _SCHEDULE, after=compare, tell=tell), accuracy


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


def _compared(measured: Measured, accuracy: Accuracy) -> dict[str, str]:
    ((name, error),) = accuracy.errors.items()
    base_ms, ours = measured.frame[BASELINE].median_ms, measured.frame[name]
    return {
        "frame to frame": f"{name} {ours.median_ms:.0f} ms, PyTorch fp32 {base_ms:.0f} ms: "
        f"{base_ms / ours.median_ms:.1f} times as fast",
        "": f"(medians of {len(ours.samples_ms)} frames in {len(ours.turns)} interleaved rounds, {_THREADS} threads "
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
