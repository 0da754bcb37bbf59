"""Builds the engine of one profile, and everything it needs on the way: weights, ONNX graph, engine.

What is current is left as it is. The engine is a folder with a manifest that names all that it was made
from; 'rvm-trt matte' and MattingSession load it after checking every hash.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_trt.commands.profile_arguments import add_profile_arguments, profile_from
from rvm_trt.options import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from rvm_trt.engines.artifact import Engine
    from rvm_trt.profile import Profile

HELP = "build an engine for a profile"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.add_argument("--graph", choices=("core", "full"), default="core", help="default: %(default)s")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default: bf16 where the CPU has it")
    parser.add_argument(
        "--backend", choices=("auto", "cpu"), default="auto", help="default: %(default)s, the CPU"
    )
    parser.add_argument("--checkpoint", metavar="PATH", help="a checkpoint of your own (default: fetched)")
    parser.add_argument(
        "--footage",
        metavar="CLIP",
        help="measure the precision's accuracy on this video, scaled to the profile, and record it",
    )
    parser.add_argument(
        "--frames", type=int, default=60, metavar="N", help="of --footage (default: %(default)s)"
    )
    parser.add_argument(
        "--engines",
        type=Path,
        default=Path("build/engines"),
        metavar="DIR",
        help="where engines are kept (default: build/engines)",
    )
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")
    add_profile_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Builds and returns 0. Raises `RvmTrtError` where the user can mend it."""
    from rvm_trt.engines.openvino_library import fastest_precision
    from rvm_trt.engines.provision import provide_engine

    profile = profile_from(args)
    engine = provide_engine(
        profile,
        backend=args.backend,
        precision=Precision(args.precision) if args.precision else fastest_precision(),
        graph=args.graph,
        checkpoint=args.checkpoint,
        engines_dir=args.engines,
        footage=_footage(args, profile),
        force=args.footage is not None,  # its figures are asked for, whatever stands there
        progress=lambda text: print(text, file=sys.stderr),
    )
    print(json.dumps(engine.manifest.to_json(), indent=2) if args.json else describe(engine))
    return 0


def _footage(args: argparse.Namespace, profile: Profile) -> Iterator[npt.NDArray[np.uint8]] | None:
    if args.footage is None:
        return None
    from rvm_trt.runtime.video.scaled import scaled_frames

    return scaled_frames(args.footage, width=profile.width, height=profile.height, count=args.frames)


def describe(engine: Engine) -> str:
    """Returns a table of what an engine is: one line per fact."""
    manifest = engine.manifest
    profile = manifest.profile
    size_bytes = sum((engine.path / name).stat().st_size for name in manifest.files)
    inputs = [spec for spec in manifest.tensors if spec.direction == "input"]
    outputs = [spec for spec in manifest.tensors if spec.direction == "output"]
    refiner = profile.refiner.value.replace("_", " ") if profile.uses_refiner else "none (ratio 1)"
    facts = {
        "engine": str(engine.path),
        "size": f"{size_bytes / 1e6:.1f} MB",
        "profile": f"{profile.width}x{profile.height}, ratio {profile.ratio:g}, network {profile.low_width}x"
        f"{profile.low_height}, {profile.variant.value}, {refiner}",
        "graph": manifest.graph.value,
        "precision": manifest.precision.value,
        "runs on": f"any CPU, with OpenVINO {manifest.backend_version.split('-')[0]}",
        "inputs": ", ".join(f"{spec.name} {spec.shape}" for spec in inputs),
        "outputs": ", ".join(f"{spec.name} {spec.shape}" for spec in outputs),
        "accuracy": ", ".join(f"{name} {value}" for name, value in manifest.accuracy.items())
        or "not measured (give --footage CLIP)",
    }
    return "\n".join(f"{name:<10} {value}" for name, value in facts.items())
