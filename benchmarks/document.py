"""The bench document: what was measured of a profile, as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rvm_trt.benchmarks.contests import Contest, Measured
from rvm_trt.benchmarks.entrants import BACKGROUND, BASELINE, EntrantSpec
from rvm_trt.benchmarks.file_bench import PROTOCOL as FILE_PROTOCOL
from rvm_trt.benchmarks.lockstep import Accuracy

PROTOCOLS: Mapping[str, str] = {
    "frame": "A uint8 RGB frame in host memory in, a composited uint8 RGB frame in host memory out, one after the "
    "other, states carried; decode and encode are not included. PyTorch eager converts and composites as the "
    "original's documentation does; its variants do it in one module with the network, with torch.lerp; OpenVINO and "
    "ONNX Runtime run the full graph with both conversions in the graph, on their own threads; rvm-trt is a session. "
    "Starting is from the process's start to its being ready, with what libraries keep from earlier runs, as PyTorch "
    "keeps compiled code.",
    "tensor": "The original speed test's: a constant float frame that is ready where it is computed, batch 1, states "
    "carried, synchronised after each frame, foreground and alpha left there as float tensors of the frame's size. "
    "Everyone runs the full graph here; rvm-trt an engine of it, which is not what its session runs.",
    "file": FILE_PROTOCOL,
}


def describe_profile(
    contest: Contest,
    measured: Measured,
    accuracy: Accuracy,
    *,
    footage: Mapping[str, Any],
    stages: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Returns one profile's part of the document."""
    return {
        "name": contest.profile.name,
        "profile": contest.profile.to_json(),
        "footage": dict(footage),
        "background": list(BACKGROUND),
        "entrants": [_entrant(spec, contest, measured, accuracy) for spec in contest.entrants],
        "stages": list(stages),
        "files": list(files),
        "pictures": accuracy.pictures,
    }


def _entrant(spec: EntrantSpec, contest: Contest, measured: Measured, accuracy: Accuracy) -> dict[str, Any]:
    timing = measured.frame.get(spec.name)
    facts = {
        "name": spec.name,
        "label": spec.label,
        "group": spec.group,
        "precision": spec.precision.value,
    }
    if timing is None:
        reason = contest.unavailable.get(spec.name) or measured.failures[spec.name]
        return {**facts, "unavailable": reason, **dict.fromkeys(_MEASURED)}
    use = timing.use
    assert use is not None, "workers tell what they use"
    threads = contest.settings[spec.name].threads
    return {
        **facts,
        "unavailable": None,
        "frame": _timing("frame", spec.name, measured),
        "tensor": _timing("tensor", spec.name, measured),
        "start_ms": round(measured.start_ms[spec.name], 1),
        "first_frame_ms": round(timing.first_ms, 3),
        **use.to_json(frames=len(timing.samples_ms), threads=threads),
        "accuracy": accuracy.errors.get(spec.name),
        "engine": _engine(spec.name, contest),
        "bound": None,
    }


_MEASURED = (
    "frame",
    "tensor",
    "start_ms",
    "first_frame_ms",
    "cpu_ms_per_frame",
    "cpu_utilisation",
    "peak_bytes",
    "gpu",
    "energy_j_per_frame",
    "energy_source",
    "accuracy",
    "engine",
    "bound",
)


def _timing(protocol: str, name: str, measured: Measured) -> dict[str, Any] | None:
    times = measured.times(protocol)
    if name not in times:
        return None
    baseline = None if name == BASELINE else measured.beside[protocol][name]
    return times[name].to_json(baseline=baseline)


def _engine(name: str, contest: Contest) -> dict[str, str] | None:
    if name not in contest.engines:
        return None
    manifest = contest.engines[name].manifest
    return {"name": manifest.name, "onnx_sha256": manifest.onnx_sha256}
