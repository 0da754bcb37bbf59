"""What zero states cost and save: ``python -m rvm_trt.benchmarks.zero_states CLIP… --checkpoint X``.

At a cut the states of the shot before are wrong, and zero states know nothing: both give errors for some frames, which
are compared here. And who seeks into a video starts from zero states: after how many frames is alpha that of the
uninterrupted run?
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.benchmarks.bench_weights import bench_weights, describe_weights
from rvm_trt.benchmarks.drift import Matter
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.report import write_result
from rvm_trt.benchmarks.wandering import wandering_frames
from rvm_trt.engines.provision import provide_engine
from rvm_trt.errors import RvmTrtError
from rvm_trt.options import Precision
from rvm_trt.profile import Profile
from rvm_trt.runtime.session import MattingSession

Image = npt.NDArray[np.uint8]
Alphas = npt.NDArray[np.uint8]

PROFILE = Profile(width=512, height=288, ratio=0.5)
THREADS = 1
AT_CUT = (1, 5, 15, 30)
WARM_UP = (0, 1, 2, 5, 10, 25, 50, 100)
_SHOT = 40  # frames before a cut
_CUT_PLACES = (40, 70, 100)  # where the second shot is entered
_STARTS = (30, 55, 80, 105, 130, 155)
_FRAMES = 260  # of each clip: the last start and the longest warm-up fit in


def at_cuts(sessions: Mapping[str, Matter], clips: Mapping[str, Sequence[Image]]) -> dict[str, Any]:
    """Returns the alpha errors behind cuts, with the states of the shot before and from zero, as plain JSON values.

    Two references, both by the session ``fp32``: from zero states at the cut, and the second clip matted without a
    break from before the place where it is entered, which is what states are for.

    Args:
        sessions: name → session, ``fp32`` among them.
        clips: name → at least 130 frames.
    """
    reference = sessions["fp32"]
    whole = {name: _matted(reference, frames) for name, frames in clips.items()}
    errors: dict[tuple[str, str, str, str], list[npt.NDArray[np.float64]]] = {}
    joins = [(first, second, place) for first, second in permutations(clips, 2) for place in _CUT_PLACES]
    for first, second, place in joins:
        shot = clips[second][place : place + max(AT_CUT)]
        settled, fresh = whole[second][place : place + len(shot)], _matted(reference, shot)
        for name, session in sessions.items():
            _matted(session, clips[first][:_SHOT])
            carried = _matted(session, shot, reset=False)
            for states, alphas in (("carried", carried), ("reset", _matted(session, shot))):
                for against, expected in (("uninterrupted", settled), ("from zero", fresh)):
                    errors.setdefault((second, name, states, against), []).append(_mads(alphas, expected))
    return {
        "joins": len(joins),
        "rows": [
            {
                "into": second,
                "engine": name,
                "states": states,
                "against": f"fp32, {against}",
                "mad_e3_first_frames": {
                    str(count): round(float(np.mean([mads[:count].mean() for mads in series])) * 1e3, 4)
                    for count in AT_CUT
                },
            }
            for (second, name, states, against), series in errors.items()
        ],
    }


def warm_up(session: Matter, clips: Mapping[str, Sequence[Image]]) -> list[dict[str, Any]]:
    """Returns how far alpha is from the uninterrupted run's after some frames from zero states, as plain JSON values.

    Args:
        session: mattes.
        clips: name → at least 260 frames.
    """
    rows = []
    for name, frames in clips.items():
        whole = _matted(session, frames)
        length = max(WARM_UP) + 1
        errors = [
            _mads(_matted(session, frames[start : start + length]), whole[start : start + length])
            for start in _STARTS
        ]
        mean, worst = np.mean(errors, axis=0) * 1e3, np.max(errors, axis=0) * 1e3
        rows.append(
            {
                "clip": name,
                "starts": len(_STARTS),
                "mad_e3_after_frames": {str(count): round(float(mean[count]), 4) for count in WARM_UP},
                "worst_start_mad_e3_after_frames": {
                    str(count): round(float(worst[count]), 4) for count in WARM_UP
                },
            }
        )
    return rows


def _matted(session: Matter, frames: Sequence[Image], *, reset: bool = True) -> Alphas:
    if reset:
        session.reset()
    return np.stack([session.process(frame).pha.copy() for frame in frames])


def _mads(alphas: Alphas, expected: Alphas) -> npt.NDArray[np.float64]:
    apart = np.abs(np.subtract(alphas, expected, dtype=np.int16))
    means: npt.NDArray[np.float64] = apart.mean(axis=(1, 2)) / 255
    return means


def run(args: argparse.Namespace, tell: Callable[[str], None]) -> dict[str, Any]:
    """Does what the arguments of `main` ask for, and returns the result; raises `RvmTrtError`."""
    weights = bench_weights(PROFILE.variant, args.checkpoint, tell)
    clips = {clip.name: list(wandering_frames(clip, PROFILE, _FRAMES)) for clip in args.clips}
    with ExitStack() as owned:
        sessions = {
            precision.value: owned.enter_context(
                MattingSession(
                    provide_engine(
                        PROFILE,
                        precision=precision,
                        checkpoint=weights.path,
                        engines_dir=args.engines,
                        progress=tell,
                    ),
                    outputs=("pha",),
                    threads=THREADS,
                )
            )
            for precision in (Precision.FP32, Precision.BF16)
        }
        cuts, starts = at_cuts(sessions, clips), warm_up(sessions["fp32"], clips)
        profile = sessions["fp32"].profile.name
    words = [clip.name for clip in args.clips]
    words += ["--checkpoint", args.checkpoint.name] if args.checkpoint else []
    return {
        "schema": 1,
        "benchmark": "zero-states",
        "protocol": "CPU engines; clips back and forth, cropped along a slow path, with noise of 2 levels; alpha in "
        f"0..1 from 8 bits; cuts: {_SHOT} frames of one clip, then the other from the middle, means over the joins and "
        "over the first n frames; warm-up: the frame after n frames from zero states, FP32",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "rvm_trt.benchmarks.zero_states", *words]),
        "environment": describe_environment(threads=THREADS),
        "profile": profile,
        "weights": describe_weights(weights),
        "cuts": cuts,
        "warm_up": starts,
    }


def summary(result: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines that `main` prints."""
    for row in result["cuts"]["rows"]:
        states = f"into {row['into']}, {row['engine']}, states {row['states']}"
        yield f"{states}, against {row['against']}: {row['mad_e3_first_frames']}"
    for row in result["warm_up"]:
        yield f"{row['clip']}, after frames: {row['mad_e3_after_frames']}"


def main() -> int:
    """Measures, writes the result and prints its summary; returns 0, or 1 after a user error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="one shot each, two at the least")
    parser.add_argument("--checkpoint", type=Path, metavar="PATH", help="weights (default: fetched)")
    parser.add_argument("--engines", type=Path, default=Path("build/engines"), metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/zero-states.json"))
    args = parser.parse_args()
    try:
        result = run(args, lambda text: print(text, file=sys.stderr, flush=True))
    except RvmTrtError as error:
        print(f"zero_states: {error}", file=sys.stderr)
        return 1
    write_result(result, args.output)
    for line in summary(result):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
