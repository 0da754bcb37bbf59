"""The least time of a frame on the CPU at hand, from its measured peaks: modelled, for the bench document.

The bound is `FrameBound.ideal` of sample, core and compose: all arithmetic at the measured peak of its precision, or
weights, states, frame and composite once through memory, whichever takes longer. What passes between kernels is taken
to stay in the caches and stages to overlap, so that no schedule of the same arithmetic is faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rvm_trt.benchmarks.cpu_peaks import CpuPeaks
from rvm_trt.benchmarks.roofline_bounds import frame_bound
from rvm_trt.benchmarks.roofline_graph import Network, read_network
from rvm_trt.benchmarks.roofline_models import core_key, cpu_model, export_graph
from rvm_trt.options import Precision
from rvm_trt.profile import Profile

OURS = "rvm-trt"


def cpu_network(profile: Profile) -> Network:
    """Returns what a profile's core asks for, from an export of its own (about five seconds).

    Profiles of one `core_key` share it: HD and 4K do.
    """
    return read_network(export_graph(profile))


def cpu_bound(
    profile: Profile, precision: Precision, *, peaks: CpuPeaks | None, network: Network | None = None
) -> dict[str, Any] | None:
    """Returns the modelled least time of a frame, from frame to composite.

    An INT8 engine is taken to run every dense convolution of the decoder in INT8 and the rest in FP32.

    Args:
        profile: of the frame.
        precision: of the engine.
        peaks: of the CPU; None where they were not measured.
        network: of `cpu_network`; None makes it here.

    Returns:
        ``modelled_ms``, and as ``limit`` what asks for it, ``compute`` or ``memory``; None where the peak that this
        precision needs was not measured.
    """
    if peaks is None or precision not in peaks.tflops:
        return None
    model = cpu_model(profile, network or cpu_network(profile))
    ideal = frame_bound(model, peaks.machine, precision).ideal
    return {"modelled_ms": round(ideal.ms, 3), "limit": ideal.limit}


def add_bounds(document: Mapping[str, Any]) -> None:
    """Sets ``bound`` of every entrant of a bench document, in place (five seconds for each network).

    It is None but for our own entrants on the CPU that have a frame time, and where ``environment`` has no ``peaks``,
    which `CpuPeaks.to_json` gives.
    """
    measured = document["environment"].get("peaks")
    peaks = CpuPeaks.from_json(measured) if measured else None
    networks: dict[object, Network] = {}
    for entry in document["profiles"]:
        profile = Profile.from_json(entry["profile"])
        for entrant in entry["entrants"]:
            entrant["bound"] = None
            if peaks is None or not _is_ours(entrant):
                continue
            key = core_key(profile)
            if key not in networks:
                networks[key] = cpu_network(profile)
            bound = cpu_bound(profile, Precision(entrant["precision"]), peaks=peaks, network=networks[key])
            if bound is not None:
                factor = entrant["frame"]["median_ms"] / bound["modelled_ms"]
                entrant["bound"] = {**bound, "measured_over_modelled": round(factor, 3)}


def _is_ours(entrant: Mapping[str, Any]) -> bool:
    return entrant["group"] == OURS and entrant["frame"] is not None and entrant["gpu"] is None
