"""The charts of a bench report, by the section that they stand in. Measured and modelled never share one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from rvm_trt.benchmarks.charts import (
    TRACK,
    Chart,
    Rect,
    Row,
    Scale,
    Tick,
    Word,
    bar,
    curve,
    stack,
    upright,
    whisker,
)
from rvm_trt.benchmarks.report_schedule import LANES, ModelledRun, modelled_runs
from rvm_trt.benchmarks.report_tables import compared
from rvm_trt.benchmarks.report_text import (
    PAPER_LABEL,
    Json,
    error,
    fps,
    labels,
    ms,
    paper_fps,
    profile_title,
    seconds,
    share,
    timed,
    times,
)

_GROUPS = {"pytorch": "PyTorch", "library": "other libraries, full graph", "rvm-trt": "rvm-trt"}
_PARTS = ("decode", "sample", "core", "compose", "matte", "encode", "rest")
_CURVE = 44.0
_ROOM_FOR_NUMBER, _ROOM_FOR_NAME = 4.0, 11.0  # per cent of a track


def charts(document: Json) -> dict[str, tuple[Chart, ...]]:
    """Returns the charts by their section's key."""
    makers: dict[str, Callable[[Json], Iterator[Chart]]] = {
        "frame": lambda entry: _speed(entry, "frame"),
        "tensor": lambda entry: _speed(entry, "tensor"),
        "latency": _latency,
        "stages": _stages,
        "files": _files,
        "accuracy": _drift,
    }
    made = {
        key: tuple(chain.from_iterable(make(entry) for entry in document["profiles"]))
        for key, make in makers.items()
    }
    return {**made, "cost": tuple(_cost(document)), "schedule": tuple(map(_gantt, modelled_runs(document)))}


def _speed(entry: Json, protocol: str) -> Iterator[Chart]:
    entrants = timed(entry, protocol)
    if not entrants:
        return
    paper = paper_fps(entry)
    best = [1e3 / entrant[protocol]["quartiles_ms"][0] for entrant in entrants]
    scale = Scale.from_zero([*best, *([paper] if paper else [])])
    rows = tuple(
        Row(
            label=entrant["label"],
            group=entrant["group"],
            value=f"{fps(entrant[protocol]['fps'])} FPS",
            rects=(bar(scale, entrant[protocol]["fps"]),),
            strokes=(whisker(scale, *sorted(1e3 / value for value in entrant[protocol]["quartiles_ms"])),),
        )
        for entrant in entrants
    )
    words = {"frame": "Frames a second, frame to frame", "tensor": "Frames a second, tensor protocol"}
    yield Chart(
        caption=f"{words[protocol]}: {profile_title(entry)}",
        rows=rows,
        ticks=scale.ticks(),
        unit="frames a second (more is better)",
        note="Bars are medians; the thin lines span the quartiles."
        + (" The mark was measured by others, on another machine." if paper else ""),
        mark=Tick(at=scale.at(paper), label=f"{paper:g} FPS: {PAPER_LABEL}") if paper else None,
        legend=_legend(entrants),
    )


def _latency(entry: Json) -> Iterator[Chart]:
    entrants = timed(entry, "frame")
    if not entrants:
        return
    samples = [list(chain.from_iterable(entrant["frame"]["samples_ms"])) for entrant in entrants]
    scale = Scale.of_magnitudes(chain.from_iterable(samples))
    yield Chart(
        caption=f"Every frame's time, frame to frame: {profile_title(entry)}",
        rows=tuple(_strip(entrant, every, scale) for entrant, every in zip(entrants, samples, strict=True)),
        ticks=scale.ticks(),
        unit="ms, logarithmic (less is better)",
        heading="p50 / p95 / p99, ms",
        note="Faint lines are single frames, the box spans the quartiles, and the taller lines are p50 (thick), p95 "
        "and p99.",
        legend=_legend(entrants),
    )


def _strip(entrant: Json, samples: list[float], scale: Scale) -> Row:
    timing = entrant["frame"]
    left, right = (scale.at(value) for value in timing["quartiles_ms"])
    tails = [scale.at(timing[key]) for key in ("p95_ms", "p99_ms")]
    return Row(
        label=entrant["label"],
        group=entrant["group"],
        value=f"{ms(timing['p50_ms'])} / {ms(timing['p95_ms'])} / {ms(timing['p99_ms'])}",
        rects=(Rect(kind="box", left=left, width=round(right - left, 3), top=7.0, height=TRACK - 14.0),),
        strokes=(
            upright("sample", map(scale.at, samples), top=10.0, height=TRACK - 20.0),
            upright("tail", tails, top=5.0, height=TRACK - 10.0),
            upright("median", [scale.at(timing["p50_ms"])], top=4.0, height=TRACK - 8.0),
        ),
    )


def _stages(entry: Json) -> Iterator[Chart]:
    names = labels(entry)
    rows = [(names.get(row["entrant"], row["entrant"]), row["median_ms"]) for row in entry["stages"]]
    if not rows:
        return
    kinds = _kinds([parts for _, parts in rows])
    scale = Scale.from_zero(sum(parts.values()) for _, parts in rows)
    yield Chart(
        caption=f"Median time of each stage: {profile_title(entry)}",
        rows=tuple(_parted(label, parts, kinds, scale, ms, "ms") for label, parts in rows),
        ticks=scale.ticks(),
        unit="ms a frame (less is better)",
        legend=tuple((kind, part) for part, kind in kinds.items()),
    )


def _files(entry: Json) -> Iterator[Chart]:
    rows = [row for row in entry["files"] if not row["unavailable"]]
    if not rows:
        return
    kinds = _kinds([row["busy_s"] for row in rows])
    scale = Scale.from_zero(max(row["seconds"], sum(row["busy_s"].values())) for row in rows)
    yield Chart(
        caption=f"Work of each part, file to file: {profile_title(entry)}",
        rows=tuple(
            _parted(row["label"], row["busy_s"], kinds, scale, seconds, "s", wall=row["seconds"])
            for row in rows
        ),
        ticks=scale.ticks(),
        unit="seconds of work (less is better)",
        note="The upright line is the wall clock. Work beyond it was done beside other work.",
        legend=tuple((kind, part) for part, kind in kinds.items()),
    )


def _parted(
    label: str,
    parts: Json,
    kinds: dict[str, str],
    scale: Scale,
    show: Callable[[float], str],
    unit: str,
    wall: float | None = None,
) -> Row:
    whole = sum(parts.values())
    # In one order everywhere, whatever the order in the document.
    ordered = [(part, parts[part]) for part in kinds if part in parts]
    return Row(
        label=label,
        group="parts",
        value=f"{show(whole if wall is None else wall)} {unit}",
        detail=" · ".join(f"{part} {show(value)} ({share(value / whole)})" for part, value in ordered),
        rects=stack(scale, [(kinds[part], value) for part, value in ordered]),
        strokes=() if wall is None else (upright("wall", [scale.at(wall)], top=3.0, height=TRACK - 6.0),),
    )


def _drift(entry: Json) -> Iterator[Chart]:
    entrants = compared(entry)
    if not entrants:
        return
    frames = max(len(entrant["accuracy"]["drift_mad_e3"]) for entrant in entrants)
    scale = Scale(low=0.0, high=max(1.0, frames - 1.0))
    yield Chart(
        caption=f"Alpha MAD ×1e3 of each frame: {profile_title(entry)}",
        rows=tuple(_drift_row(entrant) for entrant in entrants),
        ticks=scale.ticks(),
        unit="frame",
        note="Each row has its own scale, from 0 at the bottom to its largest value at the top: the question is "
        "whether an error grows, not which is larger.",
        legend=_legend(entrants),
        track=_CURVE,
    )


def _drift_row(entrant: Json) -> Row:
    drift = entrant["accuracy"]["drift_mad_e3"]
    tenth = max(1, len(drift) // 10)
    first, last = (sum(part) / tenth for part in (drift[:tenth], drift[-tenth:]))
    return Row(
        label=entrant["label"],
        group=entrant["group"],
        value=f"top {error(max(drift))}",
        detail=f"first {tenth} frames {error(first)}, last {tenth} {error(last)}",
        strokes=(curve(drift, high=max(*drift, 1e-12), height=_CURVE),),
    )


def _cost(document: Json) -> Iterator[Chart]:
    cost = document["profile_cost"]
    if not cost:
        return
    entrants = {entrant["name"]: entrant for entry in document["profiles"] for entrant in entry["entrants"]}
    scale = Scale.from_zero(cost["entrants"].values())
    first, last = cost["first"].upper(), cost["last"].upper()
    yield Chart(
        caption=f"Time of a {last} frame beside one of {first}",
        rows=tuple(
            Row(
                label=entrants[name]["label"],
                group=entrants[name]["group"],
                value=times(value),
                rects=(bar(scale, value),),
            )
            for name, value in cost["entrants"].items()
        ),
        ticks=scale.ticks(),
        unit=f"times a frame of {first} (less is better)",
        legend=_legend([entrants[name] for name in cost["entrants"]]),
    )


def _gantt(run: ModelledRun) -> Chart:
    shown = run.shown()
    begin = min(bar.start_s for _, bar in shown)
    scale = Scale.from_zero([(max(bar.end_s for _, bar in shown) - begin) * 1e3])
    frames = sorted({frame for frame, _ in shown})
    rows = []
    for lane in LANES:
        rects, words = [], []
        for frame, piece in shown:
            if piece.actor != lane:
                continue
            left = scale.at((piece.start_s - begin) * 1e3)
            width = round(scale.at((piece.end_s - begin) * 1e3) - left, 3)
            rects.append(
                Rect(kind=f"f{frames.index(frame)}", left=left, width=width, top=2.0, height=TRACK - 4)
            )
            if width > _ROOM_FOR_NUMBER:
                name = f"{piece.name.split()[0]} {frame}" if width > _ROOM_FOR_NAME else str(frame)
                words.append(Word(left=left, width=width, text=name, short=str(frame)))
        rows.append(Row(label=lane, group="lane", rects=tuple(rects), words=tuple(words)))
    line = run.timeline
    return Chart(
        caption=line.title,
        rows=tuple(rows),
        ticks=scale.ticks(),
        unit="ms, modelled",
        note=f"Modelled: {fps(line.fps)} FPS, latency {ms(line.latency_s * 1e3)} ms, several streams at work "
        f"{share(line.busy.get('several', 0.0))} of the time. Colours and numbers are frames.",
        modelled=True,
    )


def _kinds(rows: list[Json]) -> dict[str, str]:
    """Returns the parts that occur, in the order of the work, each with its colour."""
    found = dict.fromkeys(chain.from_iterable(rows))
    known = [part for part in _PARTS if part in found] + [part for part in found if part not in _PARTS]
    every = [*_PARTS, *(part for part in known if part not in _PARTS)]
    return {part: f"p{every.index(part) % 8}" for part in known}


def _legend(entrants: list[Json]) -> tuple[tuple[str, str], ...]:
    groups = dict.fromkeys(entrant["group"] for entrant in entrants)
    return tuple((f"g-{group}", _GROUPS[group]) for group in groups)
