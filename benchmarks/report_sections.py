"""A bench report in sections of words and tables, from which both the page and the Markdown are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rvm_trt.benchmarks.report_conditions import conditions_tables, missing_table, noise_table
from rvm_trt.benchmarks.report_costs import (
    busy_tables,
    cost_table,
    file_tables,
    memory_table,
    resource_tables,
    stage_tables,
)
from rvm_trt.benchmarks.report_schedule import GPU, modelled_runs, schedule_table
from rvm_trt.benchmarks.report_tables import (
    Table,
    accuracy_tables,
    bound_tables,
    latency_tables,
    speed_tables,
)
from rvm_trt.benchmarks.report_text import Json

LICENCE = (
    "RVM's weights are GPL-3.0 and belong to the original project (github.com/PeterL1n/RobustVideoMatting). They are "
    "not part of this report; what is distributed together with them, or with engines built from them, is subject to "
    "their licence."
)
_METRICS = (
    "MAD and MSE are means of alpha's error in 0..1, times 1000. Grad and Conn are sums over a frame divided by "
    "1000, so that they grow with the frame; dtSSD is the root of the mean squared error of alpha's change from frame "
    "to frame, times 100: the scales of RVM's paper. Foreground MSE counts the pixels where the reference's alpha is "
    "above 0, times 1000. All are means over frames, against PyTorch in FP32 and not against a hand-made matte. "
    "Largest error is that of a single pixel."
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report.

    Attributes:
        key: for links, and for the charts that belong here.
        title: its heading.
        paragraphs: before the charts and tables.
        tables: in order.
        modelled: whether all of it is modelled.
        commands: lines to type.
    """

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    modelled: bool = False
    commands: tuple[str, ...] = ()


def sections(document: Json) -> tuple[Section, ...]:
    """The report's sections in order; those without anything to say are left out."""
    return tuple(
        section
        for section in (
            *_speeds(document),
            Section(key="missing", title="What could not run", tables=missing_table(document)),
            Section(
                key="latency",
                title="Latency",
                paragraphs=(
                    "Time from a frame given to its composite. A p99 of fewer than 100 frames says no more than the "
                    "slowest.",
                ),
                tables=latency_tables(document),
            ),
            *_parts(document),
            Section(
                key="accuracy",
                title="Accuracy",
                paragraphs=(_METRICS,),
                tables=accuracy_tables(document),
            ),
            Section(key="pictures", title="Frames side by side"),
            Section(key="cost", title="What a larger profile costs", tables=cost_table(document)),
            Section(
                key="resources",
                title="Start, processor, memory, energy",
                paragraphs=(
                    "Start is from the process's start until it is ready: imports, loading, compiling. CPU use is CPU "
                    "time over wall clock and threads. A dash is what could not be read here.",
                ),
                tables=(*resource_tables(document), *memory_table(document)),
            ),
            *_modelled(document),
            _conditions(document),
        )
        if section.tables or section.commands or (section.key == "pictures" and _has_pictures(document))
    )


def _speeds(document: Json) -> Iterator[Section]:
    protocols = document["protocols"]
    yield Section(
        key="frame",
        title="Speed, frame to frame",
        paragraphs=(protocols["frame"],),
        tables=speed_tables(document, "frame"),
    )
    yield Section(
        key="tensor",
        title="Speed, tensor protocol",
        paragraphs=(
            protocols["tensor"],
            "Not to be compared with frame to frame: the two protocols measure different work.",
        ),
        tables=speed_tables(document, "tensor"),
    )


def _parts(document: Json) -> Iterator[Section]:
    yield Section(
        key="stages",
        title="Where a frame's time goes",
        paragraphs=("Stages of a session, measured on this machine.",),
        tables=stage_tables(document),
    )
    yield Section(
        key="files",
        title="End to end",
        paragraphs=(document["protocols"]["file"],),
        tables=(*file_tables(document), *busy_tables(document)),
    )


def _modelled(document: Json) -> Iterator[Section]:
    yield Section(
        key="schedule",
        title="The schedule on a GPU",
        paragraphs=(
            f"The operations that the schedule enqueues, on an {GPU} with durations from data sheets and assumptions. "
            "No GPU ran it.",
        ),
        tables=(schedule_table(document, modelled_runs(document)),),
        modelled=True,
    )
    yield Section(
        key="bounds",
        title="How far from the bound",
        paragraphs=(
            "The bound is modelled from the multiply-accumulates and bytes of our graph and this machine's measured "
            "peaks; it is not a measurement. A factor below 1 means peaks that were measured on a busier machine.",
        ),
        tables=bound_tables(document),
        modelled=True,
    )


def _conditions(document: Json) -> Section:
    return Section(
        key="conditions",
        title="Conditions",
        paragraphs=(LICENCE,),
        tables=(*noise_table(document), *conditions_tables(document)),
        commands=(
            document["command"],
            "python -m rvm_trt.benchmarks.report FOLDER    # writes this report again from FOLDER/result.json",
            "rvm-trt bench --compare OLD.json              # measures again and tells regressions from noise",
        ),
    )


def _has_pictures(document: Json) -> bool:
    return any(entry["pictures"] for entry in document["profiles"])
