"""What the tests of the examples share: the examples as modules, an engine in place of the user's, and a small clip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt import Engine, Profile

Image = npt.NDArray[np.uint8]
ROOT = Path(__file__).resolve().parents[2]
SMALL = Profile(width=160, height=96, ratio=0.6)


@pytest.fixture(scope="session")
def engine(built: Callable[..., Any]) -> Any:
    """A core engine of 160x96 for the CPU."""
    return built(SMALL)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Callable[[str], dict[str, Any]]:
    """``example(name)``: the names in an example's file. The engine that it provides is a small one."""
    asked: list[tuple[Profile, dict[str, Any]]] = []

    def provide(profile: Profile, **options: Any) -> Engine:
        asked.append((profile, options))
        assert (profile.width, profile.height) == (160, 96)
        return engine

    monkeypatch.setattr("rvm_trt.engines.provision.provide_engine", provide)
    return lambda name: run_path(str(ROOT / "examples" / name)) | {"asked": asked}


@pytest.fixture(scope="session")
def frames(moving_frames: Callable[..., list[Image]]) -> list[Image]:
    """Five frames of 160x96."""
    return moving_frames(160, 96, 5)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, frames: list[Image]) -> Path:
    """A video of these frames at 25 per second, without loss, which starts at second 2."""
    import av

    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    with av.open(str(path), "w") as video:
        stream = video.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "bgr0"
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = 50 + index
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    return path
