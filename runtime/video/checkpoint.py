"""Where a job stood at the end of a segment, and the file that keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import VideoError

Tensor = npt.NDArray[np.float32]

_FORMAT = "rvm-trt states 1"
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What the frames after a boundary depend on.

    Attributes:
        frames: frames written so far.
        next_index: the source's number of the next frame.
        cuts: the source's numbers of the frames so far at which a cut was found.
        states: r1 to r4 of the network, float32.
        detector: what the cut detector remembers, float32; None without one.
        last_time: source time in seconds of the frame before the next one; None where unknown.
    """

    frames: int
    next_index: int
    cuts: tuple[int, ...]
    states: tuple[Tensor, ...]
    detector: Tensor | None
    last_time: Fraction | None = None


def write_states(path: Path, states: tuple[Tensor, ...], detector: Tensor | None) -> None:
    """Writes tensors as a line of JSON and little-endian float32; raises `OSError`."""
    tensors = [*states, *(() if detector is None else (detector,))]
    header = {
        "format": _FORMAT,
        "shapes": [list(tensor.shape) for tensor in tensors],
        "detector": detector is not None,
    }
    with path.open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        for tensor in tensors:
            file.write(np.ascontiguousarray(tensor, "<f4").tobytes())


def read_states(path: Path) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Returns what `write_states` wrote.

    Raises:
        VideoError: the file is not one of ours.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        line = file.readline(_LONGEST_HEADER)
        try:
            header = json.loads(line)
            shapes = [tuple(int(side) for side in shape) for shape in header["shapes"]]
            has_detector = bool(header["detector"])
            sizes = [4 * prod(shape) for shape in shapes]
            fits = header["format"] == _FORMAT and len(shapes) >= has_detector
            fits = fits and all(side >= 0 for shape in shapes for side in shape)
        except (ValueError, TypeError, KeyError) as error:
            raise _unreadable(path) from error
        if not fits or path.stat().st_size != len(line) + sum(sizes):
            raise _unreadable(path)
        tensors = [
            np.frombuffer(file.read(size), "<f4").astype(np.float32).reshape(shape)
            for size, shape in zip(sizes, shapes, strict=True)
        ]
    detector = tensors.pop() if has_detector else None
    return tuple(tensors), detector


def _unreadable(path: Path) -> VideoError:
    return VideoError(
        f"kept states {str(path)!r}",
        got="something that does not read",
        expected="states that this version wrote",
        todo="Start anew: leave out --resume, and add --force.",
    )
