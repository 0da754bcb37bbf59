"""Whether alpha drifts over a long video: ``python -m rvm_trt.benchmarks.drift CLIP… --checkpoint X``.

Engines of lower precision run beside FP32 on the same frames, each with its own states, which are carried throughout;
further ones are reset again and again. No frame comes twice: a clip runs forward and backward, seen by a camera that
wanders, with noise. Alpha is compared in the 8 bits of the mattes that a session gives.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.benchmarks.bench_weights import bench_weights, describe_weights
from rvm_trt.benchmarks.calibration_clips import clips_footage
from rvm_trt.benchmarks.drift_figures import after_reset, blocks, growth, rounded
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.report import write_result
from rvm_trt.benchmarks.wandering import wandering_frames
from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.provision import provide_engine
from rvm_trt.errors import OptionError, RvmTrtError
from rvm_trt.options import Precision
from rvm_trt.profile import Profile
from rvm_trt.runtime.session import MattingSession

Image = npt.NDArray[np.uint8]

# The smallest at which the outlines are still those of larger frames: a network input of 160x90.
PROFILE = Profile(width=320, height=180, ratio=0.5)
THREADS = 1
BLOCK = 250
_RESETS = (250, 1000)
_GROWTH_BLOCK = 1000  # long enough for one to tell nothing of the next but drift


class Matter(Protocol):
    """What a `MattingSession` with output ``pha`` does."""

    def process(self, frame: Image) -> Any:
        """Returns a matte."""

    def reset(self) -> None:
        """Goes back to zero states."""

    def state(self) -> Sequence[npt.NDArray[np.float32]]:
        """Returns r1 to r4."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is compared with the reference.

    Attributes:
        session: from zero states.
        reset_every: frames from one reset to the next; None for never.
        frames: how many it mattes at most; None for all.
    """

    session: Matter
    reset_every: int | None = None
    frames: int | None = None


@dataclass(kw_only=True)
class _Record:
    mad: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)
    state_rms: list[list[float]] = field(default_factory=list)
    state_error: list[list[float]] = field(default_factory=list)


def measure_drift(
    reference: Matter,
    subjects: Mapping[str, Subject],
    frames: Iterable[Image],
    *,
    block: int = BLOCK,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Runs all side by side and returns the reference's states and each subject's errors, as plain JSON values.

    Args:
        reference: from zero states.
        subjects: name → what is compared.
        frames: at least one block of frames.
        block: frames that one figure is the mean of.
        advance: called after each frame with how many there were.
    """
    records = {name: _Record() for name in subjects}
    reference_rms: list[list[float]] = []
    for index, frame in enumerate(frames):
        expected = reference.process(frame).pha
        running = {name: s for name, s in subjects.items() if s.frames is None or index < s.frames}
        for name, subject in running.items():
            if subject.reset_every and index and index % subject.reset_every == 0:
                subject.session.reset()
            apart = np.abs(np.subtract(subject.session.process(frame).pha, expected, dtype=np.int16))
            records[name].mad.append(float(apart.mean()) / 255)
            records[name].largest.append(float(apart.max()) / 255)
        if (index + 1) % block == 0:
            state = reference.state()
            reference_rms.append([_rms(tensor) for tensor in state])
            for name, subject in running.items():
                got = subject.session.state()
                records[name].state_rms.append([_rms(tensor) for tensor in got])
                apart_rms = [_rms(a - b) / (_rms(b) or 1.0) for a, b in zip(got, state, strict=True)]
                records[name].state_error.append(apart_rms)
        advance(index + 1)
    return {
        "block_frames": block,
        "reference_state_rms": rounded(reference_rms),
        "subjects": [
            {
                "name": name,
                "reset_every": subjects[name].reset_every,
                **_figures(record, block, subjects[name]),
            }
            for name, record in records.items()
        ],
    }


def _rms(tensor: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(tensor, dtype=np.float64))))


def _figures(record: _Record, block: int, subject: Subject) -> dict[str, Any]:
    mad, largest = np.array(record.mad), np.array(record.largest)
    figures: dict[str, Any] = {
        "frames": len(mad),
        "mad_e3": round(float(mad.mean()) * 1e3, 4),
        "max": round(float(largest.max()), 4),
        "worst_frame": int(mad.argmax()),
        "block_mad_e3": rounded(blocks(mad, block).mean(axis=1) * 1e3),
        "block_max": rounded(blocks(largest, block).max(axis=1)),
        "state_rms": rounded(record.state_rms),
        "state_error": rounded(record.state_error),
    }
    if subject.reset_every is None:
        return figures | {"growth": growth(blocks(mad, _GROWTH_BLOCK).mean(axis=1) * 1e3)}
    return figures | after_reset(mad, subject.reset_every)


def main() -> int:
    """Measures, writes the result and prints its summary; returns 0, or 1 after a user error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="one shot of people each")
    parser.add_argument("--checkpoint", type=Path, metavar="PATH", help="weights (default: fetched)")
    parser.add_argument("--frames", type=int, default=20_000, metavar="N", help="of each clip")
    parser.add_argument("--reset-frames", type=int, default=5_000, metavar="N", help="with periodic resets")
    parser.add_argument(
        "--calibration", nargs="+", type=Path, metavar="CLIP", help="for INT8 (default: the clips)"
    )
    parser.add_argument("--engines", type=Path, default=Path("build/engines"), metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/drift-20000.json"))
    args = parser.parse_args()
    try:
        result = run(args)
    except RvmTrtError as error:
        print(f"drift: {error}", file=sys.stderr)
        return 1
    write_result(result, args.output)
    for line in summary(result):
        print(line)
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Does what the arguments of `main` ask for, and returns the result; raises `RvmTrtError`."""
    if args.frames < BLOCK:
        raise OptionError("--frames", got=str(args.frames), expected=f"at least {BLOCK}", todo="Give more.")
    weights = bench_weights(PROFILE.variant, args.checkpoint, _tell)
    calibration = args.calibration or args.clips
    engines = {
        precision: provide_engine(
            PROFILE,
            precision=precision,
            checkpoint=weights.path,
            engines_dir=args.engines,
            calibration=clips_footage(calibration) if precision is Precision.INT8 else None,
            progress=_tell,
        )
        for precision in (Precision.FP32, Precision.BF16, Precision.INT8)
    }
    words = [clip.name for clip in args.clips]
    words += ["--checkpoint", args.checkpoint.name] if args.checkpoint else []
    words += ["--frames", str(args.frames), "--reset-frames", str(args.reset_frames)]
    words += ["--calibration", *(clip.name for clip in args.calibration)] if args.calibration else []
    return {
        "schema": 1,
        "benchmark": "drift",
        "protocol": "CPU engines beside FP32 on the same frames, each with its own states, carried throughout but for "
        "resets; a clip back and forth, cropped along a slow path, with noise of 2 levels; alpha in 0..1 from "
        "8 bits; growth: slope of the means of 1,000 frames, 95 % t interval; state_error: rms of the difference from "
        "FP32's over its rms, r1 to r4 at the end of each block",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "rvm_trt.benchmarks.drift", *words]),
        "environment": describe_environment(threads=THREADS),
        "profile": engines[Precision.FP32].profile.name,
        "weights": describe_weights(weights),
        "clips": [{"clip": clip.name, **_run_clip(clip, engines, args)} for clip in args.clips],
    }


def _run_clip(clip: Path, engines: Mapping[Precision, Engine], args: argparse.Namespace) -> dict[str, Any]:
    def advance(count: int) -> None:
        if count % 1000 == 0:
            _tell(f"{clip.name}: {count} frames")

    with ExitStack() as owned:

        def session(precision: Precision) -> MattingSession:
            return owned.enter_context(MattingSession(engines[precision], outputs=("pha",), threads=THREADS))

        subjects = {}
        for precision in (Precision.BF16, Precision.INT8):
            subjects[precision.value] = Subject(session=session(precision))
            for every in _RESETS:
                subjects[f"{precision.value}, reset every {every}"] = Subject(
                    session=session(precision), reset_every=every, frames=args.reset_frames
                )
        frames = wandering_frames(clip, PROFILE, args.frames)
        return measure_drift(session(Precision.FP32), subjects, frames, advance=advance)


def summary(result: Mapping[str, Any]) -> Iterator[str]:
    """Yields one line for each clip and subject."""
    for clip in result["clips"]:
        for row in clip["subjects"]:
            first, last = row["block_mad_e3"][0], row["block_mad_e3"][-1]
            line = f"{clip['clip']}, {row['name']}: MAD {row['mad_e3']}e-3, first and last block {first} and {last}"
            if row.get("growth"):
                line += ", growth in 1,000 frames {mad_e3_per_1000_frames} ({low} to {high})".format(
                    **row["growth"]
                )
            if row.get("resets"):
                line += f", from a reset {row['after_reset_mad_e3']}, later {row['second_half_mad_e3']}"
            yield line


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
