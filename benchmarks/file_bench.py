"""The benchmark from file to file: a video is decoded, matted and encoded, beside PyTorch in a PyAV loop.

Every run is a process of its own, and runs take turns: each round goes through the entrants the other way round. A
run's time is from opening the source to the closed target, first frame included; loading the libraries, the network and
its kernels is told apart, as ``load_s``. See `file_worker` for what the two sides do.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from rvm_trt.benchmarks.child import BenchmarkError, Worker
from rvm_trt.benchmarks.entrants import BASELINE, OURS, EntrantSpec, Settings
from rvm_trt.benchmarks.file_worker import Run
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.output import EncodeOptions, OutputKind
from rvm_trt.runtime.video.scaled import scaled_frames
from rvm_trt.runtime.video.sink import open_sink
from rvm_trt.runtime.video.source import open_source

Tell = Callable[[str], None]
PROTOCOL = (
    "From a video file to a video file: decoded, matted and encoded as H.264, from opening the source to the closed "
    "target; engine and libraries are loaded before. Ours is `rvm-trt matte`, the others are a loop with PyAV and the "
    "same encoder, options and thread counts. Our decoder and encoder work beside the session, so the parts' seconds "
    "add up to more than a run's; those of the loop count what it waits for them."
)
_SOURCE = EncodeOptions(crf=12, preset="veryfast", audio=False)
_REST_S = 0.3
_TIMEOUT_S = 1800.0


def write_clip(footage: Path, path: Path, *, profile: Profile, count: int) -> Path:
    """Writes the first frames of some footage at a profile's size as an H.264 file of high quality.

    Raises:
        VideoError: the footage cannot be read, or the file not written.
    """
    clip = replace(
        open_source(footage).clip,
        width=profile.width,
        height=profile.height,
        pixel_aspect=Fraction(1),
        has_audio=False,
    )
    frames = scaled_frames(footage, width=profile.width, height=profile.height, count=count)
    with open_sink(path, clip=clip, kind=OutputKind.COMPOSITE, options=_SOURCE, overwrite=True) as sink:
        for frame in frames:
            sink.write(frame)
    return path


def measure_files(
    entrants: Sequence[EntrantSpec],
    settings: Mapping[str, Settings],
    *,
    source: Path,
    folder: Path,
    rounds: int = 3,
    tell: Tell,
) -> list[dict[str, Any]]:
    """Returns an entry of ``files`` for each entrant, in their order.

    Args:
        entrants: who takes part, the baseline among them.
        settings: entrant → its worker's settings.
        source: the video, of the profile's size, from `write_clip`.
        folder: for logs and results.
        rounds: runs of each entrant.
        tell: called with one line of text before each round.

    Raises:
        BenchmarkError: the baseline or an entrant of ours failed; others are told as unavailable.
    """
    results = {spec.name: _Result(spec=spec) for spec in entrants}
    for index in range(rounds):
        tell(f"File to file, round {index + 1} of {rounds}")
        names = [name for name, result in results.items() if result.unavailable is None]
        for name in reversed(names) if index % 2 else names:
            time.sleep(_REST_S)
            try:
                results[name].add(*_run(settings[name], source, folder))
            except BenchmarkError as error:
                if results[name].spec.group == OURS or name == BASELINE:
                    raise
                results[name].unavailable = error.reason
    baseline = results[BASELINE]
    return [result.to_json(baseline) for result in results.values()]


@dataclass(kw_only=True)
class _Result:
    spec: EntrantSpec
    runs: list[Run] = field(default_factory=list)
    loads_s: list[float] = field(default_factory=list)
    unavailable: str | None = None

    def add(self, load_s: float, run: Run) -> None:
        self.loads_s.append(load_s)
        self.runs.append(run)

    @property
    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    def to_json(self, baseline: _Result) -> dict[str, Any]:
        facts = {"entrant": self.spec.name, "label": self.spec.label, "unavailable": self.unavailable}
        if self.unavailable is not None:
            fields = ("frames", "fps", "seconds", "samples_s", "beside_pytorch", "busy_s", "load_s", "cpu_s")
            return {**facts, **dict.fromkeys(fields)}
        # The parts are of one run, so that they fit together: the one in the middle.
        middle = min(self.runs, key=lambda run: abs(run.seconds - self.seconds))
        return {
            **facts,
            "frames": middle.frames,
            "fps": round(middle.frames / self.seconds, 3),
            "seconds": round(self.seconds, 4),
            "samples_s": [round(run.seconds, 4) for run in self.runs],
            "beside_pytorch": None if self is baseline else round(baseline.seconds / self.seconds, 3),
            "busy_s": {part: round(value, 4) for part, value in middle.busy_s.items()},
            "load_s": round(statistics.median(self.loads_s), 3),
            "cpu_s": round(statistics.median(run.cpu_s for run in self.runs), 3),
        }


def _run(settings: Settings, source: Path, folder: Path) -> tuple[float, Run]:
    """Returns the seconds until the process was ready, and its run."""
    target = folder / f"{settings.entrant}.mp4"
    command = [sys.executable, "-m", "rvm_trt.benchmarks.file_worker", json.dumps(settings.to_json())]
    command += [str(source.resolve()), str(target.resolve())]
    start = time.perf_counter()
    with Worker(command, name=f"{settings.entrant}, file to file", log=folder / "file.log") as worker:
        worker.answer(timeout_s=_TIMEOUT_S)
        load_s = time.perf_counter() - start
        return load_s, Run(**worker.ask({"run": 1}, timeout_s=_TIMEOUT_S))
