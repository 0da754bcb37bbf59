"""The schedule on a modelled GPU, for a bench report: nothing of it is measured, and every title says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rvm_trt.benchmarks.report_tables import Table
from rvm_trt.benchmarks.report_text import Json, fps, ms, profile_title, share
from rvm_trt.profile import Profile
from rvm_trt.runtime.verification.gpu_model import named_gpu
from rvm_trt.runtime.verification.timeline import Bar, Timeline, model

GPU = "RTX 4090"
LANES = ("host", "in", "net", "out")
_FIRST_FRAME, _SHOWN_FRAMES = 8, 5


@dataclass(frozen=True, kw_only=True)
class ModelledRun:
    """One way to run a profile on the modelled GPU.

    Attributes:
        title: the way in words.
        timeline: of the whole run.
    """

    title: str
    timeline: Timeline

    def shown(self) -> tuple[tuple[int, Bar], ...]:
        """A few frames from the middle of the run, each bar with its frame's number."""
        frames = range(_FIRST_FRAME, _FIRST_FRAME + _SHOWN_FRAMES)
        return tuple((frame, bar) for frame, bar in _numbered(self.timeline) if frame in frames)


def modelled_runs(document: Json) -> tuple[ModelledRun, ...]:
    """The last profile with frames from ordinary memory, and from page-locked memory."""
    profile = Profile.from_json(document["profiles"][-1]["profile"])
    gpu = named_gpu(GPU)
    return (
        ModelledRun(title="frames in ordinary memory", timeline=model(profile, gpu)),
        ModelledRun(title="frames in page-locked memory", timeline=model(profile, gpu, host_copies=False)),
    )


def schedule_table(document: Json, runs: tuple[ModelledRun, ...]) -> Table:
    """The figures of the modelled runs."""
    return Table(
        caption=f"Modelled schedule on an {GPU}: {profile_title(document['profiles'][-1])}",
        columns=(
            "modelled run",
            "modelled FPS#",
            "modelled latency ms#",
            *(f"{lane} busy#" for lane in LANES),
        ),
        rows=tuple(_row(run) for run in runs),
        modelled=True,
    )


def _row(run: ModelledRun) -> tuple[str, ...]:
    line = run.timeline
    busy = (share(line.busy.get(lane, 0.0)) for lane in LANES)
    return (run.title, fps(line.fps), ms(line.latency_s * 1e3), *busy)


def _numbered(timeline: Timeline) -> Iterator[tuple[int, Bar]]:
    for bar in timeline.bars:
        if bar.label.startswith("frame "):
            yield int(bar.label.split()[-1]), bar
