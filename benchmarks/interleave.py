"""Fair timing: each entrant in a process of its own, and short rounds that take turns while the others sleep."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rvm_trt.errors import OptionError, RvmTrtError

_QUIT_S = 2.0


class BenchmarkError(RvmTrtError):
    """A benchmark's worker died, fell silent, or could not do what it was asked."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often and how long.

    Attributes:
        rounds: rounds of every entrant; each starts with another of them.
        frames_per_round: frames per entrant and round.
        warm_up_frames: frames before the first round, not counted.
        rest_s: pause before each turn, in seconds, for helper threads of the last entrant to fall asleep.
        timeout_s: longest wait for one answer, in seconds.

    Raises:
        OptionError: a count is below 1.
    """

    rounds: int = 12
    frames_per_round: int = 8
    warm_up_frames: int = 3
    rest_s: float = 0.3
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        for subject in ("rounds", "frames_per_round"):
            if getattr(self, subject) < 1:
                raise OptionError(
                    subject, got=str(getattr(self, subject)), expected="at least 1", todo="Ask for more."
                )


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times of one entrant.

    Attributes:
        samples_ms: per round, one number per frame.
    """

    samples_ms: tuple[tuple[float, ...], ...] = field(repr=False)

    def quartiles_ms(self) -> tuple[float, float, float]:
        """Returns the lower quartile, the median and the upper quartile over all frames."""
        lower, median, upper = np.percentile(
            [value for turn in self.samples_ms for value in turn], (25, 50, 75)
        )
        return float(lower), float(median), float(upper)

    def to_json(self) -> dict[str, Any]:
        """Median, quartiles, number of frames and the samples, rounded to microseconds."""
        lower, median, upper = self.quartiles_ms()
        return {
            "median_ms": round(median, 3),
            "quartiles_ms": [round(lower, 3), round(upper, 3)],
            "frames": sum(len(turn) for turn in self.samples_ms),
            "samples_ms": [[round(value, 3) for value in turn] for turn in self.samples_ms],
        }


class Worker:
    """A child process that answers lines of JSON with lines of JSON. Owns the process; use it with ``with``.

    Args:
        command: the program and its arguments.
        name: for messages.
        log: file that takes the child's standard error.

    Raises:
        BenchmarkError: the program does not start.
    """

    def __init__(self, command: Sequence[str], *, name: str, log: Path) -> None:
        self.name = name
        self._log = log
        self._unread = b""
        try:
            with log.open("wb") as errors:
                # A session of its own: Ctrl-C reaches us alone, and we end the children in order.
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                )
        except OSError as error:
            raise self._error(got=f"{error.strerror or error}", expected="a program that starts") from None

    @property
    def pid(self) -> int:
        """The child's process number."""
        return self._process.pid

    def ask(self, request: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Sends a request and returns its answer; raises `BenchmarkError` where none comes in time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return self.answer(timeout_s=timeout_s)

    def run(self, count: int, *, timeout_s: float) -> tuple[float, ...]:
        """Has the child matte ``count`` frames and returns the milliseconds of each; raises as `ask`."""
        times_ms = self.ask({"run": count}, timeout_s=timeout_s).get("ms")
        if not isinstance(times_ms, list) or len(times_ms) != count:
            raise self._error(got=repr(times_ms)[:80], expected=f"{count} times in milliseconds")
        return tuple(float(value) for value in times_ms)

    def answer(self, *, timeout_s: float) -> dict[str, Any]:
        """Returns the next answer.

        Raises:
            BenchmarkError: the child died, says nothing for so long, tells an error, or breaks the protocol.
        """
        line = self._line(time.monotonic() + timeout_s, timeout_s)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._error(got=repr(line[:80]), expected="a line of JSON")
        if "error" in answer:
            raise self._error(got=str(answer["error"]), expected="an answer")
        return answer

    def close(self) -> None:
        """Ends the child, by force if it must be. May be called twice."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()  # the end of its input is a worker's sign to quit
        for last_resort in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(_QUIT_S)
                return
            except subprocess.TimeoutExpired:
                last_resort()
        self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, deadline: float, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise self._error(got=f"no answer for {timeout_s:g} s", expected="an answer")
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                raise self._died()
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _died(self) -> BenchmarkError:
        try:
            code = self._process.wait(_QUIT_S)
        except subprocess.TimeoutExpired:
            return self._error(got="a closed pipe", expected="an answer")
        end = f"signal {-code}" if code < 0 else f"exit code {code}"
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        detail = f" ({lines[-1].strip()[:200]})" if lines else ""
        return self._error(got=f"its end with {end}{detail}", expected="an answer")

    def _error(self, *, got: str, expected: str) -> BenchmarkError:
        return BenchmarkError(
            f"worker {self.name!r}",
            got=got.rstrip("."),
            expected=expected,
            todo="Mend the cause and measure again; nothing was written.",
        )


@contextmanager
def started(
    commands: Mapping[str, Sequence[str]], *, timeout_s: float = 600.0
) -> Iterator[dict[str, Worker]]:
    """Starts workers one after the other, yields them by name when all are ready, and ends every one of them.

    Raises:
        BenchmarkError: one does not become ready.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rvm-trt-")))
        workers = {}
        for index, (name, command) in enumerate(commands.items()):
            worker = stack.enter_context(Worker(command, name=name, log=folder / f"{index}.log"))
            worker.answer(timeout_s=timeout_s)
            workers[name] = worker
        yield workers


def interleave(
    workers: dict[str, Worker], schedule: Schedule, *, tell: Callable[[str], None] | None = None
) -> dict[str, Timing]:
    """Measures workers in turns and returns their times by name. Only one of them works at a time.

    Args:
        workers: from `started`.
        schedule: how often and how long.
        tell: called with one line of text before each round.

    Raises:
        BenchmarkError: a worker died, fell silent or told an error.
    """
    names = list(workers)
    samples: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    for name in names:
        if schedule.warm_up_frames:
            workers[name].run(schedule.warm_up_frames, timeout_s=schedule.timeout_s)
    for turn in range(schedule.rounds):
        if tell is not None:
            tell(f"Round {turn + 1} of {schedule.rounds}")
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            time.sleep(schedule.rest_s)
            samples[name].append(workers[name].run(schedule.frames_per_round, timeout_s=schedule.timeout_s))
    return {name: Timing(samples_ms=tuple(values)) for name, values in samples.items()}
