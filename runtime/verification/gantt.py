"""A timeline as a picture."""

from __future__ import annotations

from pathlib import Path

from rvm_trt.errors import DependencyError
from rvm_trt.runtime.verification.timeline import Bar, Timeline

_ROWS = ("host", "in", "net", "out")
_COLOURS = ("#4878a8", "#e0a33c", "#6a9a58", "#b05c5c", "#7d6aa8", "#5aa0a0")
_SHOWN_FRAMES = 5
_FIRST_FRAME = 8


def draw(timeline: Timeline, path: Path) -> None:
    """Writes a Gantt chart of a few frames from the middle of the run; the suffix of ``path`` says as what.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise DependencyError("matplotlib", extra="bench", stage="timeline") from None
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    frames = range(_FIRST_FRAME, _FIRST_FRAME + _SHOWN_FRAMES)
    bars = [bar for bar in timeline.bars if _frame(bar) in frames]
    begin = min(bar.start_s for bar in bars)
    width_ms = (max(bar.end_s for bar in bars) - begin) * 1e3
    for bar in bars:
        start_ms, length_ms = (bar.start_s - begin) * 1e3, (bar.end_s - bar.start_s) * 1e3
        row, colour = _ROWS.index(bar.actor), _COLOURS[_frame(bar) % len(_COLOURS)]
        axes.barh(row, length_ms, left=start_ms, height=0.72, color=colour, edgecolor="white", linewidth=0.4)
        if length_ms > 0.035 * width_ms:
            text = f"{bar.name.split()[0]} {_frame(bar)}"
            axes.text(
                start_ms + length_ms / 2, row, text, ha="center", va="center", fontsize=7, color="white"
            )
    axes.set_yticks(range(len(_ROWS)), _ROWS)
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        f"{timeline.title}\nmodelled, not measured: {timeline.fps:.0f} FPS, "
        f"latency {timeline.latency_s * 1e3:.2f} ms, several streams at work {timeline.busy.get('several', 0):.0%}",
        fontsize=9,
    )
    with rc_context({"svg.fonttype": "none"}):  # words stay words
        figure.savefig(path, dpi=150)


def _frame(bar: Bar) -> int:
    return int(bar.label.split()[-1]) if bar.label.startswith("frame ") else -1
