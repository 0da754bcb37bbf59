"""One entrant of a benchmark in a process of its own: ``python -m rvm_trt.benchmarks.worker SETTINGS``.

SETTINGS is the JSON of `entrants.Settings`. The process says ``{"ready": true}`` and then answers each line of
JSON on standard input with one line on standard output; between them it sleeps.

    {"run": n}        mattes the next n frames: {"ms": [one number per frame], "use": see `resources.Use`}
    {"tensor": n}     runs the full graph n times on a constant tensor: the same; {"ms": null} where there is none
    {"matte": paths}  mattes the frame in one .npy file into two that are there: alpha in 16 bits and foreground
    {"memory": n}     mattes n frames and watches the process's memory: see `_memory`
    {"quit": true}    ends

A user error becomes ``{"error": text}``, an entrant that cannot run here ``{"unavailable": reason}``, and the end of
the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from rvm_trt.benchmarks.child import UnavailableError
from rvm_trt.benchmarks.entrants import Entrant, Matting, Settings, make_entrant
from rvm_trt.benchmarks.resources import Counters, open_counters, watch
from rvm_trt.errors import RvmTrtError

Image = npt.NDArray[np.uint8]
_MEMORY_SAMPLES = 10
_MEMORY_WARM_UP = 20
# Of input, in memory at a time: as many as a decoder would hold, so that the peak is the entrant's.
_FRAMES_HELD = 2


class FrameFile:
    """A .npy file of (T, H, W, 3) uint8 frames, read frame by frame.

    It is not mapped: mapped pages would count as the process's memory.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            self._shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            self._offset = file.tell()
        assert dtype == np.uint8 and len(self._shape) == 4, "the benchmark writes the frame file"
        self._path = path

    def __len__(self) -> int:
        return int(self._shape[0])

    def read(self, index: int) -> Image:
        """Returns frame ``index``, counted round and round, as an array of its own."""
        size_bytes = int(np.prod(self._shape[1:]))
        offset = self._offset + index % len(self) * size_bytes
        pixels = np.fromfile(self._path, np.uint8, count=size_bytes, offset=offset)
        return pixels.reshape(self._shape[1:])


class Service:
    """Answers requests with an entrant."""

    def __init__(self, entrant: Entrant, frames: FrameFile, counters: Counters) -> None:
        self._entrant = entrant
        self._frames = frames
        self._counters = counters
        self._position = 0
        self._tensor_step: Callable[[], None] | None = None
        self._matting: Matting | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the answer to one request; raises `RvmTrtError` where the entrant fails."""
        if "run" in request:
            return self._run(request["run"])
        if "tensor" in request:
            return self._tensor(request["tensor"])
        if "matte" in request:
            return self._matte({name: Path(path) for name, path in request["matte"].items()})
        if "memory" in request:
            return self._memory(request["memory"])
        return {"error": f"no such request: {json.dumps(request)}"}

    def _run(self, count: int) -> dict[str, Any]:
        # Frames stand in memory before the clock starts, as a decoder would have left them.
        images = [self._frames.read(self._position + index) for index in range(min(count, _FRAMES_HELD))]
        self._position += len(images)
        return self._timed(count, lambda index: self._entrant.composite(images[index % len(images)]))

    def _tensor(self, count: int) -> dict[str, Any]:
        if self._tensor_step is None:
            self._tensor_step = self._entrant.tensor_step(self._frames.read(0))
        step = self._tensor_step
        return {"ms": None} if step is None else self._timed(count, lambda _: step())

    def _matte(self, paths: Mapping[str, Path]) -> dict[str, Any]:
        if self._matting is None:
            self._matting = self._entrant.matting()
        pha, fgr = self._matting(np.load(paths["frame"]))
        if pha.dtype == np.uint8:
            pha = np.multiply(pha, 257, dtype=np.uint16)  # 255 becomes 65535
        # Shared memory, in effect: the pages of the files, which need not reach the disk.
        np.lib.format.open_memmap(paths["pha"], "r+")[:] = pha
        np.lib.format.open_memmap(paths["fgr"], "r+")[:] = fgr
        return {}

    def _timed(self, count: int, work: Callable[[int], object]) -> dict[str, Any]:
        times_ms = []
        with watch(counters=self._counters) as watched:
            for index in range(count):
                start = time.perf_counter()
                work(index)
                times_ms.append((time.perf_counter() - start) * 1e3)
        return {"ms": times_ms, "use": watched.use and asdict(watched.use)}

    def _memory(self, count: int) -> dict[str, Any]:
        """Returns the resident size before and after ``count`` frames, samples between, and the process's peak.

        Two input frames are held, in turn the next to be matted; all else is the entrant and its libraries.
        """
        images = [self._frames.read(index) for index in range(_FRAMES_HELD)]
        for index in range(_MEMORY_WARM_UP):
            self._entrant.composite(images[index % _FRAMES_HELD])
        samples = [status_bytes("VmRSS")]
        step = max(1, count // _MEMORY_SAMPLES)
        for index in range(count):
            self._entrant.composite(images[index % _FRAMES_HELD])
            if (index + 1) % step == 0 or index + 1 == count:
                samples.append(status_bytes("VmRSS"))
        return {
            "frames": count,
            "warm_up_frames": _MEMORY_WARM_UP,
            "input_frames_held_bytes": sum(image.nbytes for image in images),
            "rss_bytes": samples,
            "growth_bytes": samples[-1] - samples[0],
            "peak_bytes": status_bytes("VmHWM"),
            "torch_loaded": "torch" in sys.modules,
        }


def main() -> int:
    """Serves one entrant until it is told to quit, or its input ends."""
    answers = open_protocol()
    settings = Settings.from_json(json.loads(sys.argv[1]))
    try:
        with make_entrant(settings) as entrant, open_counters() as counters:
            _answer(answers, {"ready": True})
            service = Service(entrant, FrameFile(settings.frames), counters)
            for line in sys.stdin:
                request = json.loads(line)
                if "quit" in request:
                    break
                _answer(answers, service.answer(request))
    except UnavailableError as error:
        _answer(answers, {"unavailable": error.got})
        return 1
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


def status_bytes(field: str) -> int:
    """Returns a size that Linux keeps for this process: ``VmRSS`` resident now, ``VmHWM`` its peak."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    raise OSError(f"no {field} in /proc/self/status")


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
