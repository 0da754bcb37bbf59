"""The entrants of the frame-to-frame benchmark: uint8 frame in, composited uint8 frame out, states carried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.profile import Profile

if TYPE_CHECKING:
    from torch import Tensor

    from rvm_trt.engines.artifact import Engine

Image = npt.NDArray[np.uint8]
BACKGROUND = (120, 255, 155)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a worker needs to make its entrant.

    Attributes:
        frames: .npy file of (T, H, W, 3) uint8 RGB frames.
        profile: the network to run; an engine brings its own.
        threads: CPU threads.
        checkpoint: for PyTorch, the weights.
        engine: for a session, the engine's folder. Exactly one of these two is given.
    """

    frames: Path
    profile: Profile
    threads: int
    checkpoint: Path | None = None
    engine: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON values, with absolute paths; `from_json` is the inverse."""
        paths = {"frames": self.frames, "checkpoint": self.checkpoint, "engine": self.engine}
        return {
            **{name: None if path is None else str(path.resolve()) for name, path in paths.items()},
            "profile": self.profile.to_json(),
            "threads": self.threads,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """Returns the settings that `to_json` wrote."""
        paths = {name: None if data[name] is None else Path(data[name]) for name in ("checkpoint", "engine")}
        return cls(
            frames=Path(data["frames"]),
            profile=Profile.from_json(data["profile"]),
            threads=data["threads"],
            **paths,
        )


class Entrant(Protocol):
    """What is measured."""

    def composite(self, frame: Image) -> Image:
        """Returns a frame's composite over `BACKGROUND`, (H, W, 3) uint8; carries the states to the next."""

    def alphas(self, frames: Iterable[Image]) -> Iterator[npt.NDArray[Any]]:
        """Yields the alpha of a sequence from zero states, (H, W), as uint8 or uint16 over the full range."""


@contextmanager
def make_entrant(settings: Settings) -> Iterator[Entrant]:
    """Yields the entrant of some settings, ready to run, and releases it afterwards.

    Raises:
        RvmTrtError: the checkpoint or the engine does not load.
    """
    if settings.engine is None:
        yield _PyTorch(settings)
        return
    from rvm_trt.engines.artifact import Engine
    from rvm_trt.runtime.session import MattingSession

    engine = Engine.load(settings.engine)
    with MattingSession(
        engine, outputs=("composite",), background=BACKGROUND, threads=settings.threads
    ) as session:
        yield _Session(session, engine, settings.threads)


class _Session:
    """A matting session, as a user would hold it."""

    def __init__(self, session: Any, engine: Engine, threads: int) -> None:
        self._session = session
        self._engine = engine
        self._threads = threads

    def composite(self, frame: Image) -> Image:
        image: Image = self._session.process(frame).composite
        return image

    def alphas(self, frames: Iterable[Image]) -> Iterator[npt.NDArray[Any]]:
        from rvm_trt.runtime.session import MattingSession

        # A session of its own: the timed one is asked for the composite only.
        with MattingSession(self._engine, outputs=("pha",), threads=self._threads) as session:
            for frame in frames:
                yield session.process(frame).pha


class _PyTorch:
    """The network in PyTorch, eager, FP32, at the profile's ratio, called as the original's users do."""

    def __init__(self, settings: Settings) -> None:
        import torch

        from rvm_trt.export.checkpoint import load_checkpoint
        from rvm_trt.export.onnx_graph import load_network

        assert settings.checkpoint is not None, "neither an engine nor a checkpoint"
        torch.set_num_threads(settings.threads)
        self._torch = torch
        self._ratio = settings.profile.ratio
        self._network = load_network(load_checkpoint(settings.checkpoint), settings.profile)
        self._background = torch.tensor(BACKGROUND, dtype=torch.float32).view(1, 3, 1, 1) / 255
        self._states: list[Tensor | None] = [None] * 4

    def composite(self, frame: Image) -> Image:
        torch = self._torch
        with torch.inference_mode():
            fgr, pha = self._matte(frame)
            # As the original's documentation composites; torch.lerp would do it in one pass (see LOG.md).
            blended = (fgr * pha + self._background * (1 - pha)).mul_(255).round_()
            image: Image = blended[0].permute(1, 2, 0).to(torch.uint8).contiguous().numpy()
        return image

    def alphas(self, frames: Iterable[Image]) -> Iterator[npt.NDArray[Any]]:
        self._states = [None] * 4
        for frame in frames:
            with self._torch.inference_mode():
                _, pha = self._matte(frame)
            # Sixteen bits keep what float has to say of a value in 0..1, at half the size.
            yield np.rint(pha[0, 0].numpy() * np.float32(65535)).astype(np.uint16)
        self._states = [None] * 4

    def _matte(self, frame: Image) -> tuple[Tensor, Tensor]:
        src = self._torch.from_numpy(frame).permute(2, 0, 1)[None].contiguous().float().div_(255)
        fgr, pha, *states = self._network(src, *self._states, self._ratio)
        self._states = list(states)
        return fgr, pha
