"""The benchmark: rvm-trt beside PyTorch and inference libraries, on the same frames, with the same weights and threads.

Each entrant runs in a process of its own; short rounds take turns. Speed is measured in three protocols that are never
mixed: a frame in memory, a tensor that is ready, a file. Accuracy is measured in the same processes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rvm_trt.benchmarks.bench_options import BenchOptions
from rvm_trt.benchmarks.bench_weights import bench_weights, describe_weights, notes_once
from rvm_trt.benchmarks.child import Worker
from rvm_trt.benchmarks.contests import Workshop, our_backend, worker_command
from rvm_trt.benchmarks.cpu_peaks import probe_peaks
from rvm_trt.benchmarks.document import PROTOCOLS
from rvm_trt.benchmarks.entrants import BASELINE
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.interleave import interleave, started
from rvm_trt.benchmarks.noise import verdict
from rvm_trt.benchmarks.profile_bench import FRAMES, ProfileBench
from rvm_trt.benchmarks.report import BENCHMARK, SCHEMA
from rvm_trt.benchmarks.roofline_cpu import add_bounds
from rvm_trt.benchmarks.timings import Timing
from rvm_trt.export.weights import Weights

Tell = Callable[[str], None]


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
        benches = [ProfileBench(profile, options, workshop) for profile in options.profiles]
        profiles = [bench.measure() for bench in benches]
        cost, cost_times = _profile_cost(benches, options, tell)
        memory = _memory(benches[-1], options, folder, tell)
        replace_folder(output / FRAMES, folder / FRAMES)
    timings = {key: value for bench in benches for key, value in bench.timings().items()}
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
    benches: Sequence[ProfileBench], options: BenchOptions, tell: Tell
) -> tuple[dict[str, Any] | None, dict[str, Timing]]:
    """Measures the first and the last profile in one contest: returns the ratios of medians, and all times."""
    first, last = benches[0], benches[-1]
    if first is last:
        return None, {}
    tell(f"Measuring {first.name} beside {last.name}, in one contest")
    names = (BASELINE, last.fastest)
    commands = {
        f"{bench.name}/{name}": worker_command(bench.contest.settings[name])
        for name in names
        for bench in (first, last)
    }
    with started(commands) as runners:
        times = interleave(runners, options.tensor_schedule, tell=tell)
    ratios = {
        name: round(times[f"{last.name}/{name}"].median_ms / times[f"{first.name}/{name}"].median_ms, 3)
        for name in names
    }
    labelled = {key.replace("/", "/cost/"): timing for key, timing in times.items()}
    return {"first": first.name, "last": last.name, "entrants": ratios}, labelled


def _memory(bench: ProfileBench, options: BenchOptions, folder: Path, tell: Tell) -> dict[str, Any] | None:
    """Returns the memory of a process that runs the fastest engine and never loads PyTorch; None if not asked."""
    if options.memory_frames < 1:
        return None
    name = bench.fastest
    tell(f"Watching memory over {options.memory_frames} frames: {bench.name}, {name}")
    with Worker(worker_command(bench.contest.settings[name]), name=name, log=folder / "memory.log") as worker:
        worker.answer(timeout_s=options.schedule.timeout_s)
        # A generous second per frame: slow machines are slow, not silent.
        answer = worker.ask({"memory": options.memory_frames}, timeout_s=600.0 + options.memory_frames)
    return {"profile": bench.name, "entrant": name, **answer}


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
