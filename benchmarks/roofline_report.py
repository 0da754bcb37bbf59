"""The roofline as tables and as JSON. All of it is modelled, and every header and number says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rvm_trt.benchmarks.gpu import Gpu
from rvm_trt.benchmarks.roofline_bounds import FrameBound, FrameModel, file_fps, frame_bound, moved_bytes
from rvm_trt.benchmarks.roofline_graph import Work, by_stage
from rvm_trt.benchmarks.roofline_machine import Machine
from rvm_trt.errors import OptionError
from rvm_trt.options import Precision
from rvm_trt.runtime.pixels import PixelFormat

CODECS = ("h264", "hevc")
_SIZES = (Precision.FP32, Precision.FP16)


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
    """How far a measured entrant is from its bound.

    Attributes:
        profile, entrant: names.
        measured_ms: median of a frame.
        modelled_ms: the ideal, which nothing is faster than.
        modelled_kernels_ms: kernel by kernel, what passes between them through memory: the schedule's busiest stream on
            a GPU, one kernel after the other on a CPU.
    """

    profile: str
    entrant: str
    measured_ms: float
    modelled_ms: float
    modelled_kernels_ms: float

    @property
    def factor(self) -> float:
        """Measured over the ideal; below 1 the model's peaks are too low."""
        return self.measured_ms / self.modelled_ms

    @property
    def kernels_factor(self) -> float:
        """Measured over kernel by kernel; below 1 the caches hold what passes between kernels."""
        return self.measured_ms / self.modelled_kernels_ms


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
    """Returns how far every entrant of a bench result is from the bound of its precision, frame to frame.

    All are held against the bound of our own graph: what the machine could do, not what PyTorch asks of it. Entrants
    without a frame time, and those of a precision that the machine has no peak of, are left out.

    Args:
        result: as `rvm_trt.benchmarks.report.read_result` gives it.
        models: by the profile's name; profiles of the result that are not among them are left out.
        machine: on which the result was measured.

    Raises:
        OptionError: none is left.
    """
    found = [
        _distance(entry["name"], entrant, models[entry["name"]], machine)
        for entry in result["profiles"]
        if entry["name"] in models
        for entrant in entry["entrants"]
        if entrant["frame"] is not None and Precision(entrant["precision"]) in machine.tflops
    ]
    if not found:
        raise OptionError(
            "--measured",
            got=f"no frame times of {' or '.join(models)} that {machine.name} has peaks for",
            expected="at least one",
            todo="Leave out --profile to take those of the result, or name the GPU it was measured on.",
        )
    return tuple(found)


def _distance(profile: str, entrant: Mapping[str, Any], model: FrameModel, machine: Machine) -> Distance:
    frame = frame_bound(model, machine, Precision(entrant["precision"]))
    return Distance(
        profile=profile,
        entrant=entrant["name"],
        measured_ms=entrant["frame"]["median_ms"],
        modelled_ms=frame.ideal_ms,
        # A GPU overlaps frames; on a CPU the stages follow each other.
        modelled_kernels_ms=frame.period_ms() if machine.copy_gbs else frame.device_ms,
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
            {
                **asdict(distance),
                "measured_over_modelled": round(distance.factor, 3),
                "measured_over_kernels": round(distance.kernels_factor, 3),
            }
            for distance in measured
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
    """Returns what each stage asks for: elements, and the bytes that they are without quantisation."""
    elements = ("weights, 10⁶", "read, 10⁶", "written, 10⁶")
    sizes = (f"MB in {precision.value}" for precision in _SIZES)
    header = ("modelled", "stage", "kernels", "MMAC", *elements, *sizes)
    rows = []
    for model in models:
        for stage, works in by_stage(model.network.kernels).items():
            sums = [sum(getattr(w, field) for w in works) for field in ("macs", "weights", "read", "written")]
            sums += [sum(moved_bytes(work, precision) for work in works) for precision in _SIZES]
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
        "modelled ideal ms",
        "measured / ideal",
        "modelled kernel by kernel ms",
        "measured / kernel by kernel",
    )
    rows = [
        (
            d.profile,
            d.entrant,
            f"{d.measured_ms:.1f}",
            f"{d.modelled_ms:.3g}",
            f"{d.factor:.2f}" + (" (peaks too low: busy?)" if d.factor < 1 else ""),
            f"{d.modelled_kernels_ms:.3g}",
            f"{d.kernels_factor:.2f}",
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
        "modelled_kernels": [_work_json(kernel) for kernel in model.network.kernels],
        "modelled_nodes": [_work_json(node) for node in model.network.nodes],
        "modelled_own_kernels": {
            precision.value: [asdict(work) for work in model.own_kernels(precision)] for precision in _SIZES
        },
    }


def _work_json(work: Work) -> dict[str, Any]:
    sizes = {f"bytes_{precision.value}": moved_bytes(work, precision) for precision in _SIZES}
    return {**asdict(work), **sizes}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
