"""The tables of speed and accuracy of a bench report, the same in HTML and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from rvm_trt.benchmarks.report_text import (
    NONE,
    Json,
    error,
    footage_note,
    fps,
    labels,
    ms,
    paper_note,
    profile_title,
    timed,
    times,
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table in words.

    Attributes:
        caption: what it shows.
        columns: headers; those that end in ``#`` hold numbers, and lose that sign.
        rows: as many cells each.
        notes: sentences below it.
        modelled: whether any of it was modelled and not measured.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    modelled: bool = False

    @property
    def headers(self) -> tuple[tuple[str, bool], ...]:
        """Each column's header, and whether it holds numbers."""
        return tuple((column.removesuffix("#"), column.endswith("#")) for column in self.columns)


def speed_tables(document: Json, protocol: str) -> tuple[Table, ...]:
    """A protocol's speeds, with the accuracy beside them, a table for each profile."""
    return tuple(_speed_table(entry, protocol) for entry in document["profiles"] if timed(entry, protocol))


def latency_tables(document: Json) -> tuple[Table, ...]:
    """How long a frame takes in the frame protocol, to its slow ones."""
    columns = ("entrant", "p50 ms#", "p95 ms#", "p99 ms#", "slowest ms#", "p99 / p50#", "frames#")
    return tuple(
        Table(
            caption=f"Latency, frame to frame: {profile_title(entry)}",
            columns=columns,
            rows=tuple(_latency_row(entrant) for entrant in timed(entry, "frame")),
        )
        for entry in document["profiles"]
        if timed(entry, "frame")
    )


def accuracy_tables(document: Json) -> tuple[Table, ...]:
    """Every metric of every entrant."""
    return tuple(_accuracy_table(entry) for entry in document["profiles"] if compared(entry))


def bound_tables(document: Json) -> tuple[Table, ...]:
    """How far entrants are from what was modelled as possible."""
    return tuple(
        Table(
            caption=f"Modelled bounds: {profile_title(entry)}",
            columns=("entrant", "modelled bound ms#", "limited by", "measured ms#", "measured / modelled#"),
            rows=tuple(_bound_row(entrant) for entrant in _bounded(entry)),
            modelled=True,
        )
        for entry in document["profiles"]
        if _bounded(entry)
    )


def compared(entry: Json) -> list[Json]:
    """The entrants of a profile whose alpha was compared."""
    return [entrant for entrant in entry["entrants"] if entrant["accuracy"]]


def _bounded(entry: Json) -> list[Json]:
    return [entrant for entrant in timed(entry, "frame") if entrant["bound"]]


def _speed_table(entry: Json, protocol: str) -> Table:
    untimed = [
        entrant["label"]
        for entrant in entry["entrants"]
        if entrant[protocol] is None and not entrant["unavailable"]
    ]
    return Table(
        caption=f"{'Frame to frame' if protocol == 'frame' else 'Tensor protocol'}: {profile_title(entry)}",
        columns=(
            "entrant",
            "precision",
            "median ms#",
            "quartiles ms#",
            "FPS#",
            "beside PyTorch#",
            "alpha MAD ×1e3#",
            "largest error#",
        ),
        rows=tuple(_speed_row(entrant, entrant[protocol]) for entrant in timed(entry, protocol)),
        notes=(
            *((f"Not measured in this protocol: {', '.join(untimed)}.",) if untimed else ()),
            *paper_note(entry, protocol),
        ),
    )


def _speed_row(entrant: Json, timing: Json) -> tuple[str, ...]:
    lower, upper = timing["quartiles_ms"]
    accuracy = entrant["accuracy"]
    ratio = timing["beside_pytorch"]
    return (
        entrant["label"],
        entrant["precision"].upper(),
        ms(timing["median_ms"]),
        f"{ms(lower)}–{ms(upper)}",
        fps(timing["fps"]),
        "baseline" if ratio is None else times(ratio),
        *((error(accuracy["mad_e3"]), error(accuracy["max"])) if accuracy else (_reference(entrant), "")),
    )


def _reference(entrant: Json) -> str:
    # The only entrant without a comparison that has nothing to be compared with.
    return "reference" if entrant["frame"] and entrant["frame"]["beside_pytorch"] is None else NONE


def _latency_row(entrant: Json) -> tuple[str, ...]:
    timing = entrant["frame"]
    return (
        entrant["label"],
        *(ms(timing[key]) for key in ("p50_ms", "p95_ms", "p99_ms")),
        ms(max(chain.from_iterable(timing["samples_ms"]))),
        times(timing["p99_ms"] / timing["p50_ms"]),
        str(timing["frames"]),
    )


def _accuracy_table(entry: Json) -> Table:
    first = compared(entry)[0]["accuracy"]
    return Table(
        caption=f"Alpha and foreground beside {labels(entry)[first['reference']]}: {profile_title(entry)}",
        columns=(
            "entrant",
            "MAD ×1e3#",
            "MSE ×1e3#",
            "Grad#",
            "Conn#",
            "dtSSD ×1e2#",
            "foreground MSE ×1e3#",
            "largest error#",
            "worst frame#",
            "frames#",
        ),
        rows=tuple(_accuracy_row(entrant["label"], entrant["accuracy"]) for entrant in compared(entry)),
        notes=(
            f"Grad and Conn are of {first.get('costly_frames', first['frames'])} of the frames. Mean alpha of the "
            f"reference: {first['reference_mean']:.3f}. A clip of fewer frames was played there and back. "
            f"{footage_note(entry)}",
        ),
    )


def _accuracy_row(label: str, accuracy: Json) -> tuple[str, ...]:
    metrics = ("mad_e3", "mse_e3", "grad", "conn", "dtssd", "fgr_mse_e3", "max")
    return (
        label,
        *(error(accuracy[metric]) for metric in metrics),
        str(accuracy["worst_frame"]),
        str(accuracy["frames"]),
    )


def _bound_row(entrant: Json) -> tuple[str, ...]:
    bound = entrant["bound"]
    return (
        entrant["label"],
        ms(bound["modelled_ms"]),
        bound["limit"],
        ms(entrant["frame"]["median_ms"]),
        times(bound["measured_over_modelled"]),
    )
