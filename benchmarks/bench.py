"""The benchmark: rvm-trt beside PyTorch and inference libraries, on the same frames, with the same weights and threads.

Each entrant runs in a process of its own; short rounds take turns. Speed is measured in three protocols that are never
mixed: a frame in memory, a tensor that is ready, a file. Accuracy is measured in the same processes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rvm_trt.benchmarks.bench_weights import bench_weights, describe_weights, notes_once
from rvm_trt.benchmarks.child import Worker
from rvm_trt.benchmarks.clips import CARPHONE, demo_clip
from rvm_trt.benchmarks.contests import (
    Measured,
    Workshop,
    default_precisions,
    measure_speed,
    our_backend,
    worker_command,
)
from rvm_trt.benchmarks.cpu_peaks import probe_peaks
from rvm_trt.benchmarks.document import PROTOCOLS, describe_profile
from rvm_trt.benchmarks.entrants import BASELINE, chosen_entrants, every_entrant
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.file_bench import measure_files, write_clip
from rvm_trt.benchmarks.interleave import Field, interleave, started
from rvm_trt.benchmarks.lockstep import Accuracy, Lockstep
from rvm_trt.benchmarks.noise import verdict
from rvm_trt.benchmarks.report import BENCHMARK, SCHEMA
from rvm_trt.benchmarks.roofline_cpu import add_bounds
from rvm_trt.benchmarks.stage_bench import measure_stages
from rvm_trt.benchmarks.timings import Schedule, Timing
from rvm_trt.export.weights import Weights
from rvm_trt.options import Backend, Precision
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.scaled import scaled_frames
from rvm_trt.runtime.video.source import open_source

Tell = Callable[[str], None]
FRAMES = "frames"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure.

    Attributes:
        profiles: frame sizes, in the order of the tables.
        schedule: rounds and frames of the frame protocol; the tensor protocol gets half the rounds.
        threads: CPU threads of each entrant.
        sequence_frames: frames of the clip that are matted over and over for the times.
        accuracy_frames: frames that our engines' mattes are compared over; a tenth for the other entrants.
        file_frames: frames of the files that the baseline, our fastest engine and the fastest other entrant matte end
            to end; 0 leaves it out.
        file_rounds: runs of each from file to file.
        memory_frames: frames of the memory measurement, on the last profile; 0 leaves it out.
        peaks: whether the processor's peaks are measured, for the modelled bounds.
        precisions: of our engines; None means fp32, the fastest floating point of this machine, and int8.
        entrants: names of the others that take part; None means all.
        checkpoint: weights; None finds or fetches them.
        clip: footage; None means the demo clip.
        engines_dir: folder of the engines.
        command: how this was asked for, for the record.
    """

    profiles: tuple[Profile, ...]
    schedule: Schedule = field(default_factory=Schedule)
    threads: int = 2
    sequence_frames: int = 32
    accuracy_frames: int = 300
    file_frames: int = 120
    file_rounds: int = 3
    memory_frames: int = 1000
    peaks: bool = True
    precisions: tuple[Precision, ...] | None = None
    entrants: tuple[str, ...] | None = None
    checkpoint: Path | None = None
    clip: Path | None = None
    engines_dir: Path = Path("build/engines")
    command: str = ""

    @property
    def tensor_schedule(self) -> Schedule:
        """Of the tensor protocol."""
        return replace(self.schedule, rounds=(self.schedule.rounds + 1) // 2)

    @property
    def other_accuracy_frames(self) -> int:
        """Frames that mattes of libraries and of PyTorch's variants are compared over."""
        return -(-self.accuracy_frames // 10)


def run_bench(options: BenchOptions, output: Path, *, tell: Tell) -> dict[str, Any]:
    """Measures, puts the pictures into ``output``, and returns the document; makes the engines that are missing.

    Raises:
        RvmTrtError: no weights, no clip, no engine, or the baseline or an engine of ours failed.
    """
    tell = notes_once(tell)
    environment = describe_environment(threads=options.threads)
    weights = bench_weights(options.profiles[0].variant, options.checkpoint, tell)
    if options.peaks:
        tell("Measuring the processor's peaks, for the modelled bounds")
        environment["peaks"] = probe_peaks(threads=options.threads).to_json()
    with tempfile.TemporaryDirectory(prefix="rvm-trt-bench-") as name:
        folder = Path(name)
        workshop = _workshop(options, weights, folder, tell)
        rooms = [_Room(profile, options, workshop) for profile in options.profiles]
        profiles = [room.measure() for room in rooms]
        cost, cost_times = _profile_cost(rooms, options, tell)
        memory = _memory(rooms[-1], options, folder, tell)
        replace_folder(output / FRAMES, folder / FRAMES)
    timings = {key: value for room in rooms for key, value in room.timings().items()}
    noise = verdict(
        timings | cost_times, load_average=environment["load_average"], cpus=environment["cores_usable"]
    )
    document = {
        "schema": SCHEMA,
        "benchmark": BENCHMARK,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": options.command,
        "environment": environment,
        "weights": describe_weights(weights),
        "schedule": _schedule(options),
        "protocols": dict(PROTOCOLS),
        "noise": noise,
        "profiles": profiles,
        "profile_cost": cost,
        "memory": memory,
    }
    add_bounds(document)
    return document


class _Room:
    """One profile's measurement."""

    def __init__(self, profile: Profile, options: BenchOptions, workshop: Workshop) -> None:
        self._options = options
        self._workshop = workshop
        self._tell = workshop.tell
        self._clip = options.clip or demo_clip()
        self._tell(f"Preparing {profile.name}: frames, graphs and engines")
        self._size = {"width": profile.width, "height": profile.height}
        precisions = options.precisions or default_precisions(workshop.backend)
        every = every_entrant(precisions, gpu=workshop.backend is not Backend.CPU)
        frames = list(scaled_frames(self._clip, **self._size, count=options.sequence_frames))
        self.contest = workshop.prepare(profile, chosen_entrants(every, options.entrants), frames)
        self.measured = Measured()

    @property
    def name(self) -> str:
        """The profile's name."""
        return self.contest.profile.name

    @property
    def fastest(self) -> str:
        """Our fastest entrant."""
        return min(self.contest.engines, key=lambda name: self.measured.frame[name].median_ms)

    def measure(self) -> dict[str, Any]:
        """Measures everything, and returns the profile's part of the document."""
        options, accuracy = self._options, Accuracy()

        def compare(runners: Field, measured: Measured) -> None:
            if options.accuracy_frames:
                accuracy.add(self._compare(runners, measured))

        self.measured = measure_speed(
            self.contest, options.schedule, tensor=options.tensor_schedule, after=compare, tell=self._tell
        )
        for name, reason in self.measured.failures.items():
            self._tell(f"note: {name} at {self.name} is left out. {reason}")
        return describe_profile(
            self.contest,
            self.measured,
            accuracy,
            footage=self._footage(),
            stages=self._stages(),
            files=self._files(),
        )

    def timings(self) -> dict[str, Timing]:
        """Returns all times by ``profile/protocol/entrant``."""
        return {
            f"{self.name}/{protocol}/{name}": timing
            for protocol in ("frame", "tensor")
            for name, timing in self.measured.times(protocol).items()
        }

    def _compare(self, runners: Field, measured: Measured) -> Accuracy:
        self._tell(f"Comparing mattes at {self.name} with PyTorch's, frame by frame")
        options, folder = self._options, self._workshop.folder
        ours = [name for name in self.contest.engines if name in runners.workers]
        counts = {
            name: options.accuracy_frames if name in ours else options.other_accuracy_frames
            for name in runners.workers
        }
        lockstep = Lockstep(
            counts,
            watched=min(ours, key=lambda name: measured.frame[name].median_ms) if ours else None,
            folder=folder,
            pictures=folder / FRAMES,
            prefix=self.name,
        )
        return lockstep.run(runners, scaled_frames(self._clip, **self._size, count=options.accuracy_frames))

    def _footage(self) -> dict[str, Any]:
        source = open_source(self._clip)
        native = (source.width, source.height)
        return {
            "clip": self._clip.name,
            "credit": CARPHONE.credit if self._options.clip is None else "given by the user",
            "native_size": list(native),
            "scaled": native != (self._size["width"], self._size["height"]),
            "frames": self._options.sequence_frames,
        }

    def _stages(self) -> list[dict[str, Any]]:
        self._tell(f"Timing the stages of a session at {self.name}")
        entries = (
            measure_stages(
                self.contest.settings[name],
                frames=self._options.schedule.rounds * self._options.schedule.frames_per_round,
                folder=self._workshop.folder,
            )
            for name in self.contest.engines
        )
        return [entry for entry in entries if entry is not None]

    def _files(self) -> list[dict[str, Any]]:
        count, profile = self._options.file_frames, self.contest.profile
        if count < 1:
            return []
        folder, times = self._workshop.folder, self.measured.frame
        others = [name for name in times if name != BASELINE and name not in self.contest.engines]
        names = {BASELINE, self.fastest, *sorted(others, key=lambda name: times[name].median_ms)[:1]}
        self._tell(f"Writing a video of {count} frames at {self.name}")
        source = write_clip(self._clip, folder / f"{self.name}.mp4", profile=profile, count=count)
        return measure_files(
            [spec for spec in self.contest.entrants if spec.name in names],
            self.contest.settings,
            source=source,
            folder=folder,
            rounds=self._options.file_rounds,
            tell=self._tell,
        )


def _workshop(options: BenchOptions, weights: Weights, folder: Path, tell: Tell) -> Workshop:
    return Workshop(
        weights=weights,
        threads=options.threads,
        engines_dir=options.engines_dir,
        folder=folder,
        backend=our_backend(),
        int8_may_fail=options.precisions is None,
        tell=tell,
    )


def _profile_cost(
    rooms: Sequence[_Room], options: BenchOptions, tell: Tell
) -> tuple[dict[str, Any] | None, dict[str, Timing]]:
    """Measures the first and the last profile in one contest: returns the ratios of medians, and all times."""
    first, last = rooms[0], rooms[-1]
    if first is last:
        return None, {}
    tell(f"Measuring {first.name} beside {last.name}, in one contest")
    names = (BASELINE, last.fastest)
    commands = {
        f"{room.name}/{name}": worker_command(room.contest.settings[name])
        for name in names
        for room in (first, last)
    }
    with started(commands) as runners:
        times = interleave(runners, options.tensor_schedule, tell=tell)
    ratios = {
        name: round(times[f"{last.name}/{name}"].median_ms / times[f"{first.name}/{name}"].median_ms, 3)
        for name in names
    }
    labelled = {key.replace("/", "/cost/"): timing for key, timing in times.items()}
    return {"first": first.name, "last": last.name, "entrants": ratios}, labelled


def _memory(room: _Room, options: BenchOptions, folder: Path, tell: Tell) -> dict[str, Any] | None:
    """Returns the memory of a process that runs the fastest engine and never loads PyTorch; None if not asked."""
    if options.memory_frames < 1:
        return None
    name = room.fastest
    tell(f"Watching memory over {options.memory_frames} frames: {room.name}, {name}")
    with Worker(worker_command(room.contest.settings[name]), name=name, log=folder / "memory.log") as worker:
        worker.answer(timeout_s=options.schedule.timeout_s)
        # A generous second per frame: slow machines are slow, not silent.
        answer = worker.ask({"memory": options.memory_frames}, timeout_s=600.0 + options.memory_frames)
    return {"profile": room.name, "entrant": name, **answer}


def _schedule(options: BenchOptions) -> dict[str, Any]:
    return {
        "rounds": options.schedule.rounds,
        "frames_per_round": options.schedule.frames_per_round,
        "turn_s": options.schedule.turn_s,
        "warm_up_frames": options.schedule.warm_up_frames,
        "tensor_rounds": options.tensor_schedule.rounds,
        "accuracy_frames": options.accuracy_frames,
        "other_accuracy_frames": options.other_accuracy_frames,
        "file_frames": options.file_frames,
        "file_rounds": options.file_rounds,
    }


def replace_folder(target: Path, source: Path) -> None:
    """Puts the files of one folder in the place of another's."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in sorted(source.glob("*")):
        shutil.copyfile(path, target / path.name)
