"""The frame-to-frame benchmark: rvm-trt beside PyTorch on the same frames, from uint8 frame to composited uint8 frame.

Decoding and encoding are outside; sampling, network, guided filter, compositing and every conversion are inside.
Each entrant runs in a process of its own with the same number of threads; short rounds take turns.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rvm_trt.benchmarks.accuracy import compare_alpha
from rvm_trt.benchmarks.calibration_clips import clips_footage
from rvm_trt.benchmarks.clips import CARPHONE, Image, demo_clip
from rvm_trt.benchmarks.entrants import BACKGROUND, Settings
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.interleave import Schedule, Timing, Worker, interleave, started
from rvm_trt.options import Precision
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.scaled import scaled_frames
from rvm_trt.runtime.video.source import open_source

if TYPE_CHECKING:
    from rvm_trt.engines.artifact import Engine
    from rvm_trt.export.weights import Weights

Tell = Callable[[str], None]
SCHEMA = 1
PYTORCH = "pytorch"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure.

    Attributes:
        profiles: names or profiles, in the order of the table.
        schedule: rounds and frames.
        threads: CPU threads of each entrant.
        sequence_frames: frames of the clip that are matted over and over, and compared once.
        memory_frames: frames of the memory measurement, on the last profile; 0 leaves it out.
        precisions: of the engines; None means fp32, and bf16 where the CPU has it.
        checkpoint: weights; None finds or fetches them.
        clip: footage; None means the demo clip.
        engines_dir: folder of the engines.
        command: how this was asked for, for the record.
    """

    profiles: tuple[Profile, ...]
    schedule: Schedule = field(default_factory=Schedule)
    threads: int = 2
    sequence_frames: int = 32
    memory_frames: int = 1000
    precisions: tuple[Precision, ...] | None = None
    checkpoint: Path | None = None
    clip: Path | None = None
    engines_dir: Path = Path("build/engines")
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One profile with its entrants, ready to start.

    Attributes:
        profile: what both sides run, with the refiner that the weights have.
        settings: entrant → its worker's settings.
        engines: entrant → engine, of the sessions.
    """

    profile: Profile
    settings: dict[str, Settings]
    engines: dict[str, Engine]


def run_frame_bench(options: BenchOptions, *, tell: Tell) -> dict[str, Any]:
    """Measures and returns the result as plain JSON values; makes the engines that are missing.

    Raises:
        RvmTrtError: no weights, no clip, no engine, or a worker failed.
    """
    tell = notes_once(tell)
    environment = describe_environment(threads=options.threads)
    weights = bench_weights(options, tell)
    contests, footage = [], {}
    with tempfile.TemporaryDirectory(prefix="rvm-trt-bench-") as name:
        folder = Path(name)
        for profile in options.profiles:
            tell(f"Preparing {profile.name}: frames and engines")
            frames, described = _frames(options, profile)
            contests.append(prepare(options, profile, frames, weights, folder=folder, tell=tell))
            footage[contests[-1].profile.name] = described
        timings = measure_speed(contests, options.schedule, tell=tell)
        accuracy = {c.profile.name: measure_accuracy(c, folder=folder, tell=tell) for c in contests}
        memory = measure_memory(contests[-1], options, folder=folder, tell=tell)
    return {
        "schema": SCHEMA,
        "benchmark": "frame-to-frame",
        "protocol": "uint8 RGB frame in, composited uint8 RGB frame out; every entrant in its own process, "
        "in turns; PyTorch is eager FP32; decode and encode are not included; alpha errors are of uint8 mattes "
        "against PyTorch's in 16 bits, over the footage from zero states",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": options.command,
        "environment": environment,
        "weights": describe_weights(weights),
        "schedule": {
            "rounds": options.schedule.rounds,
            "frames_per_round": options.schedule.frames_per_round,
            "warm_up_frames": options.schedule.warm_up_frames,
        },
        "profiles": [
            describe_contest(c, timings, accuracy[c.profile.name], footage[c.profile.name]) for c in contests
        ],
        "memory": memory,
    }


def notes_once(tell: Tell) -> Tell:
    """Returns a ``tell`` that leaves out notes it has told before: each engine brings those on its weights."""
    told: set[str] = set()

    def tell_new(text: str) -> None:
        if text not in told:
            tell(text)
        if text.startswith("note: "):
            told.add(text)

    return tell_new


def bench_weights(options: BenchOptions, tell: Tell) -> Weights:
    """Returns the weights that every entrant runs, fetching them where needed, and tells their note."""
    from rvm_trt.export.download import terminal_progress
    from rvm_trt.export.weights import find_weights

    with terminal_progress() as progress:
        weights = find_weights(
            variant=options.profiles[0].variant, checkpoint=options.checkpoint, progress=progress
        )
    tell(f"Weights: {weights.origin}, SHA-256 {weights.sha256[:16]}…")
    if weights.note:
        tell(f"note: {weights.note}")
    return weights


def describe_weights(weights: Weights) -> dict[str, Any]:
    """Returns what is recorded of the weights: the file's name, not its place."""
    return {
        "file": weights.path.name,
        "origin": weights.origin,
        "sha256": weights.sha256,
        "refiner": weights.refiner.value,
    }


def prepare(
    options: BenchOptions,
    profile: Profile,
    frames: Sequence[Image],
    weights: Weights,
    *,
    folder: Path,
    tell: Tell,
) -> Contest:
    """Writes the frames where the workers read them, builds the engines, and returns the contest."""
    from rvm_trt.engines.openvino_library import fastest_precision
    from rvm_trt.engines.provision import provide_engine

    frame_file = folder / f"{profile.name}-frames.npy"
    np.save(frame_file, np.stack(frames))
    precisions = options.precisions or tuple(dict.fromkeys((Precision.FP32, fastest_precision())))
    engines = {
        f"rvm-trt {precision.value}": provide_engine(
            profile,
            precision=precision,
            checkpoint=options.checkpoint,
            engines_dir=options.engines_dir,
            calibration=clips_footage([demo_clip()]) if precision is Precision.INT8 else None,
            footage=frames,
            progress=tell,
        )
        for precision in precisions
    }
    # Weights without a deep guided filter make the engine's profile name the fast one: PyTorch runs that too.
    served = next(iter(engines.values())).profile
    shared = Settings(frames=frame_file, profile=served, threads=options.threads)
    settings = {PYTORCH: replace(shared, checkpoint=weights.path)}
    settings |= {name: replace(shared, engine=engine.path) for name, engine in engines.items()}
    return Contest(profile=served, settings=settings, engines=engines)


def measure_speed(contests: Sequence[Contest], schedule: Schedule, *, tell: Tell) -> dict[str, Timing]:
    """Returns the times of every entrant of every contest, by ``profile/entrant``, all interleaved."""
    commands = {
        f"{contest.profile.name}/{name}": worker_command(settings)
        for contest in contests
        for name, settings in contest.settings.items()
    }
    tell(f"Starting {len(commands)} workers")
    with started(commands, timeout_s=schedule.timeout_s) as workers:
        return interleave(workers, schedule, tell=tell)


def measure_accuracy(contest: Contest, *, folder: Path, tell: Tell) -> dict[str, Any]:
    """Returns for each session how far its alpha is from PyTorch's over the whole sequence, from zero states."""
    tell(f"Comparing alpha at {contest.profile.name}")
    reference = folder / "reference.npy"
    _save_alpha(contest.settings[PYTORCH], PYTORCH, reference)
    errors = {}
    for name in contest.engines:
        _save_alpha(contest.settings[name], name, folder / "candidate.npy")
        errors[name] = compare_alpha(reference, folder / "candidate.npy").to_json()
    return errors


def measure_memory(
    contest: Contest, options: BenchOptions, *, folder: Path, tell: Tell
) -> dict[str, Any] | None:
    """Returns the memory of a process that runs the fastest engine and never loads PyTorch; None if not asked."""
    if options.memory_frames < 1:
        return None
    name = list(contest.engines)[-1]
    tell(f"Watching memory over {options.memory_frames} frames: {contest.profile.name}, {name}")
    with Worker(worker_command(contest.settings[name]), name=name, log=folder / "memory.log") as worker:
        worker.answer(timeout_s=options.schedule.timeout_s)
        # A generous second per frame: slow machines are slow, not silent.
        answer = worker.ask({"memory": options.memory_frames}, timeout_s=600.0 + options.memory_frames)
    return {"profile": contest.profile.name, "entrant": name, **answer}


def worker_command(settings: Settings) -> list[str]:
    """Returns the command of a worker process."""
    return [sys.executable, "-m", "rvm_trt.benchmarks.worker", json.dumps(settings.to_json())]


def describe_contest(
    contest: Contest, timings: dict[str, Timing], accuracy: dict[str, Any], footage: dict[str, Any]
) -> dict[str, Any]:
    """Returns one profile's part of the result."""
    profile = contest.profile
    base_ms = timings[f"{profile.name}/{PYTORCH}"].quartiles_ms()[1]
    entrants = {}
    for name in contest.settings:
        timing = timings[f"{profile.name}/{name}"]
        entrants[name] = {
            **timing.to_json(),
            "speedup": round(base_ms / timing.quartiles_ms()[1], 3),
            "alpha_error": accuracy.get(name),
        }
        if name in contest.engines:
            manifest = contest.engines[name].manifest
            entrants[name]["engine"] = {"name": manifest.name, "onnx_sha256": manifest.onnx_sha256}
    return {
        "name": profile.name,
        "profile": profile.to_json(),
        "footage": footage,
        "background": list(BACKGROUND),
        "entrants": entrants,
    }


def _save_alpha(settings: Settings, name: str, path: Path) -> None:
    with started({name: worker_command(settings)}) as workers:
        workers[name].ask({"alpha": os.fspath(path.resolve())}, timeout_s=1800.0)


def _frames(options: BenchOptions, profile: Profile) -> tuple[list[Image], dict[str, Any]]:
    path = options.clip or demo_clip()
    frames = list(
        scaled_frames(path, width=profile.width, height=profile.height, count=options.sequence_frames)
    )
    source = open_source(path)
    described = {
        "clip": path.name,
        "credit": CARPHONE.credit if options.clip is None else "given by the user",
        "native_size": [source.width, source.height],
        "scaled": (source.width, source.height) != (profile.width, profile.height),
        "frames": len(frames),
    }
    return frames, described
