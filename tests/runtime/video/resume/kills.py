"""A program: kills a job with SIGKILL at one step after the other, resumes it, and compares the outputs with one run's.

A step is whatever changes the disk. Each job is a child of this process, which has loaded everything and has no thread.
Usage: kills.py SOURCE FOLDER OUTPUT-NAME [EVERY]. Prints how many steps there were, and fails at the first difference.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from averaging import contents, matte, names

from rvm_trt.runtime.video import journal, packets
from rvm_trt.runtime.video.encode import VideoWriter
from rvm_trt.runtime.video.images_out import ImageWriter

_STEPS: tuple[tuple[Any, str], ...] = (
    (Path, "replace"),
    (Path, "hardlink_to"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (Path, "write_text"),
    (shutil, "rmtree"),
    (packets.PacketWriter, "append"),
    (journal, "write_states"),
    (VideoWriter, "encode"),
    (VideoWriter, "finish"),
    (ImageWriter, "encode"),
)


class Steps:
    """Counts the steps of this process, and ends it before one of them."""

    def __init__(self, last: int | None) -> None:
        self.count = 0
        self._last = last
        for owner, name in _STEPS:
            setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1
            return step(*arguments, **named)

        return counted


def in_child(work: Callable[[], int]) -> int:
    """Returns what a child process ends with: its result, or the negated signal."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(source: Path, folder: Path, name: str, every: int = 1) -> None:
    """Runs all kills."""

    def job(place: Path, *, resume: bool) -> None:
        also = {"pha": place / f"pha-{name}"}
        matte(source, place / name, kind="rgba" if "." not in name else None, also=also, resume=resume)

    def killed(place: Path, step: int) -> int:
        Steps(step)
        job(place, resume=False)
        return 0

    def resumed(place: Path) -> int:
        job(place, resume=True)
        return 0

    whole = folder / "whole"
    whole.mkdir()
    job(whole, resume=False)
    expected = [contents(whole / made) for made in names(whole)]
    step = 0
    while True:
        place = folder / f"{step}"
        place.mkdir()
        code = in_child(lambda place=place, step=step: killed(place, step))  # type: ignore[misc]
        assert code in (0, -signal.SIGKILL), code
        made = [entry for entry in names(place) if not entry.startswith(".")]
        assert all(contents(place / entry) == contents(whole / entry) for entry in made), (step, made)
        if (
            code == 0
            or any(entry.endswith("-partial") for entry in names(place))
            or len(made) < len(expected)
        ):
            if code:
                assert in_child(lambda place=place: resumed(place)) == 0, step  # type: ignore[misc]
            assert names(place) == names(whole), (step, names(place))
            assert [contents(place / entry) for entry in names(place)] == expected, step
        shutil.rmtree(place)
        if code == 0:
            break
        step += every
    print(step)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:]))
