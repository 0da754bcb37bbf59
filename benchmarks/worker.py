"""One entrant of a benchmark in a process of its own: ``python -m rvm_trt.benchmarks.worker SETTINGS``.

SETTINGS is the JSON of `entrants.Settings`. The process says ``{"ready": true, …}`` and then answers each line of
JSON on standard input with one line on standard output; between them it sleeps.

    {"run": n}        mattes the next n frames: {"ms": [one number per frame]}
    {"alpha": path}   forgets the states, mattes the sequence once, saves alpha as .npy: {"frames": n}
    {"memory": n}     mattes n frames and watches the process's memory: see `_memory`
    {"quit": true}    ends

A user error becomes ``{"error": text}`` and the end of the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from rvm_trt.benchmarks.entrants import Entrant, Settings, make_entrant
from rvm_trt.errors import RvmTrtError

Image = npt.NDArray[np.uint8]
_MEMORY_SAMPLES = 10
_MEMORY_WARM_UP = 20
_MEMORY_HELD = 2


class FrameFile:
    """A .npy file of (T, H, W, 3) uint8 frames, read frame by frame.

    It is not mapped: mapped pages would count as the process's memory.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            self._shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            self._offset = file.tell()
        assert dtype == np.uint8 and len(self._shape) == 4, "the frame file is written by frame_bench"
        self._path = path

    def __len__(self) -> int:
        return int(self._shape[0])

    def read(self, index: int) -> Image:
        """Returns frame ``index``, counted round and round, as an array of its own."""
        size_bytes = int(np.prod(self._shape[1:]))
        offset = self._offset + index % len(self) * size_bytes
        pixels = np.fromfile(self._path, np.uint8, count=size_bytes, offset=offset)
        return pixels.reshape(self._shape[1:])


def main() -> int:
    """Serves one entrant until it is told to quit, or its input ends."""
    answers = open_protocol()
    settings = Settings.from_json(json.loads(sys.argv[1]))
    try:
        with make_entrant(settings) as entrant:
            _answer(answers, {"ready": True})
            _serve(entrant, FrameFile(settings.frames), answers)
    except RvmTrtError as error:
        _answer(answers, {"error": str(error)})
        return 1
    return 0


def open_protocol() -> TextIO:
    """Returns the real standard output; whatever else is printed, from C too, goes to standard error."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _serve(entrant: Entrant, frames: FrameFile, answers: TextIO) -> None:
    position = 0
    for line in sys.stdin:
        request = json.loads(line)
        if "run" in request:
            _answer(answers, {"ms": _run(entrant, frames, first=position, count=request["run"])})
            position += request["run"]
        elif "alpha" in request:
            _answer(answers, {"frames": _alpha(entrant, frames, Path(request["alpha"]))})
        elif "memory" in request:
            _answer(answers, _memory(entrant, frames, request["memory"]))
        elif "quit" in request:
            return
        else:
            _answer(answers, {"error": f"no such request: {line.strip()}"})


def _run(entrant: Entrant, frames: FrameFile, *, first: int, count: int) -> list[float]:
    # Frames stand in memory before the clock starts, as a decoder would have left them.
    images = [frames.read(first + index) for index in range(count)]
    times_ms = []
    for image in images:
        start = time.perf_counter()
        entrant.composite(image)
        times_ms.append((time.perf_counter() - start) * 1e3)
    return times_ms


def _alpha(entrant: Entrant, frames: FrameFile, path: Path) -> int:
    saved: npt.NDArray[Any] | None = None
    for index, alpha in enumerate(entrant.alphas(frames.read(i) for i in range(len(frames)))):
        if saved is None:
            shape = (len(frames), *alpha.shape)
            saved = np.lib.format.open_memmap(path, mode="w+", dtype=alpha.dtype, shape=shape)
        saved[index] = alpha
    return len(frames)


def _memory(entrant: Entrant, frames: FrameFile, count: int) -> dict[str, Any]:
    """Returns the resident size before and after ``count`` frames, samples between, and the process's peak.

    Two input frames are held, in turn the next to be matted; all else is the entrant and its libraries.
    """
    images = [frames.read(index) for index in range(_MEMORY_HELD)]
    for index in range(_MEMORY_WARM_UP):
        entrant.composite(images[index % _MEMORY_HELD])
    samples = [_status_bytes("VmRSS")]
    step = max(1, count // _MEMORY_SAMPLES)
    for index in range(count):
        entrant.composite(images[index % _MEMORY_HELD])
        if (index + 1) % step == 0 or index + 1 == count:
            samples.append(_status_bytes("VmRSS"))
    return {
        "frames": count,
        "warm_up_frames": _MEMORY_WARM_UP,
        "input_frames_held_bytes": sum(image.nbytes for image in images),
        "rss_bytes": samples,
        "growth_bytes": samples[-1] - samples[0],
        "peak_bytes": _status_bytes("VmHWM"),
        "torch_loaded": "torch" in sys.modules,
    }


def _status_bytes(field: str) -> int:
    """Returns a size that Linux keeps for this process: ``VmRSS`` resident now, ``VmHWM`` its peak."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    raise OSError(f"no {field} in /proc/self/status")


if __name__ == "__main__":
    sys.exit(main())
