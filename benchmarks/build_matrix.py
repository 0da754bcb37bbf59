"""Builds every combination that TensorRT for RTX is to serve, and writes what came out: sizes, kernels, INT8's share.

Both variants, both graphs, HD and 4K, FP16 and INT8. resnet50 weights are untrained (see
`rvm_trt.benchmarks.untrained`) unless a checkpoint is given: what they show is that the graphs build.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from rvm_trt.benchmarks.calibration_clips import clips_footage
from rvm_trt.benchmarks.clips import demo_clip
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.benchmarks.report import write_result
from rvm_trt.benchmarks.untrained import untrained_checkpoint
from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.plan import read_plan
from rvm_trt.engines.provision import provide_engine
from rvm_trt.engines.recipe import read_recipe
from rvm_trt.options import Graph, Precision, Variant
from rvm_trt.profile import Profile

OUTPUT = Path("benchmarks/results/build-matrix.json")
# Untrained weights make a matte that means nothing; the search is to run, not to be strict.
_UNTRAINED_BUDGET = 0.1


def build_matrix(checkpoint: Path, resnet50: Path, *, trained: bool, engines: Path) -> list[dict[str, Any]]:
    """Builds all combinations and returns one entry for each."""
    entries = []
    for variant, weights in ((Variant.MOBILENETV3, checkpoint), (Variant.RESNET50, resnet50)):
        for precision in (Precision.FP16, Precision.INT8):
            for graph in Graph:
                for name in ("hd", "4k"):
                    profile = Profile.named(name, variant=variant)
                    real = variant is Variant.MOBILENETV3 or trained
                    engine = provide_engine(
                        profile,
                        backend="tensorrt-rtx",
                        precision=precision,
                        graph=graph,
                        checkpoint=weights,
                        engines_dir=engines,
                        calibration=clips_footage([demo_clip()]) if precision is Precision.INT8 else None,
                        mad_budget=1e-3 if real else _UNTRAINED_BUDGET,
                        progress=lambda text: print(text, file=sys.stderr),
                    )
                    entries.append(_entry(engine, trained=real))
    return entries


def _entry(engine: Engine, *, trained: bool) -> dict[str, Any]:
    plan = read_plan(engine.path / "engine.plan")
    entry: dict[str, Any] = {
        "engine": engine.manifest.name,
        "weights": "trained" if trained else "untrained",
        "targets": list(engine.manifest.targets),
        "kernels": len(plan.kernels),
        "plan_bytes": plan.size_bytes,
        "device_memory_bytes": plan.device_memory_bytes,
    }
    if engine.manifest.precision is Precision.INT8:
        recipe = read_recipe(engine.file("recipe.json"))
        entry["int8_share_of_macs"] = round(recipe.share, 4)
        entry["held_out"] = dict(recipe.held_out)
    return entry


def main() -> int:
    """Builds, writes the result, prints a table, and returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="a mobilenetv3 checkpoint")
    parser.add_argument("--resnet50", type=Path, help="a resnet50 checkpoint (default: untrained weights)")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        resnet50 = args.resnet50 or untrained_checkpoint(demo_clip(), Path(folder) / "untrained_resnet50.pth")
        entries = build_matrix(
            args.checkpoint, resnet50, trained=args.resnet50 is not None, engines=Path(folder) / "engines"
        )
    command = f"python -m rvm_trt.benchmarks.build_matrix --checkpoint {args.checkpoint.name}"
    write_result(
        {"command": command, "environment": describe_environment(threads=2), "engines": entries}, args.output
    )
    for entry in entries:
        print(f"{entry['engine']:<44}{entry['kernels']:>5} kernels {entry['plan_bytes'] / 1e6:>8.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
