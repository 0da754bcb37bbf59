"""A comparison of two bench documents as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rvm_trt.benchmarks.compare_accuracy import Closeness
from rvm_trt.benchmarks.ratio_interval import THRESHOLD, Ratio, Verdict

if TYPE_CHECKING:
    from rvm_trt.benchmarks.compare import Comparison
    from rvm_trt.benchmarks.compare_times import TimeChange


def comparison_markdown(comparison: Comparison) -> str:
    """Returns warnings, a table of times, changes of accuracy, what is missing, and the result."""
    parts = [
        _title(comparison),
        "\n".join(_warnings(comparison)),
        "\n".join(_times(comparison)),
        _reading(comparison),
        "\n".join(_accuracy(comparison)),
        "\n".join(f"- {_where(row.profile, row.entrant)}: {row.text}" for row in comparison.absences),
        _result(comparison),
    ]
    return "\n\n".join(part for part in parts if part)


def _title(comparison: Comparison) -> str:
    old, new = (_identity(side) for side in (comparison.old, comparison.new))
    return f"Old: {old}. New: {new}."


def _identity(side: Any) -> str:
    return f"{side['date']}, {side['cpu']}, commit {(side['commit'] or 'unknown')[:12]}"


def _warnings(comparison: Comparison) -> Iterator[str]:
    for condition in comparison.conditions:
        spoilt = " and ".join(figure.value for figure in condition.spoils)
        where = f" at {condition.profile}" if condition.profile else ""
        yield (
            f"- Warning: another {condition.subject}{where} ({condition.old} → {condition.new}); "
            f"{spoilt} cannot be compared."
        )
    yield from (f"- {remark}" for remark in comparison.remarks)


def _times(comparison: Comparison) -> Iterator[str]:
    yield "| profile | protocol | entrant | old ms | new ms | new/old | beside PyTorch, new/old | verdict |"
    yield "|---|---|---|---:|---:|---:|---:|---|"
    for row in comparison.times:
        cells = (
            row.profile,
            row.protocol,
            row.entrant,
            f"{row.old_ms:.1f}",
            f"{row.new_ms:.1f}",
            _ratio(row.raw),
            "" if row.relative is None else _ratio(row.relative),
            _verdict(row),
        )
        yield f"| {' | '.join(cells)} |"


def _ratio(ratio: Ratio) -> str:
    text = f"{ratio.value:.3f} ({ratio.low:.3f}–{ratio.high:.3f})"
    return f"~~{text}~~" if ratio.verdict is Verdict.INCOMPARABLE else text


def _verdict(row: TimeChange) -> str:
    loud = row.ours and row.verdict is Verdict.SLOWER
    return f"**{row.verdict.value}**" if loud else row.verdict.value


def _reading(comparison: Comparison) -> str:
    return (
        "New time over old, above 1 is slower. Beside PyTorch, each round is divided by PyTorch eager's of the same "
        "round, which takes out how fast the machine was; this decides where it can be had. In brackets the interval "
        f"at {100 * comparison.confidence:.2f} %, from rounds drawn again, which lets all intervals of this project "
        f"hold together at 95 %. A change below {100 * THRESHOLD:g} % counts as none. What differs from one start of "
        "a process to the next is not in the intervals."
    )


def _accuracy(comparison: Comparison) -> Iterator[str]:
    same = [row for row in comparison.accuracy if row.verdict is Closeness.SAME]
    for row in comparison.accuracy:
        if row.verdict is not Closeness.SAME:
            yield (
                f"- Alpha of {_where(row.profile, row.entrant)}: MAD ×1e3 {row.old_mad_e3:.4g} → "
                f"{row.new_mad_e3:.4g}, {row.verdict.value}."
            )
    if same:
        yield f"- Alpha {Closeness.SAME.value} as before: {', '.join(_where(r.profile, r.entrant) for r in same)}."


def _where(profile: str, entrant: str | None) -> str:
    return profile if entrant is None else f"{entrant} at {profile}"


def _result(comparison: Comparison) -> str:
    if comparison.regressed:
        return f"Regressed: {'; '.join(comparison.regressions)}."
    return "No regression found."
