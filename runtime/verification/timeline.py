"""The timeline: when each operation of a recorded schedule would run, given how long each takes by itself.

The host makes its calls one after the other, each stream runs its operations in order behind its events, copies in
each direction have an engine of their own, and kernels that run at the same time share the GPU evenly, so that none of
its work is counted twice. A model: nothing here was measured on a GPU.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from rvm_trt.profile import Profile
from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.stages import stage_sizes
from rvm_trt.runtime.verification.gpu_model import CostModel, Gpu
from rvm_trt.runtime.verification.order import HOST, steps
from rvm_trt.runtime.verification.program import Enqueued, Entry, HostWrote, Program
from rvm_trt.runtime.verification.stand_in import StandInStages
from rvm_trt.runtime.verification.virtual_device import Log, VirtualDevice

_HIDDEN_CHANNELS = 16
_FRAMES = 24
_SETTLED = 8  # frames at either end that the figures leave out


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One piece of work in time.

    Attributes:
        actor: the stream, or ``host``.
        name: of the operation or call.
        label: its frame.
        start_s, end_s: from the first call on.
    """

    actor: str
    name: str
    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A modelled run.

    Attributes:
        title: what was modelled.
        bars: in the order of their start.
        fps: frames a second in the middle of the run.
        latency_s: from the start of a frame's `submit` to the end of its `collect`, median.
        busy: share of the time that each stream has work, and of ``several`` streams at once.
    """

    title: str
    bars: tuple[Bar, ...]
    fps: float
    latency_s: float
    busy: dict[str, float]


def model(
    profile: Profile,
    gpu: Gpu,
    *,
    outputs: Sequence[str] = ("composite",),
    depth: int = 2,
    overlap: bool = True,
    host_copies: bool = True,
) -> Timeline:
    """Returns the modelled run of a video from host memory and back.

    Args:
        profile, gpu: what runs where.
        outputs: that come back.
        depth: of the schedule.
        overlap: throughput mode, with ``depth`` frames under way; else one frame at a time, as `process`.
        host_copies: whether the host's thread copies each frame into page-locked memory, or it is there already.
    """
    program = _drive(profile, outputs, depth, overlap)
    if not host_copies:
        program = tuple(entry for entry in program if not isinstance(entry, HostWrote))
    bars = simulate(program, CostModel.of(gpu, profile))
    mode = f"run, {depth} frames under way" if overlap else "process, one frame at a time"
    copied = "" if host_copies else ", frames in page-locked memory"
    return _figures(f"{gpu.name}, {profile.name}, {', '.join(outputs)}: {mode}{copied}", bars)


def simulate(program: Program, costs: CostModel) -> tuple[Bar, ...]:
    """Returns when every operation, and every call of the host that takes time, would run."""
    plan = steps(program)
    queues: dict[str, deque[int]] = defaultdict(deque)
    queues[HOST].extend(range(len(program)))
    left: dict[
        str, float
    ] = {}  # actor → seconds of work left in what it does now, if it had its engine to itself
    doing: dict[str, tuple[int, float]] = {}
    ended = bytearray(len(program))
    bars, now = [], 0.0
    while any(queues.values()) or doing:
        started = True
        while started:  # work of no length ends at once, and lets other work start
            started = False
            for actor in list(queues):
                if actor in doing or not queues[actor]:
                    continue
                index = queues[actor][0]
                own = plan[index].actor == actor
                if own and not all(ended[i] for i in plan[index].after):
                    continue
                queues[actor].popleft()
                doing[actor], left[actor] = (index, now), _seconds(program[index], own, costs)
                started = True
                if left[actor] == 0:
                    _end(actor, index, plan[index].actor, queues, ended)
                    del doing[actor]
        if not doing:
            continue
        rates = _rates({actor: program[index] for actor, (index, _) in doing.items()}, costs)
        step = min(left[actor] / rates[actor] for actor in doing)
        now += step
        for actor, (index, start) in list(doing.items()):
            left[actor] -= step * rates[actor]
            if left[actor] <= 1e-12:
                bars.append(_bar(actor, program[index], start, now))
                _end(actor, index, plan[index].actor, queues, ended)
                del doing[actor]
    return tuple(sorted(bars, key=lambda bar: bar.start_s))


def _end(actor: str, index: int, runner: str, queues: dict[str, deque[int]], ended: bytearray) -> None:
    """Ends a step: one of the actor's own, or a call by which the host hands it to a stream."""
    if actor == runner:
        ended[index] = 1
    else:
        queues[runner].append(index)


def _seconds(entry: Entry, own: bool, costs: CostModel) -> float:
    if isinstance(entry, HostWrote):
        return entry.region.size_bytes / costs.gpu.host_copy_bytes_per_s
    if not own:
        return costs.gpu.call_s
    if isinstance(entry, Enqueued):
        sizes = (sum(region.size_bytes for region in regions) for regions in (entry.reads, entry.writes))
        return costs.seconds(entry.name, *sizes)
    return 0.0


def _rates(entries: dict[str, Entry], costs: CostModel) -> dict[str, float]:
    engines = {
        actor: HOST if actor == HOST or not isinstance(entry, Enqueued) else costs.engine(entry.name)
        for actor, entry in entries.items()
    }
    busy = list(engines.values())
    return {actor: 1.0 / busy.count(engine) for actor, engine in engines.items()}


def _bar(actor: str, entry: Entry, start_s: float, end_s: float) -> Bar:
    if actor == HOST:
        name = "fill pinned memory" if isinstance(entry, HostWrote) else "calls"
    else:
        name = entry.name if isinstance(entry, Enqueued) else ""
    return Bar(actor=actor, name=name.split(".")[0], label=entry.label, start_s=start_s, end_s=end_s)


def _drive(profile: Profile, outputs: Sequence[str], depth: int, overlap: bool) -> Program:
    log = Log(keeps_data=False)
    sizes = stage_sizes(profile, outputs, element_bytes=2, hidden_channels=_HIDDEN_CHANNELS)
    schedule = Schedule(VirtualDevice(log), StandInStages(sizes), depth=depth)
    schedule.set_background(colour=(120, 255, 155))
    log.entries.clear()
    frames = [np.zeros(sizes.source, np.uint8)] * sizes.lanes
    collected = 0
    for frame in range(_FRAMES):
        with log.calling("submit", f"frame {frame}"):
            schedule.submit(frames)
        if schedule.waiting == (depth if overlap else 1):
            with log.calling("collect", f"frame {collected}"):
                schedule.collect()
            collected += 1
    return log.program


def _figures(title: str, bars: tuple[Bar, ...]) -> Timeline:
    begins: dict[str, float] = {}
    ends: dict[str, float] = {}
    for bar in bars:
        begins[bar.label] = min(begins.get(bar.label, bar.start_s), bar.start_s)
        if bar.actor != HOST:
            ends[bar.label] = max(ends.get(bar.label, 0.0), bar.end_s)
    middle = [f"frame {frame}" for frame in range(_SETTLED, _FRAMES - _SETTLED)]
    first, last = ends[middle[0]], ends[middle[-1]]
    return Timeline(
        title=title,
        bars=bars,
        fps=(len(middle) - 1) / (last - first),
        latency_s=median(ends[label] - begins[label] for label in middle),
        busy=_busy(bars, first, last),
    )


def _busy(bars: Sequence[Bar], first: float, last: float) -> dict[str, float]:
    """Returns the share of a time that each actor works, and that several streams do."""
    edges = sorted({first, last, *(t for bar in bars for t in (bar.start_s, bar.end_s) if first < t < last)})
    shares: dict[str, float] = defaultdict(float)
    for start, end in pairwise(edges):
        working = {bar.actor for bar in bars if bar.start_s < end and start < bar.end_s}
        for actor in working:
            shares[actor] += (end - start) / (last - first)
        if len(working - {HOST}) > 1:
            shares["several"] += (end - start) / (last - first)
    return dict(shares)
