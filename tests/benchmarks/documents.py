"""A whole bench document of schema 2 with invented but plausible values, for whatever reads such documents.

The times vary as on a shared machine: rounds are slow or fast together, entrants a little, frames a little more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rvm_trt.profile import Profile

BASELINE = "pytorch-eager"
# name: label, group, precision, HD in ms, 4K in ms (both frame to frame), alpha MAD ×1e3.
ENTRANTS: Mapping[str, tuple[str, str, str, float, float, float | None]] = {
    BASELINE: ("PyTorch eager", "pytorch", "fp32", 200.0, 760.0, None),
    "pytorch-bf16": ("PyTorch, BF16 autocast", "pytorch", "bf16", 165.0, 700.0, 0.61),
    "onnxruntime": ("ONNX Runtime", "library", "fp32", 140.0, 520.0, 0.0004),
    "openvino-fp32": ("OpenVINO, FP32", "library", "fp32", 120.0, 430.0, 0.0006),
    "rvm-trt-fp32": ("rvm-trt FP32", "rvm-trt", "fp32", 58.0, 74.0, 0.054),
    "rvm-trt-bf16": ("rvm-trt BF16", "rvm-trt", "bf16", 31.0, 43.0, 0.55),
}
COMPILE_IS_MISSING = "torch.compile needs a C++ compiler, and none was found."


def make_document(
    *,
    seed: int = 1,
    rounds: int = 12,
    frames: int = 8,
    profiles: Sequence[str] = ("hd", "4k"),
    machine: float = 1.0,
    factors: Mapping[str, float] | None = None,
    noise: float = 1.0,
) -> dict[str, Any]:
    """Returns a document as ``rvm-trt bench`` writes it, built anew at each call.

    Args:
        seed: of all noise.
        rounds: rounds of each entrant.
        frames: frames of a round.
        profiles: names of profiles, the first the cheapest.
        machine: how much slower everything is.
        factors: entrant → how much slower it is.
        noise: how much the times vary; 0 makes all samples of an entrant equal.
    """
    generator = np.random.default_rng(seed)
    schedule = {
        "rounds": rounds,
        "frames_per_round": frames,
        "warm_up_frames": 3,
        "accuracy_frames": 300,
        "file_frames": 120,
    }
    described = [
        _profile(name, generator, (rounds, frames), machine, factors or {}, noise) for name in profiles
    ]
    return {
        "schema": 2,
        "benchmark": "rvm-trt bench",
        "date": "2026-01-02T03:04:05+00:00",
        "command": "rvm-trt bench --profile hd,4k --rounds 12 --threads 2",
        "environment": _environment(),
        "weights": {
            "file": "rvm_mobilenetv3.pth",
            "origin": "the official release",
            "sha256": "5c5d32fb" * 8,
            "refiner": "deep_guided_filter",
        },
        "schedule": schedule,
        "protocols": {
            "frame": "A uint8 RGB frame in, a composited uint8 RGB frame out, one after the other.",
            "tensor": "One constant input that is ready in memory, batch 1, states carried.",
            "file": "File to file, decode and encode included.",
        },
        "noise": {
            "noisy": False,
            "text": "The median of a round moved by at most 9 %; ratios are taken within rounds.",
            "spread": {f"{entry['name']}/frame/{key}": 0.06 for entry in described for key in ENTRANTS},
        },
        "profiles": described,
        "profile_cost": _profile_cost(described),
        "memory": {
            "profile": described[-1]["name"],
            "entrant": "rvm-trt-bf16",
            "torch_loaded": False,
            "frames": 1000,
            "peak_bytes": 410_000_000,
            "growth_bytes": -120_000,
            "rss_bytes": [398_000_000, 398_020_000, 397_880_000],
        },
    }


def entrant_of(document: Mapping[str, Any], profile: str, name: str) -> dict[str, Any]:
    """Returns one entrant of a profile, to look at or to change in place."""
    entry = next(entry for entry in document["profiles"] if entry["name"] == profile)
    found: dict[str, Any] = next(entrant for entrant in entry["entrants"] if entrant["name"] == name)
    return found


def timing(samples_ms: Any, baseline_median_ms: float | None) -> dict[str, Any]:
    """Returns the TIMING of samples, (rounds, frames) in milliseconds."""
    samples = np.round(np.asarray(samples_ms, float), 3)
    lower, median, upper = np.percentile(samples, (25, 50, 75))
    p95, p99 = np.percentile(samples, (95, 99))
    return {
        "median_ms": round(float(median), 3),
        "quartiles_ms": [round(float(lower), 3), round(float(upper), 3)],
        "p50_ms": round(float(median), 3),
        "p95_ms": round(float(p95), 3),
        "p99_ms": round(float(p99), 3),
        "fps": round(1e3 / float(median), 2),
        "frames": int(samples.size),
        "samples_ms": samples.tolist(),
        "beside_pytorch": None
        if baseline_median_ms is None
        else round(baseline_median_ms / float(median), 3),
    }


def _profile(
    name: str,
    generator: np.random.Generator,
    shape: tuple[int, int],
    machine: float,
    factors: Mapping[str, float],
    noise: float,
) -> dict[str, Any]:
    together = {
        protocol: _factors(generator, 0.08 * noise, (shape[0], 1)) for protocol in ("frame", "tensor")
    }
    baseline: dict[str, float] = {}
    entrants = []
    for key, (label, group, precision, hd_ms, uhd_ms, mad_e3) in ENTRANTS.items():
        cost_ms = (hd_ms if name == "hd" else uhd_ms) * machine * factors.get(key, 1.0)
        timings = {}
        for protocol, share in (("frame", 1.0), ("tensor", 0.9)):
            samples = cost_ms * share * together[protocol]
            samples = samples * _factors(generator, 0.03 * noise, (shape[0], 1))
            samples = samples * _factors(generator, 0.04 * noise, shape)
            timings[protocol] = timing(samples, baseline.get(protocol))
            baseline.setdefault(protocol, timings[protocol]["median_ms"])
        entrants.append(_entrant(key, label, group, precision, timings, mad_e3))
    missing = dict.fromkeys(entrants[0]) | {
        "name": "pytorch-compile",
        "label": "PyTorch, torch.compile",
        "group": "pytorch",
        "precision": "fp32",
        "unavailable": COMPILE_IS_MISSING,
    }
    entrants.insert(2, missing)
    return {
        "name": name,
        "profile": Profile.named(name).to_json(),
        "footage": {
            "clip": "carphone_pristine.mp4",
            "credit": "'carphone' test sequence",
            "native_size": [176, 144],
            "scaled": True,
            "frames": 32,
        },
        "background": [120, 255, 155],
        "entrants": entrants,
        "stages": [_stages(entrant) for entrant in entrants if entrant["group"] == "rvm-trt"],
        "files": _files(entrants),
        "pictures": _pictures(name),
    }


def _entrant(
    name: str,
    label: str,
    group: str,
    precision: str,
    timings: Mapping[str, dict[str, Any]],
    mad_e3: float | None,
) -> dict[str, Any]:
    median_ms = timings["frame"]["median_ms"]
    ours = group == "rvm-trt"
    return {
        "name": name,
        "label": label,
        "group": group,
        "precision": precision,
        "unavailable": None,
        "frame": timings["frame"],
        "tensor": timings["tensor"],
        "start_ms": 900.0 if ours else 4200.0,
        "first_frame_ms": round(1.7 * median_ms, 3),
        "cpu_ms_per_frame": round(1.7 * median_ms, 3),
        "cpu_utilisation": 0.85,
        "peak_bytes": 410_000_000 if ours else 1_300_000_000,
        "gpu": None,
        "energy_j_per_frame": None,
        "energy_source": None,
        "accuracy": None if mad_e3 is None else _accuracy(mad_e3),
        "engine": {"name": f"hd-core-{precision}-cpu", "onnx_sha256": "ef56c2e7" * 8} if ours else None,
        "bound": {
            "modelled_ms": round(0.4 * median_ms, 3),
            "limit": "compute",
            "measured_over_modelled": 2.5,
        }
        if ours
        else None,
    }


def _accuracy(mad_e3: float) -> dict[str, Any]:
    return {
        "reference": BASELINE,
        "frames": 300,
        "costly_frames": 300,
        "mad_e3": mad_e3,
        "mse_e3": round(mad_e3 / 40, 6),
        "grad": round(mad_e3 * 0.9, 4),
        "conn": round(mad_e3 * 0.4, 4),
        "dtssd": round(mad_e3 * 0.3, 4),
        "fgr_mse_e3": round(mad_e3 / 200, 6),
        "max": min(1.0, round(0.3 * mad_e3, 5)),
        "worst_frame": 41,
        "reference_mean": 0.2973,
        "drift_mad_e3": [round(mad_e3 * (1 + 0.1 * float(np.sin(index / 9))), 4) for index in range(300)],
    }


def _stages(entrant: Mapping[str, Any]) -> dict[str, Any]:
    median_ms = entrant["frame"]["median_ms"]
    shares = {"sample": 0.1, "core": 0.65, "compose": 0.2, "rest": 0.05}
    return {
        "entrant": entrant["name"],
        "frames": 96,
        "median_ms": {stage: round(share * median_ms, 3) for stage, share in shares.items()},
    }


def _files(entrants: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for entrant in entrants:
        if entrant["name"] not in (BASELINE, "rvm-trt-bf16", "pytorch-compile"):
            continue
        row: dict[str, Any] = {"entrant": entrant["name"], "label": entrant["label"]}
        if entrant["unavailable"]:
            empty = ("frames", "fps", "seconds", "samples_s", "beside_pytorch", "busy_s")
            rows.append(row | dict.fromkeys(empty) | {"unavailable": entrant["unavailable"]})
            continue
        seconds = round(0.12 * (entrant["frame"]["median_ms"] + 9.0), 3)
        network = {"core": 0.65 * seconds, "compose": 0.2 * seconds}
        busy = {"decode": 0.5, "sample": 0.1 * seconds, **network, "encode": 1.1}
        row |= {"frames": 120, "fps": round(120 / seconds, 2), "seconds": seconds}
        row |= {"samples_s": [round(seconds * part, 3) for part in (1.0, 0.97, 1.05)]}
        row |= {"beside_pytorch": round(rows[0]["seconds"] / seconds, 3) if rows else None}
        row |= {"busy_s": {part: round(value, 3) for part, value in busy.items()}, "unavailable": None}
        rows.append(row)
    return rows


def _pictures(profile: str) -> list[dict[str, Any]]:
    kinds = ("source", "reference_alpha", "alpha", "reference_composite", "composite")
    return [
        {
            "entrant": "rvm-trt-bf16",
            "frame": frame,
            "why": why,
            **{kind: f"frames/{profile}-{frame}-{kind.replace('_', '-')}.webp" for kind in kinds},
        }
        for frame, why in ((41, "largest error"), (150, "middle of the clip"))
    ]


def _profile_cost(described: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if len(described) < 2:
        return None
    first, last = ({e["name"]: e["frame"] for e in p["entrants"]} for p in (described[0], described[-1]))
    ratios = {
        name: round(last[name]["median_ms"] / first[name]["median_ms"], 3)
        for name in (BASELINE, "rvm-trt-bf16")
    }
    return {"first": described[0]["name"], "last": described[-1]["name"], "entrants": ratios}


def _environment() -> dict[str, Any]:
    return {
        "cpu": "Some CPU 9000",
        "cpu_family_model": "25/17",
        "cpu_flags": ["avx2", "avx512f", "avx512_bf16"],
        "cores_online": 2,
        "cores_usable": 2,
        "threads_per_entrant": 2,
        "load_average": 0.4,
        "memory_bytes": 25_000_000_000,
        "os": "Linux 6.1.0, x86_64",
        "python": "3.11.2",
        "packages": {"rvm-trt": "0.1.0", "torch": "2.13.0+cpu", "openvino": "2026.4.1", "numpy": "2.4.6"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
    }


def _factors(generator: np.random.Generator, spread: float, shape: tuple[int, ...]) -> Any:
    return np.exp(spread * generator.standard_normal(shape))
