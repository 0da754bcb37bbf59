"""What takes the place of engine and session where the command is tested."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from rvm_trt.cli import main


def matted(*arguments: str) -> int:
    """Runs the command and returns its exit code."""
    return main(["matte", *arguments])


class FakeSession:
    """Takes the place of the network: composites the frame itself."""

    made: Any = None
    backgrounds: list[Any]

    def __init__(self, engine: Any, **options: Any) -> None:
        self.profile = engine.profile
        FakeSession.made = options
        FakeSession.backgrounds = []

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, frames: Any) -> Iterator[Any]:
        for frame in frames:
            alpha = np.full((*frame.shape[:2], 1), 200, np.uint8)
            rgba = np.concatenate([frame, alpha], axis=2)
            yield SimpleNamespace(composite=frame, fgr=frame, pha=frame[..., 0].copy(), rgba=rgba)

    def reset(self) -> None:
        pass

    def state(self) -> tuple[Any, ...]:
        return ()

    def restore(self, state: Any) -> None:
        pass

    def set_background(self, background: Any) -> None:
        FakeSession.backgrounds.append(background)
