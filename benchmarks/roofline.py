"""Bounds of a matted frame on named GPUs, modelled from the graph: ``python -m rvm_trt.benchmarks.roofline``.

Nothing is run on a GPU; docs/roofline.md says what is modelled and how. With ``--measured`` the frame times in a result
of ``rvm-trt bench`` are held against their bounds: on the CPU, whose peaks stand in the result or are measured here, or
on the one GPU that is named.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rvm_trt.benchmarks.cpu_peaks import CpuPeaks, measure_peaks, read_peaks
from rvm_trt.benchmarks.gpus import GPUS, gpu_named
from rvm_trt.benchmarks.report import read_result, write_result
from rvm_trt.benchmarks.roofline_bounds import FrameModel
from rvm_trt.benchmarks.roofline_graph import read_network
from rvm_trt.benchmarks.roofline_machine import Machine
from rvm_trt.benchmarks.roofline_models import core_key, cpu_model, export_graph, full_model, gpu_model
from rvm_trt.benchmarks.roofline_report import (
    Distance,
    bounds_table,
    distances,
    distances_table,
    make_entry,
    stages_table,
    to_json,
    work_table,
)
from rvm_trt.engines.launches import LAUNCH_US, TRUNK_KERNELS
from rvm_trt.engines.plan import read_plan
from rvm_trt.engines.recipe import read_recipe
from rvm_trt.errors import OptionError, RvmTrtError
from rvm_trt.export.checkpoint import Checkpoint, load_checkpoint
from rvm_trt.export.onnx_graph import resolve_profile
from rvm_trt.options import Graph, Precision
from rvm_trt.profile import Profile

PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the bounds, writes them where asked, and returns 0; 1 with a message where the user can mend it."""
    args = _parser().parse_args(arguments)
    command = shlex.join(
        ["python", "-m", "rvm_trt.benchmarks.roofline", *(sys.argv[1:] if arguments is None else arguments)]
    )
    try:
        _run(args, command)
    except RvmTrtError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(args: argparse.Namespace, command: str) -> None:
    checkpoint = load_checkpoint(args.checkpoint) if args.checkpoint else None
    result = read_result(args.measured) if args.measured else None
    profiles = _profiles(args, checkpoint, result)
    gpus = [gpu_named(key) for key in args.gpu] if args.gpu else list(GPUS)
    precisions = [Precision(word) for word in args.precision] if args.precision else list(PRECISIONS)
    models, cpu_models = _models(args, profiles, checkpoint)
    entries = [
        make_entry(model, gpu, precision)
        for model in models.values()
        for gpu in gpus
        for precision in precisions
    ]
    measured: tuple[Distance, ...] = ()
    machine = None
    if result is not None:
        machine = _machine(args, result["environment"])
        measured = distances(result, models if len(args.gpu or ()) == 1 else cpu_models, machine)
    report = to_json(entries, measured, machine, command)
    if args.output:
        write_result(report, args.output)
    if args.json:
        print(json.dumps(report))
        return
    tables = [bounds_table(entries), work_table(models.values())]
    tables += [stages_table(entries)] if len(entries) <= 8 else []
    tables += [distances_table(measured)] if measured else []
    print("\n\n".join(tables))


def _profiles(
    args: argparse.Namespace, checkpoint: Checkpoint | None, result: Mapping[str, Any] | None
) -> list[Profile]:
    if result is not None and not args.profile:
        return [Profile.from_json(entry["profile"]) for entry in result["profiles"]]
    profiles = [Profile.named(name) for name in dict.fromkeys(args.profile or ("hd", "4k"))]
    return [profile if checkpoint is None else resolve_profile(profile, checkpoint) for profile in profiles]


def _models(
    args: argparse.Namespace, profiles: Sequence[Profile], checkpoint: Checkpoint | None
) -> tuple[Mapping[str, FrameModel], Mapping[str, FrameModel]]:
    """Returns the models for GPUs and for CPUs by the profile's name; profiles that share a network share an export."""
    graph = Graph(args.graph)
    launches = len(read_plan(args.plan).kernels) if args.plan else TRUNK_KERNELS
    int8: Collection[str] | None = read_recipe(args.recipe).ranges.keys() if args.recipe else None
    built: dict[object, tuple[FrameModel, FrameModel | None]] = {}
    models, cpu_models = {}, {}
    for profile in profiles:
        key = core_key(profile) if graph is Graph.CORE else profile
        if key not in built:
            exported = export_graph(profile, checkpoint=checkpoint, graph=graph)
            built[key] = (
                (full_model(profile, exported, launch_us=args.launch_us), None)
                if graph is Graph.FULL
                else (
                    gpu_model(profile, exported, launches=launches, launch_us=args.launch_us, int8=int8),
                    cpu_model(profile, read_network(exported)),
                )
            )
        model, on_cpu = built[key]
        models[profile.name] = replace(model, profile=profile)
        if on_cpu is not None:
            cpu_models[profile.name] = replace(on_cpu, profile=profile)
    return models, cpu_models


def _machine(args: argparse.Namespace, environment: Mapping[str, Any]) -> Machine:
    if len(args.gpu or ()) == 1:
        return gpu_named(args.gpu[0]).machine
    if args.cpu_peaks:
        peaks = read_peaks(args.cpu_peaks)
    elif environment.get("peaks"):
        peaks = CpuPeaks.from_json(environment["peaks"])
    else:
        peaks = measure_peaks()
    if peaks.cpu != environment["cpu"]:
        raise OptionError(
            "--measured",
            got=f"a result of {environment['cpu']!r}",
            expected=f"one of {peaks.cpu!r}, whose peaks are known",
            todo="Give that machine's peaks (--cpu-peaks), or name the one GPU it was measured on.",
        )
    return peaks.machine


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="PATH", help="default: random weights, deep guided filter"
    )
    parser.add_argument(
        "--profile", action="append", metavar="NAME", help="may be repeated (default: hd, 4k)"
    )
    parser.add_argument("--graph", choices=[g.value for g in Graph], default=Graph.CORE.value)
    parser.add_argument(
        "--gpu", nargs="+", metavar="NAME", help=f"of {', '.join(gpu.key for gpu in GPUS)} (default: all)"
    )
    parser.add_argument("--precision", nargs="+", choices=[p.value for p in PRECISIONS], help="default: all")
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help=f"plan whose kernels are counted (default: {TRUNK_KERNELS})"
    )
    parser.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="INT8 recipe (default: all dense convolutions of the decoder)",
    )
    parser.add_argument(
        "--launch-us", type=float, default=LAUNCH_US, help="least time of a kernel (default: %(default)s)"
    )
    parser.add_argument(
        "--measured", type=Path, metavar="FILE", help="a result of 'rvm-trt bench' to hold against its bounds"
    )
    parser.add_argument("--cpu-peaks", type=Path, metavar="FILE", help="peaks instead of the result's own")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the JSON document")
    return parser


if __name__ == "__main__":
    sys.exit(main())
