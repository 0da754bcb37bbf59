"""Shows what is installed, what runs on this machine, and the one command that adds what is missing.

Each line has a state: ok; missing (the command behind it adds it); broken (there, and does not work); not here
(this machine does not have it, and nothing is wrong). Libraries are loaded in processes of their own, so that
one that crashes is reported like any other.

Exit codes: 0, whatever is found; with --strict 1 where something is missing or broken that 'rvm-trt matte'
needs on the CPU.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import rvm_trt
from rvm_trt.commands.doctor_finding import Finding, Place, State, extra
from rvm_trt.commands.doctor_process import GROUPS, examine

HELP = "show what is installed and what runs here"

Report = Mapping[str, Sequence[Finding]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "--only",
        action="append",
        choices=tuple(GROUPS),
        help="look at this group alone; may be given several times",
    )
    parser.add_argument(
        "--engines",
        type=Path,
        default=Path("build/engines"),
        metavar="DIR",
        help="where engines are kept (default: build/engines)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 where the CPU lacks something for 'rvm-trt matte'"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the findings; returns 0, or 1 with ``--strict`` where something needed does not work."""
    report = examine(args.only or tuple(GROUPS), Place(engines=args.engines))
    if args.json:
        print(json.dumps(_document(report), indent=2))
    else:
        print("\n".join(_lines(report)))
    return 1 if args.strict and _lacking(report) else 0


def _document(report: Report) -> dict[str, object]:
    lacking = _lacking(report)
    return {
        "rvm-trt": rvm_trt.__version__,
        "ready": not lacking,
        "fix": _remedy(lacking) or None,
        "groups": {
            group: {finding.name: finding.to_json() for finding in findings}
            for group, findings in report.items()
        },
    }


def _lines(report: Report) -> Iterator[str]:
    width = max((len(finding.name) for findings in report.values() for finding in findings), default=0)
    for group, findings in report.items():
        yield GROUPS[group][0]
        for finding in findings:
            yield f"  {finding.state.value:<8}  {finding.name:<{width}}  {finding.text}"
            if finding.fix:
                yield f"  {'':<8}  {'':<{width}}  → {finding.fix}"
        yield ""
    lacking = _lacking(report)
    if not lacking and set(report) == set(GROUPS):
        yield "Nothing that 'rvm-trt matte' needs on the CPU is missing."
    if not lacking:
        return
    names = ", ".join(finding.name for finding in lacking)
    yield f"'rvm-trt matte' does not run on the CPU yet: {names}."
    yield f"→ {_remedy(lacking) or 'see above'}"


def _lacking(report: Report) -> list[Finding]:
    return [
        finding
        for findings in report.values()
        for finding in findings
        if finding.needed and finding.state is not State.OK
    ]


def _remedy(lacking: Sequence[Finding]) -> str:
    """Returns the one command to begin with: all extras that are missing at once, else the first fix."""
    extras = {match[1] for finding in lacking if (match := re.search(r"rvm-trt\[([^]]+)\]", finding.fix))}
    return extra(*sorted(extras)) if extras else next((finding.fix for finding in lacking if finding.fix), "")
