"""The entrants of the benchmark: who they are, and what each must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import OptionError
from rvm_trt.options import Precision
from rvm_trt.profile import Profile

Image = npt.NDArray[np.uint8]
Alpha = npt.NDArray[Any]
Matting = Callable[[Image], tuple[Alpha, Image]]
BACKGROUND = (120, 255, 155)
BASELINE = "pytorch-eager"
OURS = "rvm-trt"


@dataclass(frozen=True, kw_only=True)
class EntrantSpec:
    """Who takes part.

    Attributes:
        name: unique key.
        label: for people.
        group: ``pytorch``, ``library`` or ``rvm-trt``.
        precision: of its arithmetic.
    """

    name: str
    label: str
    group: str
    precision: Precision


def every_entrant(precisions: Iterable[Precision], *, gpu: bool = False) -> tuple[EntrantSpec, ...]:
    """Returns all entrants, the baseline first, then our engines in these precisions, libraries, other PyTorch.

    Args:
        precisions: of our engines.
        gpu: whether there is a GPU, where autocast means FP16.
    """
    low = Precision.FP16 if gpu else Precision.BF16
    rows = [
        (BASELINE, "PyTorch eager", "pytorch", Precision.FP32),
        *((f"{OURS}-{p.value}", f"rvm-trt {p.value.upper()}", OURS, p) for p in precisions),
        ("openvino-fp32", "OpenVINO, FP32", "library", Precision.FP32),
        ("openvino-bf16", "OpenVINO, BF16 hint", "library", Precision.BF16),
        ("onnxruntime", "ONNX Runtime", "library", Precision.FP32),
        ("onnxruntime-tensorrt", "ONNX Runtime, TensorRT provider", "library", Precision.FP16),
        ("pytorch-scripted", "PyTorch, traced and frozen", "pytorch", Precision.FP32),
        ("pytorch-channels-last", "PyTorch, channels last", "pytorch", Precision.FP32),
        (f"pytorch-{low.value}", f"PyTorch, {low.value.upper()} autocast", "pytorch", low),
        ("pytorch-compile", "PyTorch, torch.compile", "pytorch", Precision.FP32),
    ]
    return tuple(
        EntrantSpec(name=name, label=label, group=group, precision=precision)
        for name, label, group, precision in rows
    )


def chosen_entrants(entrants: Iterable[EntrantSpec], names: Iterable[str] | None) -> tuple[EntrantSpec, ...]:
    """Returns the entrants with these names, and always the baseline and our engines; all where names is None.

    Raises:
        OptionError: no entrant has such a name.
    """
    every = tuple(entrants)
    if names is None:
        return every
    wanted = tuple(names)
    known = tuple(dict.fromkeys(spec.name for spec in every))
    for name in wanted:
        if name not in known:
            raise OptionError(
                "--entrants",
                got=repr(name),
                expected=f"some of {', '.join(known)}",
                todo="Name only these; the baseline and our engines always take part.",
            )
    return tuple(spec for spec in every if spec.name in wanted or spec.name == BASELINE or spec.group == OURS)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a worker needs to make its entrant.

    Attributes:
        entrant: its name.
        frames: .npy file of (T, H, W, 3) uint8 RGB frames.
        profile: the network to run.
        threads: CPU threads.
        checkpoint: for PyTorch, the weights.
        graph: for a library, the full graph (ONNX, FP32).
        frame_graph: for a library, the full graph from frame to composite (see `frame_graph`).
        engine: for ours, the core engine's folder.
        full_engine: for ours, the full engine's folder, for the tensor protocol; None where there is none.
    """

    entrant: str
    frames: Path
    profile: Profile
    threads: int
    checkpoint: Path | None = None
    graph: Path | None = None
    frame_graph: Path | None = None
    engine: Path | None = None
    full_engine: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON values, with absolute paths; `from_json` is the inverse."""
        paths = {name: getattr(self, name) for name in ("frames", *_PATHS)}
        return {
            "entrant": self.entrant,
            **{name: None if path is None else str(path.resolve()) for name, path in paths.items()},
            "profile": self.profile.to_json(),
            "threads": self.threads,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """Returns the settings that `to_json` wrote."""
        return cls(
            entrant=data["entrant"],
            frames=Path(data["frames"]),
            profile=Profile.from_json(data["profile"]),
            threads=data["threads"],
            **{name: None if data[name] is None else Path(data[name]) for name in _PATHS},
        )


_PATHS = ("checkpoint", "graph", "frame_graph", "engine", "full_engine")


class Entrant(Protocol):
    """What is measured. Each of the three ways to run it carries states of its own, zero at first."""

    def composite(self, frame: Image) -> Image:
        """The frame protocol: returns a frame's composite over `BACKGROUND`, (H, W, 3) uint8, in host memory."""

    def matting(self) -> Matting:
        """Returns a call that gives a frame's alpha, (H, W) uint8 or uint16 over the full range, and foreground,
        (H, W, 3) uint8; what it gives is valid until the next call."""

    def tensor_step(self, frame: Image) -> Callable[[], None] | None:
        """The tensor protocol: returns a call that runs the full graph once on a float tensor made of ``frame``
        beforehand and waits for its results; None where the entrant has no such graph."""


@contextmanager
def make_entrant(settings: Settings) -> Iterator[Entrant]:
    """Yields the entrant of some settings, ready to run, and releases it afterwards.

    Raises:
        UnavailableError: it cannot run on this machine.
        RvmTrtError: the checkpoint or the engine does not load.
    """
    if settings.entrant.startswith(OURS):
        from rvm_trt.benchmarks.entrants_session import SessionEntrant

        with SessionEntrant(settings) as session:
            yield session
    elif settings.entrant.startswith("pytorch"):
        from rvm_trt.benchmarks import entrants_pytorch

        yield entrants_pytorch.make(settings)
    else:
        from rvm_trt.benchmarks import entrants_library

        yield entrants_library.make(settings)


def to_alpha16(pha: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint16]:
    """Returns alpha of 0..1 as uint16 over the full range, which keeps what float32 has to say of it."""
    alpha: npt.NDArray[np.uint16] = np.rint(np.asarray(pha, np.float32) * np.float32(65535)).astype(np.uint16)
    return alpha


def to_picture(fgr: npt.NDArray[np.floating[Any]]) -> Image:
    """Returns a foreground (3, H, W) in 0..1 as (H, W, 3) uint8."""
    rounded = np.rint(np.asarray(fgr, np.float32) * np.float32(255)).astype(np.uint8)
    return np.ascontiguousarray(rounded.transpose(1, 2, 0))
