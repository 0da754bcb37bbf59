"""The roofline as tables and as JSON. All of it is modelled, and every header and number says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rvm_trt.benchmarks.gpus import Gpu
from rvm_trt.benchmarks.roofline_bounds import FrameBound, FrameModel, file_fps, frame_bound
from rvm_trt.benchmarks.roofline_graph import by_stage
from rvm_trt.benchmarks.roofline_machine import Machine
from rvm_trt.errors import OptionError
from rvm_trt.options import Precision
from rvm_trt.runtime.pixels import PixelFormat

CODECS = ("h264", "hevc")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One profile on one GPU at one precision."""

    model: FrameModel
    gpu: Gpu
    precision: Precision
    frame: FrameBound
    files: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """The entry as plain JSON values."""
        return {
            "profile": self.model.profile.name,
            "gpu": self.gpu.key,
            "precision": self.precision.value,
            "modelled_engine_ms": round(self.frame.engine_ms, 4),
            "modelled_device_ms": round(self.frame.device_ms, 4),
            "modelled_ideal_ms": round(self.frame.ideal_ms, 4),
            "modelled_upload_ms": round(self.frame.upload_ms, 4),
            "modelled_download_ms": round(self.frame.download_ms, 4),
            "modelled_frame_to_frame_ms": round(self.frame.period_ms(), 4),
            "modelled_frame_to_frame_fps": round(1e3 / self.frame.period_ms(), 1),
            "modelled_slowest": self.frame.slowest(),
            "modelled_latency_ms": round(self.frame.latency_ms, 4),
            "modelled_streams_ms": {name: round(ms, 4) for name, ms in self.frame.streams().items()},
            "modelled_file_to_file_fps": dict(self.files),
            "modelled_stages": [
                {"stage": stage.name, "modelled_ms": round(stage.ms, 4), "modelled_limit": stage.limit}
                for stage in self.frame.engine
            ]
            + [
                {"stage": name, "modelled_ms": round(own.ms, 4), "modelled_limit": own.limit}
                for name, own in self.frame.own.items()
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Distance:
    """How far a measured entrant is from its bound."""

    profile: str
    entrant: str
    measured_ms: float
    modelled_ms: float
    modelled_ideal_ms: float

    @property
    def factor(self) -> float:
        """Measured over modelled; below 1 the model's peaks are too low."""
        return self.measured_ms / self.modelled_ms


def make_entry(model: FrameModel, gpu: Gpu, precision: Precision) -> Entry:
    """Returns the bounds of a profile on a GPU; file to file with NV12 frames that stay on the device."""
    profile = model.profile
    planar = frame_bound(replace(model, pixel_format=PixelFormat.NV12), gpu.machine, precision)
    return Entry(
        model=model,
        gpu=gpu,
        precision=precision,
        frame=frame_bound(model, gpu.machine, precision),
        files={
            codec: file_fps(planar, gpu, codec, width=profile.width, height=profile.height)
            if model.kernels
            else None
            for codec in CODECS
        },
    )


def distances(
    result: Mapping[str, Any], models: Mapping[str, FrameModel], machine: Machine
) -> tuple[Distance, ...]:
    """Returns how far every entrant of a frame-to-frame result is from the bound of its precision.

    PyTorch is held against the bound of our own graph in FP32: what the machine could do, not what PyTorch asks of it.

    Args:
        result: as `rvm_trt.benchmarks.report.read_result` gives it.
        models: by the profile's name; profiles of the result that are not among them are left out.
        machine: on which the result was measured.

    Raises:
        OptionError: an entrant's precision is not among the machine's peaks, or no profile is left.
    """
    found = [
        _distance(name, entry["name"], entrant["median_ms"], models[entry["name"]], machine)
        for entry in result["profiles"]
        if entry["name"] in models
        for name, entrant in entry["entrants"].items()
    ]
    if not found:
        raise OptionError(
            "--measured",
            got=f"the profiles {', '.join(entry['name'] for entry in result['profiles'])}",
            expected=f"one of {', '.join(models)}",
            todo="Leave out --profile to take those of the result.",
        )
    return tuple(found)


def _distance(
    entrant: str, profile: str, measured_ms: float, model: FrameModel, machine: Machine
) -> Distance:
    precision = _precision_of(entrant)
    if precision not in machine.tflops:
        raise OptionError(
            entrant,
            got=f"no {precision.value} peak of {machine.name}",
            expected="peaks of the machine that was measured",
            todo="Measure the peaks there: python -m rvm_trt.benchmarks.cpu_peaks -o FILE.",
        )
    frame = frame_bound(model, machine, precision)
    # A GPU overlaps frames; on a CPU the stages follow each other.
    bound_ms = frame.period_ms() if machine.copy_gbs else frame.device_ms
    return Distance(
        profile=profile,
        entrant=entrant,
        measured_ms=measured_ms,
        modelled_ms=bound_ms,
        modelled_ideal_ms=frame.ideal_ms,
    )


def to_json(
    entries: Sequence[Entry], measured: Sequence[Distance], machine: Machine | None, command: str
) -> dict[str, Any]:
    """Returns the whole report as plain JSON values."""
    models = {entry.model.profile.name: entry.model for entry in entries}
    gpus = {entry.gpu.key: entry.gpu for entry in entries}
    return {
        "benchmark": "roofline",
        "modelled": True,
        "command": command,
        "profiles": [_describe(model) for model in models.values()],
        "gpus": [{**asdict(gpu), "pcie_gbs": gpu.pcie_gbs} for gpu in gpus.values()],
        "modelled_entries": [entry.to_json() for entry in entries],
        "machine": None if machine is None else asdict(machine),
        "modelled_distances": [
            {**asdict(distance), "measured_over_modelled": round(distance.factor, 3)} for distance in measured
        ],
    }


def bounds_table(entries: Iterable[Entry]) -> str:
    """Returns one row for each entry."""
    header = (
        "modelled",
        "GPU",
        "precision",
        "modelled engine ms",
        "modelled device ms",
        "modelled frame to frame ms",
        "modelled FPS",
        "modelled limit",
        "modelled latency ms",
        "modelled file to file FPS, H.264 / HEVC",
        "modelled ideal ms",
    )
    rows = [
        (
            entry.model.profile.name,
            entry.gpu.name,
            entry.precision.value,
            f"{entry.frame.engine_ms:.3f}",
            f"{entry.frame.device_ms:.3f}",
            f"{entry.frame.period_ms():.3f}",
            f"{1e3 / entry.frame.period_ms():.0f}",
            entry.frame.slowest(),
            f"{entry.frame.latency_ms:.3f}",
            " / ".join("unknown" if fps is None else f"{fps:.0f}" for fps in entry.files.values()),
            f"{entry.frame.ideal_ms:.3f}",
        )
        for entry in entries
    ]
    return _table(header, rows)


def stages_table(entries: Sequence[Entry]) -> str:
    """Returns the stages with the resource that bounds each, one column for each entry."""
    header = (
        "modelled ms and limit",
        *(f"modelled {e.model.profile.name} {e.gpu.key} {e.precision.value}" for e in entries),
    )
    stages: dict[str, list[str]] = {}
    for index, entry in enumerate(entries):
        for name, bound in [(stage.name, stage) for stage in entry.frame.engine] + list(
            entry.frame.own.items()
        ):
            cells = stages.setdefault(name, [""] * len(entries))
            cells[index] = f"{bound.ms:.3f} {bound.limit}"
    return _table(header, [(name, *cells) for name, cells in stages.items()])


def work_table(models: Iterable[FrameModel]) -> str:
    """Returns what each stage asks for, in elements: multiply by the bytes of one for traffic."""
    header = ("modelled", "stage", "kernels", "MMAC", "weights, 10⁶", "read, 10⁶", "written, 10⁶")
    rows = []
    for model in models:
        for stage, works in by_stage(model.network.kernels).items():
            sums = [sum(getattr(w, field) for w in works) for field in ("macs", "weights", "read", "written")]
            rows.append(
                (model.profile.name, stage, str(len(works)), *(f"{value / 1e6:.2f}" for value in sums))
            )
    return _table(header, rows)


def distances_table(found: Iterable[Distance]) -> str:
    """Returns one row for each measured entrant."""
    header = (
        "profile",
        "entrant",
        "measured ms",
        "modelled bound ms",
        "measured / modelled",
        "modelled ideal ms",
    )
    rows = [
        (
            d.profile,
            d.entrant,
            f"{d.measured_ms:.1f}",
            f"{d.modelled_ms:.1f}",
            f"{d.factor:.2f}" + (" (peaks too low: busy?)" if d.factor < 1 else ""),
            f"{d.modelled_ideal_ms:.1f}",
        )
        for d in found
    ]
    return _table(header, rows)


def _describe(model: FrameModel) -> dict[str, Any]:
    return {
        "name": model.profile.name,
        "profile": model.profile.to_json(),
        "modelled_launches": model.launches or len(model.network.kernels),
        "modelled_launch_us": model.launch_us,
        "modelled_macs": model.network.macs(),
        "modelled_copied_bytes": dict(model.copied_bytes),
        "modelled_kernels": [asdict(kernel) for kernel in model.network.kernels],
        "modelled_nodes": [asdict(node) for node in model.network.nodes],
        "modelled_own_kernels": {
            precision.value: [asdict(work) for work in model.own_kernels(precision)]
            for precision in (Precision.FP32, Precision.FP16)
        },
    }


def _precision_of(entrant: str) -> Precision:
    words = {precision.value: precision for precision in Precision}
    return words.get(entrant.split()[-1], Precision.FP32)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
