"""What FP16 costs in alpha: ``python -m rvm_trt.benchmarks.half_report CLIP… --checkpoint X``.

The product's FP16 graph runs in half arithmetic (`rvm_trt.engines.half_arithmetic`) beside the FP32 graph, each with
its own states, and their alphas are compared at frame size: over real footage, which has to meet `LIMIT_MAD_E3`; over
frames that no camera gives; and over a little footage with other choices of FP32 islands.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnxruntime
import torch

from rvm_trt.benchmarks.bench_weights import bench_weights, describe_weights
from rvm_trt.benchmarks.clips import Image
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.half_accuracy import (
    THREADS,
    AlphaNetwork,
    clip_frames,
    compare_networks,
    half_graph,
    hostile_frames,
)
from rvm_trt.benchmarks.half_islands import PRODUCT, island_choices, matching_nodes
from rvm_trt.benchmarks.half_table import table
from rvm_trt.errors import DependencyError, OptionError, RvmTrtError
from rvm_trt.export.checkpoint import load_checkpoint
from rvm_trt.export.float16 import ISLANDS
from rvm_trt.export.fusion import fuse
from rvm_trt.export.onnx_graph import export_onnx, resolve_profile
from rvm_trt.export.weight_cache import Source, WeightCache, file_name
from rvm_trt.export.weights import find_weights
from rvm_trt.files import atomic_file, cache_dir
from rvm_trt.options import Refiner
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.source import open_source

if TYPE_CHECKING:
    from rvm_trt.export.weights import Weights

Advance = Callable[[str], None]
LIMIT_MAD_E3 = 0.3


@dataclass(frozen=True, kw_only=True)
class HalfOptions:
    """What to compare.

    Attributes:
        profile: frame size and ratio; each checkpoint brings its refiner.
        clips: footage, scaled to the profile's size, and run back and forth where it is too short.
        weights: the first is proved; all are tried with other islands.
        frames: of each clip, in the proof.
        hostile_frames: of each hostile sequence.
        islands_frames: of each clip, for each choice of islands.
        command: how this was asked for, for the record.
    """

    profile: Profile
    clips: Sequence[Path]
    weights: Sequence[Weights]
    frames: int = 300
    hostile_frames: int = 20
    islands_frames: int = 24
    command: str = ""


def run_half_report(options: HalfOptions, *, advance: Advance) -> dict[str, Any]:
    """Makes the graphs, compares them, and returns the report as plain JSON values.

    Args:
        options: what to compare.
        advance: called after each frame with the name of what is running.

    Raises:
        RvmTrtError: a clip or a checkpoint is not usable.
    """
    environment = describe_environment(threads=THREADS)
    subjects = [(weights, *_graphs(weights, options.profile)) for weights in options.weights]
    weights, profile, single, fused = subjects[0]
    reference, product = AlphaNetwork(single), {PRODUCT: AlphaNetwork(half_graph(fused, ISLANDS))}

    def error(name: str, frames: Iterable[Image]) -> dict[str, Any]:
        done = compare_networks(reference, product, frames, profile, advance=lambda: advance(name))
        return done[PRODUCT].to_json()

    clips = [(clip, clip_frames(clip, profile, options.frames)) for clip in options.clips]
    hostile = hostile_frames(profile, options.hostile_frames)
    report = {
        "schema": 1,
        "benchmark": "fp16-accuracy",
        "protocol": "the product's FP16 core graph in emulated half arithmetic (every operator's result rounded to "
        "float16, sums in FP32) beside the FP32 core graph, each from zero states and carrying its own; alpha in 0..1 "
        "at frame size; a clip with fewer frames runs back and forth",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": options.command,
        "environment": environment,
        "runtime": f"ONNX Runtime {onnxruntime.__version__} on the CPU, graph optimisation off",
        "profile": profile.name,
        "weights": describe_weights(weights),
        "islands": dict(ISLANDS),
        "limit_mad_e3": LIMIT_MAD_E3,
        "proof": [{**_describe(clip, options), **error(clip.name, frames)} for clip, frames in clips],
        "hostile": [{"sequence": name, **error(name, frames)} for name, frames in hostile.items()],
        "islands_analysis": [_analyse(*subject, options, advance) for subject in subjects],
    }
    return {**report, "passed": passed(report)}


def _graphs(weights: Weights, profile: Profile) -> tuple[Profile, onnx.ModelProto, onnx.ModelProto]:
    checkpoint = load_checkpoint(weights.path)
    profile = resolve_profile(profile, checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(checkpoint, profile, Path(folder) / "core.onnx")
        single, fused = onnx.load(path), onnx.load(path)
    fuse(fused)
    return profile, single, fused


def _describe(clip: Path, options: HalfOptions) -> dict[str, Any]:
    source = open_source(clip)
    used = sum(1 for _ in islice(source, options.frames))
    return {
        "clip": clip.name,
        "clip_size": [source.width, source.height],
        "scaled": (source.width, source.height) != (options.profile.width, options.profile.height),
        "clip_frames": used,
        "back_and_forth": used < options.frames,
    }


def _analyse(
    weights: Weights,
    profile: Profile,
    single: onnx.ModelProto,
    fused: onnx.ModelProto,
    options: HalfOptions,
    advance: Advance,
) -> dict[str, Any]:
    choices = island_choices(fused)
    reference = AlphaNetwork(single)
    networks = {name: AlphaNetwork(half_graph(fused, islands)) for name, islands in choices.items()}
    title = f"islands, {profile.refiner.value.replace('_', ' ')}"
    rows: dict[str, dict[str, Any]] = {
        name: {
            "islands": name,
            "fp32_nodes": matching_nodes(fused, islands),
            "patterns": dict(islands),
            "clips": [],
        }
        for name, islands in choices.items()
    }
    for clip in options.clips:
        frames = clip_frames(clip, profile, options.islands_frames)
        errors = compare_networks(reference, networks, frames, profile, advance=lambda: advance(title))
        for name, error in errors.items():
            figures = error.to_json()
            kept = {key: figures[key] for key in ("frames", "mad_e3", "max", "dtssd_e2", "non_finite")}
            rows[name]["clips"].append({"clip": clip.name, **kept})
    return {"weights": describe_weights(weights), "nodes": len(fused.graph.node), "rows": list(rows.values())}


def passed(report: Mapping[str, Any]) -> bool:
    """Returns whether every clip of the proof meets the limit, and all that the product's graph gave is finite."""
    product = [
        clip
        for subject in report["islands_analysis"]
        for row in subject["rows"]
        if row["islands"] == PRODUCT
        for clip in row["clips"]
    ]
    rows = [*report["proof"], *report["hostile"], *product]
    finite = all(row["mad_e3"] is not None and row["non_finite"] == 0 for row in rows)
    return finite and all(row["mad_e3"] <= report["limit_mad_e3"] for row in report["proof"])


def main() -> int:
    """Writes the report, prints it; returns 0, or 1 where it is not `passed` or after a user error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--checkpoint", type=Path, metavar="PATH", help="weights (default: fetched)")
    parser.add_argument("--frames", type=int, default=300, metavar="N", help="of each clip (default: 300)")
    parser.add_argument("--profile", default="hd", metavar="NAME", help="a named profile (default: hd)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/fp16.json"))
    args = parser.parse_args()
    try:
        report = run(args)
    except RvmTrtError as error:
        print(f"half_report: {error}", file=sys.stderr)
        return 1
    print(table(report))
    return 0 if report["passed"] else 1


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Does what the arguments of `main` ask for, writes the report and returns it; raises `RvmTrtError`."""
    if args.frames < 1:
        raise OptionError("--frames", got=str(args.frames), expected="at least 1", todo="Give more frames.")
    profile = Profile.named(args.profile)
    torch.set_num_threads(THREADS)
    weights = bench_weights(profile.variant, args.checkpoint, lambda text: print(text, file=sys.stderr))
    words = [clip.name for clip in args.clips]
    words += ["--checkpoint", args.checkpoint.name] if args.checkpoint else []
    words += ["--frames", str(args.frames), "--profile", args.profile]
    options = HalfOptions(
        profile=profile,
        clips=tuple(args.clips),
        weights=(weights, *_fast_weights(weights)),
        frames=args.frames,
        command=shlex.join(["python", "-m", "rvm_trt.benchmarks.half_report", *words]),
    )
    islands = len(options.weights) * options.islands_frames
    total = (
        len(options.clips) * (options.frames + islands)
        + len(hostile_frames(profile, 0)) * options.hostile_frames
    )
    with _progress(total) as advance:
        report = run_half_report(options, advance=advance)
    with atomic_file(args.output) as temporary:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return report


def _fast_weights(weights: Weights) -> list[Weights]:
    """Returns the cached web weights, where they are there and bring the other refiner; fetches nothing."""
    name = file_name(weights.variant, Source.WEB)
    if weights.refiner is Refiner.FAST or WeightCache(cache_dir() / "weights").find(name) is None:
        return []
    return [find_weights(variant=weights.variant, source=Source.WEB)]


@contextmanager
def _progress(total: int) -> Iterator[Advance]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError as error:
        raise DependencyError("rich", extra="export", stage="progress bar") from error
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("graphs", total=total)
        yield lambda name: bar.update(task, advance=1, description=name)


if __name__ == "__main__":
    sys.exit(main())
