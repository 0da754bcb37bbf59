"""One profile with its entrants: what each needs is made, and all are measured in turns."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from rvm_trt.benchmarks.calibration_clips import clips_footage
from rvm_trt.benchmarks.clips import Image, demo_clip
from rvm_trt.benchmarks.entrants import BASELINE, OURS, EntrantSpec, Settings
from rvm_trt.benchmarks.frame_graph import write_frame_graph
from rvm_trt.benchmarks.interleave import Field, interleave, started
from rvm_trt.benchmarks.timings import Schedule, Timing
from rvm_trt.errors import EngineError
from rvm_trt.files import sha256_file
from rvm_trt.options import Backend, Graph, Precision
from rvm_trt.profile import Profile

if TYPE_CHECKING:
    from rvm_trt.engines.artifact import Engine
    from rvm_trt.export.weights import Weights

Tell = Callable[[str], None]
# Of a process of PyTorch or a library, beside what it needs for each pixel of a frame; seen at HD and 4K, rounded up.
_PROCESS_BYTES, _PIXEL_BYTES = 700 << 20, 150
_USABLE = 0.85


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One profile with its entrants, ready to start.

    Attributes:
        profile: what all run, with the refiner that the weights have.
        entrants: all of them, the baseline first.
        settings: entrant → its worker's settings; of those that may run.
        engines: entrant → engine, of ours.
        unavailable: entrant → why it takes no part, as a sentence.
    """

    profile: Profile
    entrants: tuple[EntrantSpec, ...]
    settings: Mapping[str, Settings]
    engines: Mapping[str, Engine]
    unavailable: Mapping[str, str] = field(default_factory=dict)

    @property
    def required(self) -> tuple[str, ...]:
        """Whose failure is an error: the baseline's and our engines'."""
        return (BASELINE, *self.engines)

    def only(self, names: Sequence[str]) -> Contest:
        """Returns the contest of some entrants."""
        return replace(self, settings={name: self.settings[name] for name in names})


@dataclass(kw_only=True)
class Measured:
    """What was measured of a contest, by entrant.

    Attributes:
        frame, tensor: times of the two protocols.
        beside: protocol → entrant → the baseline's times in the same field.
        start_ms: from the start of a process to its being ready.
        failures: why those that started the race did not finish it.
    """

    frame: dict[str, Timing] = field(default_factory=dict)
    tensor: dict[str, Timing] = field(default_factory=dict)
    beside: dict[str, dict[str, Timing]] = field(default_factory=lambda: {"frame": {}, "tensor": {}})
    start_ms: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def times(self, protocol: str) -> dict[str, Timing]:
        """Returns the times of ``frame`` or of ``tensor``."""
        return {"frame": self.frame, "tensor": self.tensor}[protocol]

    def add(self, protocol: str, times: Mapping[str, Timing]) -> None:
        """Takes the times of one field; of the baseline the first field's count."""
        kept = self.times(protocol)
        for name, timing in times.items():
            kept.setdefault(name, timing)
            self.beside[protocol].setdefault(name, times[BASELINE])


def default_precisions(backend: Backend) -> tuple[Precision, ...]:
    """Returns the precisions of our engines: fp32, the fastest floating point of the machine, int8."""
    from rvm_trt.engines.openvino_library import fastest_precision

    fastest = fastest_precision() if backend is Backend.CPU else Precision.FP16
    return tuple(dict.fromkeys((Precision.FP32, fastest, Precision.INT8)))


def our_backend() -> Backend:
    """Returns what our engines are built with: TensorRT where there is a GPU, else the CPU's."""
    from rvm_trt.engines.tensorrt_library import has_gpu

    if not has_gpu():
        return Backend.CPU
    return Backend.TENSORRT if find_spec("tensorrt") else Backend.TENSORRT_RTX


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What contests are made with.

    Attributes:
        weights: of all entrants.
        threads: of each entrant.
        engines_dir: folder of the engines.
        folder: for frames and graphs.
        backend: of our engines.
        full: whether full engines and graphs are needed, for libraries and the tensor protocol.
        int8_may_fail: whether an INT8 engine that cannot be built is no error.
        tell: called with one line of text before slow steps.
    """

    weights: Weights
    threads: int
    engines_dir: Path
    folder: Path
    backend: Backend = Backend.CPU
    full: bool = True
    int8_may_fail: bool = False
    tell: Tell

    def prepare(self, profile: Profile, entrants: Sequence[EntrantSpec], frames: Sequence[Image]) -> Contest:
        """Writes the frames where the workers read them, makes engines and graphs, and returns the contest.

        Args:
            profile: frame size and ratio.
            entrants: who takes part; one of them is ours.
            frames: what is matted over and over.

        Raises:
            RvmTrtError: an engine of ours cannot be made.
        """
        frame_file = self.folder / f"{profile.name}-frames.npy"
        np.save(frame_file, np.stack(frames))
        engines, full_engines, unavailable = self._engines(profile, entrants, frames)
        # Weights without a deep guided filter make the engine's profile name the fast one: all run that.
        served = next(iter(engines.values())).profile
        shared = Settings(entrant="", frames=frame_file, profile=served, threads=self.threads)
        if any(spec.group == "library" for spec in entrants):
            graph = self._full_graph(served, full_engines)
            frame_graph = write_frame_graph(graph, served, self.folder / f"{served.name}-frame.onnx")
            shared = replace(shared, graph=graph, frame_graph=frame_graph)
        settings = {}
        for spec in entrants:
            one = replace(shared, entrant=spec.name)
            if spec.group == "pytorch":
                settings[spec.name] = replace(one, checkpoint=self.weights.path)
            elif spec.group == "library":
                settings[spec.name] = one
            elif spec.name in engines:
                full = full_engines[spec.name].path if spec.name in full_engines else None
                settings[spec.name] = replace(one, engine=engines[spec.name].path, full_engine=full)
        return Contest(
            profile=served,
            entrants=tuple(entrants),
            settings=settings,
            engines=engines,
            unavailable=unavailable,
        )

    def _engines(
        self, profile: Profile, entrants: Sequence[EntrantSpec], frames: Sequence[Image]
    ) -> tuple[dict[str, Engine], dict[str, Engine], dict[str, str]]:
        engines, full_engines, unavailable = {}, {}, {}
        for spec in (spec for spec in entrants if spec.group == OURS):
            try:
                engines[spec.name] = self._engine(profile, spec.precision, Graph.CORE, frames)
                if self.full and self.backend is Backend.CPU:
                    full_engines[spec.name] = self._engine(profile, spec.precision, Graph.FULL, None)
            except EngineError as error:
                if not self.int8_may_fail or spec.precision is not Precision.INT8:
                    raise
                unavailable[spec.name] = f"Its engine could not be built: {error.got}."
        return engines, full_engines, unavailable

    def _engine(
        self, profile: Profile, precision: Precision, graph: Graph, frames: Sequence[Image] | None
    ) -> Engine:
        from rvm_trt.engines.provision import provide_engine

        return provide_engine(
            profile,
            backend=self.backend,
            precision=precision,
            graph=graph,
            checkpoint=self.weights.path,
            engines_dir=self.engines_dir,
            calibration=clips_footage([demo_clip()]) if precision is Precision.INT8 else None,
            footage=frames if self.backend is Backend.CPU else None,
            progress=self.tell,
        )

    def _full_graph(self, profile: Profile, full_engines: Mapping[str, Engine]) -> Path:
        """Returns the full graph that our full engines were built from; exported where it is not there any more."""
        name = f"{profile.name}-full-{self.weights.sha256[:8]}.onnx"
        kept = self.engines_dir.parent / "onnx" / name
        wanted = [engine.manifest.onnx_sha256 for engine in full_engines.values()]
        if kept.is_file() and sha256_file(kept) in wanted:
            return kept
        from rvm_trt.export.onnx_graph import export_onnx

        self.tell(f"Exporting the full graph of {profile.name} for the libraries")
        return export_onnx(self.weights.path, profile, self.folder / name, graph=Graph.FULL)


def fields_of(contest: Contest, *, available_bytes: int) -> list[Contest]:
    """Returns the contest, or where not all entrants fit in memory several, with the baseline in each.

    Entrants whose worker is killed for want of memory are told as unavailable, so the estimate may be rough.
    """
    small = contest.profile.width * contest.profile.height * 30 + (400 << 20)
    large = contest.profile.width * contest.profile.height * _PIXEL_BYTES + _PROCESS_BYTES
    fields, room = [[BASELINE]], available_bytes * _USABLE - large
    left = room
    for name in contest.settings:
        if name == BASELINE:
            continue
        need = small if name in contest.engines else large
        if need > left and len(fields[-1]) > 1:
            fields.append([BASELINE])
            left = room
        fields[-1].append(name)
        left -= need
    return [contest.only(names) for names in fields]


def worker_command(settings: Settings) -> list[str]:
    """Returns the command of a worker process."""
    return [sys.executable, "-m", "rvm_trt.benchmarks.worker", json.dumps(settings.to_json())]


def worker_commands(contest: Contest) -> dict[str, list[str]]:
    """Returns the commands of a contest's workers by entrant."""
    return {name: worker_command(settings) for name, settings in contest.settings.items()}


def measure_speed(
    contest: Contest,
    schedule: Schedule,
    *,
    tensor: Schedule | None = None,
    after: Callable[[Field, Measured], None] | None = None,
    tell: Tell,
) -> Measured:
    """Returns the times of a contest's entrants, all in turns.

    Args:
        contest: from `Workshop.prepare`.
        schedule: of the frame protocol.
        tensor: of the tensor protocol; None leaves it out.
        after: called with each field and the times so far, its workers still there.
        tell: called with one line of text before each round.

    Raises:
        BenchmarkError: the baseline or an engine of ours failed.
    """
    measured = Measured()
    for part in fields_of(contest, available_bytes=psutil.virtual_memory().available):
        tell(f"Starting {len(part.settings)} workers at {part.profile.name}")
        with started(worker_commands(part), required=contest.required) as runners:
            measured.add("frame", interleave(runners, schedule, tell=tell))
            if tensor is not None:
                tell("The tensor protocol: starting its graphs")
                measured.add("tensor", interleave(runners, tensor, protocol="tensor", tell=tell))
            if after is not None:
                after(runners, measured)
            measured.start_ms |= runners.start_ms
            measured.failures |= runners.failures
    return measured
