"""Builds the engine of one profile, and everything it needs on the way: weights, ONNX graph, engine.

What is current is left as it is. An engine is a folder with a manifest that names all that it was made from.
With --backend auto and no GPU, two are built: one for TensorRT for RTX, ahead of time, to be run on another
machine, and one that runs here. INT8 is calibrated on footage of people (--calibration, else the demo clip).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_trt.commands.profile_arguments import add_profile_arguments, profile_from
from rvm_trt.options import Backend, Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from rvm_trt.commands.build_plan import Step
    from rvm_trt.engines.artifact import Engine
    from rvm_trt.profile import Profile

HELP = "build an engine for a profile"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.add_argument("--graph", choices=("core", "full"), default="core", help="default: %(default)s")
    parser.add_argument(
        "--precision",
        choices=[p.value for p in Precision],
        help="default: fp16 for TensorRT; bf16 for a CPU that has it, else fp32",
    )
    parser.add_argument("--backend", choices=[b.value for b in Backend], default=Backend.AUTO.value)
    parser.add_argument(
        "--sm",
        metavar="LIST",
        help="compute capabilities for tensorrt-rtx, as 75,89,120 (default: Ampere and later)",
    )
    parser.add_argument("--checkpoint", metavar="PATH", help="a checkpoint of your own (default: fetched)")
    parser.add_argument(
        "--calibration",
        nargs="+",
        metavar="CLIP",
        help="footage for INT8, and for the accuracy of FP16 (default: the demo clip)",
    )
    parser.add_argument(
        "--mad-budget",
        type=float,
        default=1.0e-3,
        metavar="E",
        help="for INT8: largest mean error of alpha on held-out footage (default: %(default)s)",
    )
    parser.add_argument(
        "--report", type=Path, metavar="PATH", help="for INT8: write what was chosen as JSON, and a plot"
    )
    parser.add_argument(
        "--footage",
        metavar="CLIP",
        help="measure a CPU engine's accuracy on this video, scaled to the profile, and record it",
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
    parser.add_argument("--force", action="store_true", help="build even what is current")
    parser.add_argument("--json", action="store_true", help="print the manifests as JSON")
    add_profile_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Builds and returns 0. Raises `RvmTrtError` where the user can mend it."""
    from rvm_trt.commands.build_plan import plan_builds
    from rvm_trt.commands.engine_table import table
    from rvm_trt.commands.quantisation_report import write_report

    profile = profile_from(args)
    engines = [_build(args, profile, step) for step in plan_builds(args)]
    if args.report is not None:
        write_report(engines, args.report)
    if args.json:
        documents = [engine.manifest.to_json() for engine in engines]
        print(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2))
    else:
        print("\n\n".join(table(engine) for engine in engines))
    return 0


def _build(args: argparse.Namespace, profile: Profile, step: Step) -> Engine:
    from rvm_trt.commands.build_plan import search_bar
    from rvm_trt.engines.provision import provide_engine

    with search_bar() as show:
        return provide_engine(
            profile,
            backend=step.backend,
            precision=step.precision,
            graph=args.graph,
            checkpoint=args.checkpoint,
            engines_dir=args.engines,
            options=step.options,
            calibration=step.calibration,
            mad_budget=args.mad_budget,
            footage=_footage(args, profile) if step.backend is Backend.CPU else None,
            # Figures are asked for, whatever stands there.
            force=args.force or (args.footage is not None and step.backend is Backend.CPU),
            progress=lambda text: print(text, file=sys.stderr),
            search_progress=show,
        )


def _footage(args: argparse.Namespace, profile: Profile) -> Iterator[npt.NDArray[np.uint8]] | None:
    if args.footage is None:
        return None
    from rvm_trt.runtime.video.scaled import scaled_frames

    return scaled_frames(args.footage, width=profile.width, height=profile.height, count=args.frames)
