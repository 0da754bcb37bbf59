"""The report of `rvm_trt.benchmarks.half_report` as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rvm_trt.benchmarks.half_islands import PRODUCT


def table(report: Mapping[str, Any]) -> str:
    """Returns the report as text."""
    weights, limit = report["weights"]["file"], report["limit_mad_e3"]
    lines = [
        f"FP16 beside FP32, {report['profile']}, {weights}: alpha, with a limit of {limit}e-3 for MAD over footage",
        f"{'':<48}{'frames':>7}{'MAD ×1e3':>10}{'max':>9}{'at':>5}{'dtSSD ×1e2':>12}{'not finite':>12}",
    ]
    for row in (*report["proof"], *report["hostile"]):
        label = row.get("sequence") or f"{row['clip']}{' (back and forth)' * row['back_and_forth']}"
        lines.append(
            f"{label:<48.47}{row['frames']:>7}{_cell(row['mad_e3'], 4):>10}{_cell(row['max'], 4):>9}"
            f"{row['worst_frame']:>5}{_cell(row['dtssd_e2'], 4):>12}{row['non_finite']:>12}"
        )
    lines += ["", "MAD ×1e3 per tenth of the sequence"]
    for row in report["proof"]:
        tenths = " ".join(f"{_cell(value, 3):>6}" for value in row["mad_e3_tenths"])
        lines.append(f"{row['clip']:<36.35}{tenths}")
    for subject in report["islands_analysis"]:
        lines += ["", *_islands_lines(subject, limit)]
    verdict = "passed" if report["passed"] else "FAILED"
    bar = f"MAD at most {limit}e-3 for {weights} over footage, and nothing not finite with the product's islands"
    return "\n".join([*lines, "", f"{bar}: {verdict}"])


def _islands_lines(subject: Mapping[str, Any], limit: float) -> Iterator[str]:
    rows, weights = subject["rows"], subject["weights"]
    names = [clip["clip"] for clip in rows[0]["clips"]]
    title = f"{weights['file']}, {weights['refiner'].replace('_', ' ')}"
    yield f"FP32 islands, {title}: MAD ×1e3 (max), {rows[0]['clips'][0]['frames']} frames"
    yield f"{'':<36}{'nodes':>6}" + "".join(f"{name:>26.24}" for name in names)
    for row in rows:
        cells = [f"{_cell(clip['mad_e3'], 4)} ({_cell(clip['max'], 4)})" for clip in row["clips"]]
        yield f"{row['islands']:<36}{row['fp32_nodes']:>6}" + "".join(f"{cell:>26}" for cell in cells)
        over = [clip["clip"] for clip in row["clips"] if (clip["mad_e3"] or 0.0) > limit]
        if row["islands"] == PRODUCT and over:
            yield f"{'':<36}over {limit}e-3: {', '.join(over)}"


def _cell(value: float | None, digits: int) -> str:
    return "NaN" if value is None else f"{value:.{digits}f}"
