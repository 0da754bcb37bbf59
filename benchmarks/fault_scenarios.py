"""Faults that are not in the input: places that cannot be written to, kills, two jobs at once and more."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rvm_trt.benchmarks.fault_hardware import failing_encoder, full_disk, read_only_disk, unplugged_camera
from rvm_trt.benchmarks.fault_runner import Child, start
from rvm_trt.benchmarks.fault_scenario import TARGETS, TIMEOUT_S, Result, Scenario, command
from rvm_trt.benchmarks.good_clips import write_good_clip

_LONG = 900
_MIB = 1 << 20


def scenarios(*, kills: int) -> tuple[Scenario, ...]:
    """Returns all, with so many kills."""
    return (
        Scenario(name="a limit on the size of files", run=_small_files),
        Scenario(name="a full disk", run=full_disk),
        Scenario(name="an encoder that fails", run=failing_encoder),
        Scenario(name="a camera that is unplugged", run=unplugged_camera),
        Scenario(name="a disk that is read-only", run=read_only_disk),
        Scenario(name="places that cannot be written to", run=_unwritable),
        Scenario(name="the reader of a pipe goes away", run=_closed_pipe),
        Scenario(name="two jobs on one output", run=_two_jobs),
        Scenario(name="little memory", run=_little_memory),
        Scenario(name="many jobs in one process", run=_many_jobs),
        Scenario(name="Ctrl-C at random moments", run=_interrupted),
        Scenario(
            name="killed at random moments", run=lambda folder, engines: _killed(folder, engines, kills)
        ),
    )


def _small_files(folder: Path, engines: Path) -> Iterator[Result]:
    clip = write_good_clip(folder / "in.mp4", ".mp4")
    for limit in (1000, 2000, 4096, 8192):
        for target, more in TARGETS:
            place = folder / f"{limit}-{target}"
            place.mkdir()
            output = place / target
            child = start(command(clip, output, engines, *more), place / "streams", file_bytes=limit)
            outcome = child.wait(timeout_s=TIMEOUT_S)
            left = [each.name for each in place.iterdir() if each.name not in ("streams", output.name)]
            faults = [f"left behind: {name}" for name in left]
            yield Result(name=f"{target}, {limit} bytes", outcome=outcome, output=output, faults=faults)


def _unwritable(folder: Path, engines: Path) -> Iterator[Result]:
    clip = write_good_clip(folder / "in.mp4", ".mp4")
    (folder / "file").write_text("")
    (folder / "taken.mkv").mkdir()
    for number, target in enumerate(
        (
            "/proc/out.mkv",
            "/sys/out.mkv",
            f"{folder}/none/out.mkv",
            f"{folder}/file/out.mkv",
            f"{folder}/taken.mkv",
        )
    ):
        outcome = start(command(clip, target, engines), folder / f"streams-{number}").wait(
            timeout_s=TIMEOUT_S
        )
        faults = [] if outcome.code == 1 else [f"exit code {outcome.code}, not 1"]
        yield Result(
            name=target.replace(str(folder), "…"), outcome=outcome, output=Path("/none"), faults=faults
        )


def _closed_pipe(folder: Path, engines: Path) -> Iterator[Result]:
    clip = write_good_clip(folder / "in.mp4", ".mp4")
    for number, size in enumerate((0, 1, 1000, 100_000, 300_000)):
        reading, writing = os.pipe()
        child = start(
            command(clip, "-", engines, "--output-kind", "rgba"),
            folder / f"streams-{number}",
            stdout=writing,
            prepare=partial(os.close, reading),  # else the child itself would keep the pipe open
        )
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            got = len(pipe.read(size))
        outcome = child.wait(timeout_s=TIMEOUT_S)
        faults = [] if got == size else [f"{got} bytes came before the end, not {size}"]
        yield Result(name=f"after {size} bytes", outcome=outcome, output=Path("/none"), faults=faults)


def _two_jobs(folder: Path, engines: Path) -> Iterator[Result]:
    clip = write_good_clip(folder / "in.mp4", ".mp4", frames=_LONG)
    for attempt in range(3):
        output = folder / f"out-{attempt}.mkv"
        children = [
            start(command(clip, output, engines), folder / f"streams-{attempt}-{number}")
            for number in range(2)
        ]
        outcomes = [child.wait(timeout_s=TIMEOUT_S) for child in children]
        won = [outcome for outcome in outcomes if outcome.code == 0]
        faults = [] if len(won) == 1 else [f"exit codes {[outcome.code for outcome in outcomes]}"]
        faults += [] if output.is_file() else ["no output"]
        for outcome in outcomes:
            there = folder / "none" if outcome.code else output  # the other job's output stands there rightly
            yield Result(name=f"attempt {attempt}", outcome=outcome, output=there, faults=faults)
            faults = []


def _little_memory(folder: Path, engines: Path) -> Iterator[Result]:
    clip = write_good_clip(folder / "in.mp4", ".mp4")
    for size in (1, 16, 64, 256, 512, 1024, 1300, 1600, 2048, 4096):
        output = folder / f"{size}.mkv"
        child = start(command(clip, output, engines), folder / f"streams-{size}", memory_bytes=size * _MIB)
        outcome = child.wait(timeout_s=TIMEOUT_S)
        # A library that gets no memory may end the process on the spot: nothing half-written may stand there then.
        aborted = outcome.code is not None and outcome.code < 0
        faults = ["an output under its name"] if aborted and output.exists() else []
        name = f"{size} MiB more than at the start"
        yield Result(name=name, outcome=outcome, output=output, faults=faults, checked=not aborted)


def _many_jobs(folder: Path, engines: Path) -> Iterator[Result]:
    clip = write_good_clip(folder / "in.mp4", ".mp4")
    output = folder / "out.mkv"
    child = start(command(clip, output, engines, "--force"), folder / "streams", repeats=20)
    yield Result(name="20 jobs", outcome=child.wait(timeout_s=10 * TIMEOUT_S), output=output)


def _interrupted(folder: Path, engines: Path) -> Iterator[Result]:
    clip, seconds, _ = _timed(folder, engines)
    rng = random.Random(1)
    for number in range(20):
        output = folder / f"{number}.mkv"
        child = start(command(clip, output, engines), folder / f"streams-{number}")
        _later(child, rng.uniform(0.05, seconds), signal.SIGINT)
        outcome = child.wait(timeout_s=TIMEOUT_S)
        faults = [] if outcome.code in (0, 130) else [f"exit code {outcome.code}, not 130"]
        yield Result(name=f"number {number}", outcome=outcome, output=output, faults=faults)


def _killed(folder: Path, engines: Path, kills: int) -> Iterator[Result]:
    """Every tenth time, and whenever there is something to resume, the job is resumed and compared with a whole one."""
    clip, seconds, whole = _timed(folder, engines)
    rng = random.Random(2)
    for number in range(kills):
        place = folder / str(number)
        place.mkdir()
        output = place / "out.mkv"
        child = start(command(clip, output, engines), place / "streams")
        _later(child, rng.uniform(0.0, seconds), signal.SIGKILL)
        outcome = child.wait(timeout_s=TIMEOUT_S)
        faults = []
        if outcome.code == 0 or output.exists():
            faults += [] if output.read_bytes() == whole else ["another output than that of a whole run"]
        elif number % 10 == 0 or any(each.name.endswith("-partial") for each in place.iterdir()):
            faults += _resumed(clip, output, engines, place, whole)
        yield Result(name=f"number {number}", outcome=outcome, output=output, faults=faults, checked=False)
        shutil.rmtree(place)


def _resumed(clip: Path, output: Path, engines: Path, place: Path, whole: bytes) -> list[str]:
    outcome = start(command(clip, output, engines, "--resume"), place / "again").wait(timeout_s=TIMEOUT_S)
    if outcome.code != 0:
        return [f"--resume ended with {outcome.code}: {outcome.err.strip()[-160:]}"]
    faults = [] if output.read_bytes() == whole else ["--resume gave other bytes than one run"]
    left = [each.name for each in place.iterdir() if each.name not in ("streams", "again", output.name)]
    return faults + [f"left behind after --resume: {name}" for name in left]


def _timed(folder: Path, engines: Path) -> tuple[Path, float, bytes]:
    """Writes a long clip and returns it, the seconds of a whole run and its output."""
    clip = write_good_clip(folder / "in.mp4", ".mp4", frames=_LONG)
    output = folder / "whole.mkv"
    outcome = start(command(clip, output, engines), folder / "whole").wait(timeout_s=TIMEOUT_S)
    return clip, outcome.seconds, output.read_bytes()


def _later(child: Child, seconds: float, number: int) -> None:
    def send() -> None:
        time.sleep(seconds)
        child.signal(number)

    threading.Thread(target=send, daemon=True).start()
