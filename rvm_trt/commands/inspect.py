"""Shows what an engine, a plan or an ONNX graph says of itself: tensors, kernels, precision, sizes.

Nothing is run and no GPU is needed: a plan of TensorRT-RTX is read as it lies on disk, also where it was
built for a GPU that is not here. Kernels are counted as one run launches them; for OpenVINO and ONNX the
operations of the graph stand in their place.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rvm_trt.engines.inspection import Inspection

HELP = "show what an engine or a graph consists of"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.add_argument(
        "artifact", type=Path, metavar="ARTIFACT", help="an engine's folder, a .plan file or a .onnx file"
    )
    parser.add_argument("--kernels", action="store_true", help="list every kernel with its layers")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with every kernel")


def run(args: argparse.Namespace) -> int:
    """Prints the inspection and returns 0. Raises `RvmTrtError` where there is nothing to read."""
    from rvm_trt.engines.inspection import inspect_artifact

    found = inspect_artifact(args.artifact)
    print(json.dumps(found.to_json(), indent=2) if args.json else describe(found, kernels=args.kernels))
    return 0


def describe(found: Inspection, *, kernels: bool = False) -> str:
    """Returns the inspection as text: facts, then tables; with ``kernels``, a table of all of them at the end."""
    sections = [_facts(found), _kinds(found), _precision(found), _traffic(found)]
    if kernels:
        sections.append(_all_kernels(found))
    return "\n\n".join("\n".join(section) for section in sections)


def _facts(found: Inspection) -> Iterator[str]:
    facts = {
        "artifact": str(found.path),
        "form": found.form + (f" for {', '.join(found.targets)}" if found.targets else ""),
        "files": ", ".join(f"{name} {_mb(size)} MB" for name, size in found.files.items()),
    }
    if found.device_memory_bytes is not None:
        facts["memory"] = (
            f"{_mb(found.device_memory_bytes)} MB on the device, besides weights, inputs and outputs"
        )
    for direction in ("input", "output"):
        specs = (spec for spec in found.tensors if spec.direction == direction)
        facts[f"{direction}s"] = ", ".join(f"{spec.name} {spec.shape} {spec.dtype}" for spec in specs)
    return (f"{name:<10} {value}" for name, value in facts.items())


def _kinds(found: Inspection) -> Iterator[str]:
    streams = len({kernel.stream for kernel in found.kernels})
    yield f"{_noun(found)}: {len(found.kernels)}" + (f" on {streams} streams" if streams > 1 else "")
    yield from _table([(str(count), kind) for kind, count in found.kinds.most_common()])


def _precision(found: Inspection) -> Iterator[str]:
    yield f"of which change the precision: {len(found.precision_changes)}"
    yield from _table(
        [
            (change.from_dtype, "→", change.to_dtype, change.kernel, ", ".join(change.layers))
            for change in found.precision_changes
        ]
    )


def _traffic(found: Inspection) -> Iterator[str]:
    yield "activations for which most is moved, in MB:"
    rows = [
        (
            _mb(entry.moved_bytes),
            _mb(entry.written_bytes),
            _mb(entry.read_bytes),
            str(entry.readers),
            entry.tensor.dtype,
            str(entry.tensor.shape),
            entry.tensor.name,
        )
        for entry in found.traffic
    ]
    yield from _table([("moved", "written", "read", "by", "type", "shape", "tensor"), *rows])


def _all_kernels(found: Inspection) -> Iterator[str]:
    yield f"{_noun(found)}, in order:"
    rows = [
        (str(index), str(kernel.stream), kernel.kind, kernel.name, ", ".join(kernel.layers))
        for index, kernel in enumerate(found.kernels, 1)
    ]
    yield from _table([("", "stream", "kind", "name", "layers"), *rows])


def _noun(found: Inspection) -> str:
    return "operations" if found.form.startswith(("OpenVINO", "ONNX")) else "kernels"


def _table(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if cell.replace(".", "").isdecimal() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        )
        yield "  " + "  ".join(cells).rstrip()


def _mb(size: int) -> str:
    return f"{size / 1e6:.2f}"
