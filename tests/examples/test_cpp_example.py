"""The C++ program that embeds Python: built here, run on frames, and compared with a session in Python."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt import Engine, MattingSession, Profile

Image = npt.NDArray[np.uint8]
ROOT = Path(__file__).resolve().parents[2]
FOOTAGE = Profile(width=417, height=235, ratio=0.6)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, made by its Makefile."""
    out = tmp_path_factory.mktemp("cpp") / "matte"
    command = ["make", "-C", ROOT / "examples/cpp", f"PYTHON={sys.executable}", f"OUT={out}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    return out


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=program.parent
    )


def matte(program: Path, engine: Engine, frames: list[Image]) -> tuple[str, Image]:
    """Runs the program on frames; returns what it printed, and its picture."""
    height, width, _ = frames[0].shape
    raw, picture = program.with_name("frames.rgb"), program.with_name("last.ppm")
    raw.write_bytes(b"".join(frame.tobytes() for frame in frames))
    done = run(program, engine.path, width, height, raw, picture)
    assert done.returncode == 0, done.stderr
    header, pixels = picture.read_bytes().split(b"\n", 1)
    assert header == f"P6 {width} {height} 255".encode()
    return done.stdout, np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def in_python(engine: Engine, frames: list[Image]) -> Image:
    with MattingSession(engine, outputs=("pha", "composite"), background=(120, 255, 155)) as session:
        for frame in frames:
            last = session.process(frame).copy()["composite"]
    return last


@pytest.mark.parametrize("count", [1, 5])
def test_its_frames_are_those_of_a_session_in_python(
    count: int, program: Path, engine: Engine, frames: list[Image]
) -> None:
    printed, picture = matte(program, engine, frames[:count])
    assert re.fullmatch(rf"{count} frames of 160x96, \d+\.\d\d ms per frame\n", printed)
    np.testing.assert_array_equal(picture, in_python(engine, frames[:count]))


@pytest.mark.shared
def test_on_real_frames(
    program: Path, built: Callable[..., Any], real_checkpoint: Path, footage: Callable[..., list[Image]]
) -> None:
    engine = built(FOOTAGE, weights=real_checkpoint)
    frames = footage("upper_body_640x480.mkv", 10, width=417, height=235)
    printed, picture = matte(program, engine, frames)
    assert printed.startswith("10 frames of 417x235")
    np.testing.assert_array_equal(picture, in_python(engine, frames))


def test_errors_of_the_session_reach_the_program(program: Path, tmp_path: Path) -> None:
    done = run(program, tmp_path, 160, 96, tmp_path / "none.rgb", tmp_path / "out.ppm")
    assert done.returncode == 1
    assert "EngineError" in done.stderr
    assert "no readable manifest.json" in done.stderr


def test_no_frames_is_a_failure(program: Path, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "short.rgb").write_bytes(b"\0" * 100)
    done = run(program, engine.path, 160, 96, tmp_path / "short.rgb", tmp_path / "out.ppm")
    assert done.returncode == 1
    assert done.stdout.startswith("0 frames")
