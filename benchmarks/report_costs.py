"""The tables of what a frame costs: stages, whole files, profiles, processor and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from rvm_trt.benchmarks.report_tables import Table
from rvm_trt.benchmarks.report_text import (
    NONE,
    Json,
    fps,
    labels,
    megabytes,
    ms,
    profile_title,
    seconds,
    share,
    short_name,
    timed,
    times,
)


def stage_tables(document: Json) -> tuple[Table, ...]:
    """The stages of our sessions."""
    return tuple(_stage_table(entry) for entry in document["profiles"] if entry["stages"])


def file_tables(document: Json) -> tuple[Table, ...]:
    """File to file."""
    return tuple(_file_table(entry) for entry in document["profiles"] if _filed(entry))


def busy_tables(document: Json) -> tuple[Table, ...]:
    """File to file: what each part worked."""
    return tuple(_busy_table(entry) for entry in document["profiles"] if _filed(entry))


def resource_tables(document: Json) -> tuple[Table, ...]:
    """What an entrant takes besides time."""
    return tuple(_resource_table(entry) for entry in document["profiles"] if timed(entry, "frame"))


def cost_table(document: Json) -> tuple[Table, ...]:
    """What the last profile costs beside the first."""
    cost = document["profile_cost"]
    if not cost:
        return ()
    names = dict(chain.from_iterable(labels(entry).items() for entry in document["profiles"]))
    first, last = (short_name({"name": cost[key]}) for key in ("first", "last"))
    return (
        Table(
            caption=f"A frame of {last} beside one of {first}, frame to frame",
            columns=("entrant", f"{last} / {first}#"),
            rows=tuple((names.get(key, key), times(value)) for key, value in cost["entrants"].items()),
            notes=("Ratios of medians that were measured in turns, in one contest.",),
        ),
    )


def memory_table(document: Json) -> tuple[Table, ...]:
    """The long run that watches memory."""
    memory = document["memory"]
    if not memory:
        return ()
    names = dict(chain.from_iterable(labels(entry).items() for entry in document["profiles"]))
    row = (
        names.get(memory["entrant"], memory["entrant"]),
        short_name({"name": memory["profile"]}),
        "loaded" if memory["torch_loaded"] else "not loaded",
        str(memory["frames"]),
        megabytes(memory["peak_bytes"]),
        f"{memory['growth_bytes'] / 1e6:+.1f}",
    )
    columns = ("entrant", "profile", "PyTorch", "frames#", "peak MB#", "change MB#")
    return (Table(caption="Memory over a long run", columns=columns, rows=(row,)),)


def _filed(entry: Json) -> list[Json]:
    return [row for row in entry["files"] if not row["unavailable"]]


def _stage_table(entry: Json) -> Table:
    parts = _parts(row["median_ms"] for row in entry["stages"])
    names = labels(entry)
    return Table(
        caption=f"Stages, median ms of a frame: {profile_title(entry)}",
        columns=("entrant", *(f"{part}#" for part in parts), "sum#", "frames#"),
        rows=tuple(
            (
                names.get(row["entrant"], row["entrant"]),
                *(ms(row["median_ms"].get(part)) for part in parts),
                ms(sum(row["median_ms"].values())),
                str(row["frames"]),
            )
            for row in entry["stages"]
        ),
    )


def _file_table(entry: Json) -> Table:
    return Table(
        caption=f"File to file: {profile_title(entry)}",
        columns=("entrant", "frames#", "seconds#", "runs, seconds#", "FPS#", "beside PyTorch#"),
        rows=tuple(
            (
                row["label"],
                str(row["frames"]),
                seconds(row["seconds"]),
                " · ".join(seconds(value) for value in row["samples_s"]),
                fps(row["fps"]),
                "baseline" if row["beside_pytorch"] is None else times(row["beside_pytorch"]),
            )
            for row in _filed(entry)
        ),
        notes=tuple(f"{row['label']}: {row['unavailable']}" for row in entry["files"] if row["unavailable"]),
    )


def _busy_table(entry: Json) -> Table:
    parts = _parts(row["busy_s"] for row in _filed(entry))
    return Table(
        caption=f"Work of each part in seconds, and its share of all work: {profile_title(entry)}",
        columns=("entrant", *(f"{part}#" for part in parts), "all work#", "wall clock#"),
        rows=tuple(
            (
                row["label"],
                *(_busy(row["busy_s"], part) for part in parts),
                seconds(sum(row["busy_s"].values())),
                seconds(row["seconds"]),
            )
            for row in _filed(entry)
        ),
        notes=("Parts may work at the same time: their sum may be more than the wall clock.",),
    )


def _busy(busy: Json, part: str) -> str:
    return f"{seconds(busy[part])} ({share(busy[part] / sum(busy.values()))})" if part in busy else NONE


def _resource_table(entry: Json) -> Table:
    columns = (
        "entrant",
        "start s#",
        "first frame ms#",
        "CPU ms a frame#",
        "CPU use#",
        "peak MB#",
        "J a frame#",
        "GPU",
    )
    return Table(
        caption=f"Start, processor, memory and energy: {profile_title(entry)}",
        columns=columns,
        rows=tuple(_resource_row(entrant) for entrant in timed(entry, "frame")),
    )


def _resource_row(entrant: Json) -> tuple[str, ...]:
    energy, gpu = entrant["energy_j_per_frame"], entrant["gpu"]
    start = entrant["start_ms"]
    return (
        entrant["label"],
        NONE if start is None else seconds(start / 1e3),
        ms(entrant["first_frame_ms"]),
        ms(entrant["cpu_ms_per_frame"]),
        share(entrant["cpu_utilisation"]),
        megabytes(entrant["peak_bytes"]),
        NONE if energy is None else f"{energy:.2f} ({entrant['energy_source']})",
        f"{gpu['name']}, {share(gpu['utilisation'])}, {megabytes(gpu['memory_bytes'])} MB" if gpu else NONE,
    )


def _parts(rows: Iterator[Json] | Sequence[Json]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(rows)))
