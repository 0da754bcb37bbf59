"""Runs the fuzz targets one after the other and writes what they found: ``make fuzz [SECONDS=60]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULT = ROOT / "benchmarks" / "results" / "fuzz.json"
TIMEOUT_S, RSS_LIMIT_MB, MAX_BYTES = 10, 1024, 1 << 20
_FIGURES = {
    "executions": r"stat::number_of_executed_units:\s*(\d+)",
    "coverage_edges": r"\bcov: (\d+)",
    "coverage_features": r"\bft: (\d+)",
    "corpus_inputs": r"\bcorp: (\d+)/",
    "slowest_s": r"stat::slowest_unit_time_sec:\s*(\d+)",
    "peak_rss_mb": r"stat::peak_rss_mb:\s*(\d+)",
}
_PACKAGES = ("atheris", "numpy", "torch", "onnx", "protobuf")


def fuzz(name: str, seconds: int, executions: int, seed: int, artifacts: Path) -> dict[str, Any]:
    """Runs one target and returns its figures. An input that is a finding stays in ``artifacts``."""
    options = {
        "max_total_time": seconds,
        "runs": executions,
        "timeout": TIMEOUT_S,
        "rss_limit_mb": RSS_LIMIT_MB,
        "max_len": MAX_BYTES,
        "len_control": 0,
        "print_final_stats": 1,
        "seed": seed,
        "artifact_prefix": f"{artifacts}/{name}-",
    }
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        done = subprocess.run(
            [
                sys.executable,
                HERE / "fuzz_process.py",
                name,
                *(f"-{option}={value}" for option, value in options.items()),
                folder,
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
    figures: dict[str, Any] = {"seconds": round(time.monotonic() - started)}
    for figure, pattern in _FIGURES.items():
        found = re.findall(pattern, done.stderr)
        figures[figure] = int(found[-1]) if found else None
    figures["findings"] = [] if done.returncode == 0 else [_words(done.stderr)]
    return figures


def _words(said: str) -> str:
    """Returns the line that tells what happened: Python's exception, or libFuzzer's own error."""
    lines = [line.strip() for line in said.splitlines()]
    told = [
        line for line in lines if re.match(r"(\w+\.)*\w*(Error|Exception|Warning)\b|==\d+==\s*ERROR", line)
    ]
    return (told or lines or ["no message"])[0][:300]


def environment() -> Mapping[str, Any]:
    """Returns what the figures depend on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "commit": commit.stdout.strip() or None,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def _kept(path: Path) -> dict[str, Any]:
    """Returns the figures of an earlier run, of which some targets are run again."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["targets"] if path.exists() else {}
    return found


def main() -> int:
    """Returns 1 where a target found something."""
    sys.path.insert(0, str(HERE.parent / "export"))
    from fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(prog="tests/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--executions", type=int, default=-1, help="for each target, if they come first")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer (default: 1)")
    parser.add_argument("--output", type=Path, help=f"where to write the figures, {RESULT.name} say")
    parser.add_argument(
        "--artifacts", type=Path, default=ROOT / "build" / "fuzz", help="for inputs that are findings"
    )
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)"
    )
    args = parser.parse_args()
    if unknown := set(args.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}")
    args.artifacts.mkdir(parents=True, exist_ok=True)
    results = _kept(args.output) if args.targets and args.output else {}
    for name in args.targets or TARGETS:
        figures = results[name] = {
            "what": TARGETS[name].what,
            **fuzz(name, args.seconds, args.executions, args.seed, args.artifacts),
        }
        found = "; ".join(figures["findings"]) or "nothing found"
        print(f"{name:10} {figures['executions']} executions in {figures['seconds']} s: {found}", flush=True)
    if args.output:
        limits = {"timeout_s": TIMEOUT_S, "rss_mb": RSS_LIMIT_MB, "input_bytes": MAX_BYTES}
        document = {
            "command": shlex.join(["python", "tests/fuzz", *sys.argv[1:]]),
            "environment": environment(),
            "limits": limits,
            "targets": results,
        }
        args.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if any(figures["findings"] for figures in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
