"""Faults: what ``rvm-trt matte`` does with broken inputs, full disks, kills and more. Writes docs/reliability.md.

    python -m rvm_trt.benchmarks.reliability [--kills N] [--only GROUP]

Required of every run: an exit code that is documented, no traceback, no hang (a watchdog ends it), no file under the
output's name unless the run succeeded, an output that opens and holds every frame that decodes but those counted as
lost, and no file or thread left. Exit code 1 if one of them is broken anywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from rvm_trt.benchmarks.broken_inputs import broken_inputs
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.fault_runner import Outcome, call_in_child, load_libraries, start
from rvm_trt.benchmarks.fault_scenario import Scenario
from rvm_trt.benchmarks.fault_scenarios import scenarios
from rvm_trt.benchmarks.good_clips import write_good_clip
from rvm_trt.benchmarks.reliability_report import write_report

_TIMEOUT_S = 120.0
_DOCUMENTED = (0, 1, 2, 130)


@dataclass(kw_only=True)
class Group:
    """A row of the table.

    Attributes:
        name: what was done.
        runs, done, refused: how many runs there were, how many gave an output and how many one error.
        frames, lost: frames delivered, and pieces counted as lost, in the runs that gave an output.
        slowest_s: the longest run.
        faults: what broke a requirement, one line each.
    """

    name: str
    runs: int = 0
    done: int = 0
    refused: int = 0
    frames: int = 0
    lost: int = 0
    slowest_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, outcome: Outcome, faults: Iterable[str], report: dict[str, Any] | None) -> None:
        """Counts a run."""
        self.runs += 1
        self.done += outcome.code == 0
        self.refused += outcome.code == 1
        self.slowest_s = max(self.slowest_s, round(outcome.seconds, 2))
        if report is not None:
            self.frames += report["frames"]
            self.lost += report["skipped_frames"]
        self.faults += [f"{name}: {fault}" for fault in faults]


def check_run(outcome: Outcome, output: Path) -> list[str]:
    """Returns what is wrong with a run whatever its input was, in words."""
    faults = []
    if outcome.code is None:
        faults.append(f"did not end within {_TIMEOUT_S:.0f} s")
    elif outcome.code not in _DOCUMENTED:
        last = outcome.err.strip().splitlines()[-1:] or ["nothing said"]
        faults.append(f"exit code {outcome.code} ({last[0][:160]})")
    if outcome.has_traceback:
        faults.append("a traceback: " + outcome.err.strip().splitlines()[-1][:160])
    if outcome.code != 0 and output.exists():
        faults.append("an output under its name after a failure")
    # Notes may stand before it, on lines of their own.
    if outcome.code == 1 and not any(line.startswith("rvm-trt matte: ") for line in outcome.err.splitlines()):
        faults.append(f"no clear message: {outcome.err[:80]!r}")
    return faults + [f"left behind: {each}" for each in outcome.left if not each.startswith("file /dev")]


def run_inputs(folder: Path, engines: Path, only: str | None, tell: Callable[[str], None]) -> list[Group]:
    """Mattes every broken input and returns the groups."""
    groups: dict[str, Group] = {}
    for number, case in enumerate(broken_inputs(folder)):
        if only is not None and case.group != only:
            continue
        group = groups.setdefault(case.group, Group(name=case.group))
        place = folder / f"case-{number}"
        place.mkdir()
        given, output = case.make(place), place / "output.mkv"
        outcome = start(
            ["matte", str(given), "-o", str(output), "--engines", str(engines), "--json", "--threads", "1"],
            place / "streams",
        ).wait(timeout_s=_TIMEOUT_S)
        report = json.loads(outcome.out) if outcome.code == 0 else None
        faults = check_run(outcome, output)
        if report is not None:
            faults += _check_frames(given, output, report)
        group.add(case.name, outcome, faults, report)
        if faults:
            tell(f"{case.name}: {'; '.join(faults)}")
        elif number % 25 == 0:
            tell(f"{number} inputs")
    return list(groups.values())


def _check_frames(given: Path, output: Path, report: dict[str, Any]) -> list[str]:
    written = call_in_child(lambda: count_frames(output), timeout_s=_TIMEOUT_S)
    if written != report["frames"]:
        return [f"{written} frames in the output, {report['frames']} reported"]
    if given.is_dir() or given.suffix in (".png", ".jpg"):
        return []
    decodable = call_in_child(lambda: count_frames(given), timeout_s=_TIMEOUT_S)
    if decodable is not None and report["frames"] + report["skipped_frames"] < decodable:
        return [f"{decodable} frames decode, {report['frames']} delivered, {report['skipped_frames']} lost"]
    return []


def count_frames(path: Path) -> int:
    """Returns how many frames of a video decode, going on behind each one that does not."""
    import av

    count = 0
    with av.open(f"file:{path}", metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                break
            if packet is None:
                break
            try:
                count += len(stream.decode(packet))
            except av.FFmpegError:
                continue
    return count


def run_scenarios(
    folder: Path, engines: Path, kills: int, only: str | None, tell: Callable[[str], None]
) -> list[Group]:
    """Runs the faults that are not in the input and returns a group for each."""
    groups = []
    for scenario in scenarios(kills=kills):
        if only is None or scenario.name == only:
            tell(scenario.name)
            groups.append(_run_scenario(scenario, folder, engines))
            for fault in groups[-1].faults:
                tell(fault)
    return groups


def _run_scenario(scenario: Scenario, folder: Path, engines: Path) -> Group:
    group = Group(name=scenario.name)
    place = folder / scenario.name.replace(" ", "-")
    place.mkdir()
    for result in scenario.run(place, engines):
        faults = (
            [*check_run(result.outcome, result.output), *result.faults] if result.checked else result.faults
        )
        group.add(result.name, result.outcome, faults, None)
    return group


def main(arguments: list[str] | None = None) -> int:
    """Runs everything, writes the result and the page, and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kills", type=int, default=200, metavar="N", help="random kills (default: %(default)s)"
    )
    parser.add_argument("--only", metavar="GROUP", help="one row of the table")
    parser.add_argument("--engines", type=Path, default=Path("build/engines"), metavar="DIR")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/reliability.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/reliability.md"))
    args = parser.parse_args(arguments)
    environment = describe_environment(threads=1)
    load_libraries()
    with tempfile.TemporaryDirectory(prefix="rvm-trt-reliability-") as name:
        folder = Path(name)
        _build_engine(folder, args.engines)
        groups = run_inputs(folder, args.engines, args.only, _tell)
        groups += run_scenarios(folder, args.engines, args.kills, args.only, _tell)
    document = {
        "date": date.today().isoformat(),
        "environment": environment,
        "command": "python -m rvm_trt.benchmarks.reliability",
        "timeout_s": _TIMEOUT_S,
        "groups": [asdict(group) for group in groups],
    }
    if args.only is None:
        args.result.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        write_report(document, args.page)
    print(json.dumps(document, ensure_ascii=False))
    return int(any(group.faults for group in groups))


def _build_engine(folder: Path, engines: Path) -> None:
    """The engine and the kernels of the good clips, so that no run is about building."""
    clip = write_good_clip(folder / "first.mp4", ".mp4")
    output = folder / "first.mkv"
    outcome = start(
        ["matte", str(clip), "-o", str(output), "--engines", str(engines)], folder / "first"
    ).wait(timeout_s=600)
    if outcome.code != 0:
        raise SystemExit(f"The good clip was not matted: {outcome.err}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
