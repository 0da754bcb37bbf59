"""Runs ``rvm-trt`` in a child process under a watchdog, and looks at what it left behind.

Children are forked from one process that has loaded the libraries, so that several hundred runs take minutes. A child
is a process of its own all the same: it can crash, hang or be killed alone.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rvm_trt.engines.openvino_library import import_openvino

_LIBRARIES = (
    "av",
    "PIL.Image",
    "numba",
    "rvm_trt.cli",
    "rvm_trt.engines.provision",
    "rvm_trt.runtime.kernels_cpu",
    "rvm_trt.runtime.kernels_cpu_head",
    "rvm_trt.runtime.session",
    "rvm_trt.runtime.video.decode",
    "rvm_trt.runtime.video.encode",
    "rvm_trt.runtime.video.job",
)
_HANGING = -1
_GROWTH_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        code: exit code; negative for a signal; None where the watchdog ended it.
        out, err: what it wrote.
        seconds: wall time.
        left: open files and threads that were not there before; empty where the child could not tell.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    left: tuple[str, ...]

    @property
    def has_traceback(self) -> bool:
        """Whether it wrote a Python traceback."""
        return "Traceback (most recent call last)" in self.err


def load_libraries() -> None:
    """Imports what the children need, once. Call it before the first `start`."""
    for name in _LIBRARIES:
        import_module(name)
    import_openvino()


class Child:
    """A run of ``rvm-trt`` in a forked process. Made by `start`."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self._folder = folder
        self._lock = threading.Lock()
        self._ended = False
        self._start = time.perf_counter()

    def signal(self, number: int) -> None:
        """Sends a signal, if the child still runs."""
        with self._lock:
            if not self._ended:
                os.kill(self.pid, number)

    def wait(self, *, timeout_s: float) -> Outcome:
        """Waits for the end; a run that takes longer is killed, and its code is None."""
        code = self._code(timeout_s)
        seconds = time.perf_counter() - self._start
        left = self._folder / "left.json"
        return Outcome(
            code=None if code == _HANGING else code,
            out=(self._folder / "out").read_text(errors="replace"),
            err=(self._folder / "err").read_text(errors="replace"),
            seconds=seconds,
            left=tuple(json.loads(left.read_text())) if left.is_file() else (),
        )

    def _code(self, timeout_s: float) -> int:
        while True:
            with self._lock:  # a process number that is waited for may be another's at once
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self._ended = bool(pid)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else code - 1  # -1 is the watchdog's
            if time.perf_counter() - self._start > timeout_s:
                self.signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                return _HANGING
            time.sleep(0.005)


def start(
    arguments: Sequence[str],
    folder: Path,
    *,
    file_bytes: int | None = None,
    memory_bytes: int | None = None,
    stdout: int | None = None,
    repeats: int = 1,
    prepare: Callable[[], object] | None = None,
) -> Child:
    """Forks a child that runs ``rvm-trt`` with these arguments.

    Args:
        arguments: without the program's name.
        folder: an empty folder for what it writes to its standard streams.
        file_bytes: the largest file it may write, messages included: what a full disk looks like to it.
        memory_bytes: address space that it may take beyond what it has at its start.
        stdout: a file descriptor to write to in place of a file; the caller closes its own.
        repeats: how often it runs the command. Of more than once, what is told as left behind is what all but the first
            left, and memory that grew by more than 32 MiB.
        prepare: called in the child before the command: puts something that fails in the place of what does not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("out", "err"):
        (folder / name).touch()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _run_child(list(arguments), folder, file_bytes, memory_bytes, stdout, repeats, prepare)
    return Child(pid, folder)


def call_in_child(function: Callable[[], int], *, timeout_s: float) -> int | None:
    """Returns what a function gives in a forked child, below 2³¹; None where it crashed, raised or took too long."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            os.write(writing, str(function()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    limit = time.perf_counter() + timeout_s
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.perf_counter() > limit:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            break
        time.sleep(0.005)
    with os.fdopen(reading) as answer:
        text = answer.read()
    return int(text) if text else None


def _run_child(
    arguments: list[str],
    folder: Path,
    file_bytes: int | None,
    memory_bytes: int | None,
    stdout: int | None,
    repeats: int,
    prepare: Callable[[], object] | None,
) -> None:
    """Runs the command and ends the process: nothing of the parent's may go on in the child."""
    code = 99
    try:
        out = os.open(folder / "out", os.O_WRONLY) if stdout is None else stdout
        os.dup2(out, 1)
        os.dup2(os.open(folder / "err", os.O_WRONLY), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")  # a test may have replaced the parent's
        # A process in the background ignores Ctrl-C, and so would its children: no run could ever fail at it.
        signal.signal(signal.SIGINT, _leave)
        if prepare is not None:
            prepare()
        _limit(file_bytes, memory_bytes)
        before, code = _held(), _main(arguments)
        if repeats > 1:
            before, memory = _held(), _resident_bytes()
            code = max(_main(arguments) for _ in range(repeats - 1))
        gc.collect()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        left = sorted(_held() - before)
        if repeats > 1 and (grown := _resident_bytes() - memory) > _GROWTH_BYTES:
            left.append(f"{grown >> 20} MiB of memory")
        (folder / "left.json").write_text(json.dumps(left))
    except BaseException:  # noqa: BLE001 - it must be seen, and must not return into the parent's code
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 98
        os._exit(code)


def _main(arguments: list[str]) -> int:
    """Runs the command; Ctrl-C reaches it alone, as where it has a process of its own (see `rvm_trt.entry`)."""
    from rvm_trt.cli import make_parser, run

    try:
        args = make_parser().parse_args(arguments)
    except SystemExit as wrong_usage:
        return int(wrong_usage.code or 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(args)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave(*_: object) -> None:
    os._exit(130)  # nothing has been begun


def _limit(file_bytes: int | None, memory_bytes: int | None) -> None:
    if file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
    if memory_bytes is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _held() -> set[str]:
    """Returns the open files and the Python threads of this process, in words."""
    files = set()
    for number in Path("/proc/self/fd").iterdir():
        try:
            files.add(f"file {number.readlink()}")
        except OSError:
            continue  # the listing itself
    threads = {f"thread {thread.name}" for thread in threading.enumerate()}
    return {each for each in files if not each.startswith(("file /proc", "file pipe:"))} | threads
