"""Parity of every kind of graph over a real clip: ``python -m rvm_trt.benchmarks.parity_report CLIP --checkpoint X``.

For both graphs, both variants, HD and an odd size, PyTorch and ONNX Runtime run side by side with carried states. The
resnet50 weights are untrained (see `rvm_trt.benchmarks.untrained`) unless a checkpoint is given.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rvm_trt.benchmarks.untrained import untrained_checkpoint
from rvm_trt.export.checkpoint import load_checkpoint
from rvm_trt.export.onnx_graph import export_onnx, resolve_profile
from rvm_trt.export.parity import compare
from rvm_trt.files import atomic_file
from rvm_trt.options import Graph, Variant
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.scaled import scaled_frames

LIMIT = 1e-4


def main() -> int:
    """Runs the comparisons, writes the JSON, prints a table; 1 where alpha differs by more than `LIMIT`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip")
    parser.add_argument("--checkpoint", required=True, help="a mobilenetv3 checkpoint")
    parser.add_argument("--resnet50", help="a resnet50 checkpoint (default: untrained weights)")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/parity.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        resnet50 = args.resnet50 or untrained_checkpoint(args.clip, Path(folder) / "untrained_resnet50.pth")
        rows = [
            _row(path, variant, size, graph, args, Path(folder))
            for path, variant in ((args.checkpoint, Variant.MOBILENETV3), (resnet50, Variant.RESNET50))
            for size in ((1920, 1080, 0.25), (417, 235, 0.6))
            for graph in Graph
        ]
    report = {"clip": Path(args.clip).name, "frames": args.frames, "limit_pha": LIMIT, "rows": rows}
    with atomic_file(args.output) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["worst"]["pha"]["error"] <= LIMIT for row in rows) else 1


def _row(
    checkpoint: str | Path,
    variant: Variant,
    size: tuple[int, int, float],
    graph: Graph,
    args: argparse.Namespace,
    folder: Path,
) -> dict[str, Any]:
    width, height, ratio = size
    loaded = load_checkpoint(checkpoint)
    profile = resolve_profile(
        Profile.for_size(width=width, height=height, ratio=ratio, variant=variant), loaded
    )
    path = export_onnx(loaded, profile, folder / "graph.onnx", graph=graph)
    frames = scaled_frames(args.clip, width=width, height=height, count=args.frames)
    report = compare(loaded, path, frames)
    row = {
        "profile": profile.name,
        "graph": graph.value,
        "weights": Path(checkpoint).name,
        "checkpoint_sha256": loaded.sha256,
        **report.to_json(),
    }
    errors = {name: f"{report.worst(name)[0]:.1e}" for name in ("pha", "fgr", "r1o", "r4o")}
    print(f"{profile.name:<24} {graph.value:<5} {report.frames} frames  {errors}", flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
