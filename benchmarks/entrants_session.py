"""Our own entrants: a matting session as a user would hold it, and the full engine for the tensor protocol."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.benchmarks.entrants import BACKGROUND, Alpha, Image, Matting, Settings
from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.engines.artifact import Engine
from rvm_trt.runtime.openvino_core import OpenVinoCore
from rvm_trt.runtime.session import MattingSession


class SessionEntrant:
    """Owns its sessions; a context manager."""

    def __init__(self, settings: Settings) -> None:
        assert settings.engine is not None, "a session needs an engine"
        self._settings = settings
        self._engine = Engine.load(settings.engine)
        self._owned = ExitStack()
        self._tensors: dict[str, npt.NDArray[Any]] = {}
        self._session = self._open("composite")

    def composite(self, frame: Image) -> Image:
        """See `Entrant`."""
        image: Image = self._session.process(frame).composite
        return image

    def matting(self) -> Matting:
        """See `Entrant`."""
        # A session of its own: the timed one is asked for the composite only.
        session = self._open("pha", "fgr")

        def matte(frame: Image) -> tuple[Alpha, Image]:
            matte = session.process(frame)
            return matte.pha, matte.fgr

        return matte

    def tensor_step(self, frame: Image) -> Callable[[], None] | None:
        """See `Entrant`."""
        if self._settings.full_engine is None:
            return None
        engine = Engine.load(self._settings.full_engine)
        core = OpenVinoCore.load(engine, threads=self._settings.threads)
        self._owned.callback(core.close)
        arrays = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in engine.manifest.tensors}
        self._tensors = arrays  # a core computes in the memory that it is given, and does not keep it
        arrays["src"][:] = frame.transpose(2, 0, 1)[None] / np.float32(255)
        swapped = dict(zip(STATE_INPUTS, (arrays[name] for name in STATE_OUTPUTS), strict=True))
        swapped |= dict(zip(STATE_OUTPUTS, (arrays[name] for name in STATE_INPUTS), strict=True))
        runs = [core.context(arrays), core.context({**arrays, **swapped})]

        def step() -> None:
            runs[0]()
            runs.reverse()

        return step

    def __enter__(self) -> SessionEntrant:
        return self

    def __exit__(self, *error: object) -> None:
        self._owned.close()

    def _open(self, *outputs: str) -> MattingSession:
        return self._owned.enter_context(
            MattingSession(
                self._engine, outputs=outputs, background=BACKGROUND, threads=self._settings.threads
            )
        )
