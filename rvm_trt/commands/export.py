"""Exports the network of one profile to ONNX: static shapes, explicit states, the ratio baked in.

The core graph reads the frame at low resolution and gives the guided filter's coefficients A and b; the
runtime samples and composes around it. The full graph reads the frame and gives fgr and pha, with the
tensor names of the original project, for any ONNX or TensorRT program.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvm_trt.commands.profile_arguments import add_profile_arguments, profile_from
from rvm_trt.errors import DependencyError, OptionError

if TYPE_CHECKING:
    from rvm_trt.export.parity import ParityReport
    from rvm_trt.export.weights import Weights

HELP = "export the network to ONNX"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.add_argument("-o", "--output", metavar="PATH", help="default: build/onnx/<profile>-<graph>.onnx")
    parser.add_argument("--graph", choices=("core", "full"), default="core", help="default: %(default)s")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        default="fp32",
        help="fp16: half but for FP32 islands, and fewer kernels, for TensorRT (default: %(default)s)",
    )
    parser.add_argument("--checkpoint", metavar="PATH", help="a checkpoint of your own (default: fetched)")
    parser.add_argument(
        "--verify",
        metavar="CLIP",
        help="then run PyTorch and ONNX Runtime side by side on this video, scaled to the profile",
    )
    parser.add_argument(
        "--frames", type=int, default=60, metavar="N", help="of --verify (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="replace a file of -o that is already there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_profile_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Exports, verifies if asked, and returns 0. Raises `RvmTrtError` where the user can mend it."""
    profile = profile_from(args)
    if args.frames < 1:
        raise OptionError("--frames", got=str(args.frames), expected="at least 1", todo="Give more frames.")
    if args.verify and args.precision != "fp32":
        raise OptionError(
            "--verify",
            got=f"with --precision {args.precision}",
            expected="--verify of an fp32 graph",
            todo="For fp16 use 'make half', which emulates half arithmetic.",
        )
    if args.output:
        _check_place(Path(args.output), overwrite=args.force)
    weights = _weights(args)
    from rvm_trt.export.checkpoint import load_checkpoint
    from rvm_trt.export.onnx_graph import export_onnx, resolve_profile

    if weights.note:
        print(f"note: {weights.note}", file=sys.stderr)
    loaded = load_checkpoint(weights.path)
    profile = resolve_profile(profile, loaded)
    suffix = "" if args.precision == "fp32" else f"-{args.precision}"
    path = Path(args.output or Path("build/onnx") / f"{profile.name}-{args.graph}{suffix}.onnx")
    export_onnx(loaded, profile, path, graph=args.graph, precision=args.precision)
    facts: dict[str, Any] = {
        "path": str(path),
        "graph": args.graph,
        "profile": profile.name,
        "size": f"{profile.width}x{profile.height}",
        "network_input": f"{profile.low_width}x{profile.low_height}",
        "bytes": path.stat().st_size,
    }
    report = _verify(args, weights, path) if args.verify else None
    if report is not None:
        facts["parity"] = report.to_json()
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    print("\n".join(f"{name:<14} {value}" for name, value in facts.items() if name != "parity"))
    if report is not None:
        print(f"\nPyTorch beside ONNX Runtime over {report.frames} frames:\n{report.table()}")
    return 0


def _check_place(path: Path, *, overwrite: bool) -> None:
    """Raises `OptionError` before any work where the graph would replace what somebody else may have put there."""
    if path.is_dir():
        got, todo = "a folder of that name", "Name a file in it."
    elif not overwrite and (path.exists() or path.is_symlink()):
        got, todo = "something already there", "Add --force to replace it."
    else:
        return
    raise OptionError(str(path), got=got, expected="a free path", todo=todo)


def _weights(args: argparse.Namespace) -> Weights:
    try:
        from rvm_trt.export.download import terminal_progress
        from rvm_trt.export.weights import find_weights
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rvm_trt"):
            raise
        raise DependencyError(error.name, extra="export", stage="export") from None
    with terminal_progress() as progress:
        return find_weights(variant=args.variant, checkpoint=args.checkpoint, progress=progress)


def _verify(args: argparse.Namespace, weights: Weights, path: Path) -> ParityReport:
    from rvm_trt.export.graph_info import read_graph_info
    from rvm_trt.export.parity import compare
    from rvm_trt.runtime.video.scaled import scaled_frames

    profile = read_graph_info(path).profile
    frames = scaled_frames(args.verify, width=profile.width, height=profile.height, count=args.frames)
    return compare(weights.path, path, frames)
