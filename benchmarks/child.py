"""A benchmark's child process, asked in lines of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rvm_trt.benchmarks.timings import Turn
from rvm_trt.errors import RvmTrtError

_QUIT_S = 2.0


class BenchmarkError(RvmTrtError):
    """A benchmark's worker died, fell silent, or could not do what it was asked."""

    @property
    def reason(self) -> str:
        """What happened, as a sentence."""
        return f"{self.got[:1].upper()}{self.got[1:]}."


class UnavailableError(BenchmarkError):
    """An entrant cannot run on this machine.

    Args:
        name: the entrant.
        reason: why, as a clause.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"entrant {name!r}",
            got=reason.rstrip("."),
            expected="one that runs here",
            todo="Name the others with --entrants.",
        )


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

    def run(self, count: int, *, timeout_s: float, protocol: str = "run") -> Turn | None:
        """Has the child run ``count`` frames of a protocol; None where the child has none such. Raises as `ask`."""
        answer = self.ask({protocol: count}, timeout_s=timeout_s)
        if "ms" in answer and answer["ms"] is None:
            return None
        times_ms = answer.get("ms")
        if not isinstance(times_ms, list) or len(times_ms) != count:
            raise self._error(got=repr(times_ms)[:80], expected=f"{count} times in milliseconds")
        return Turn.from_json(answer)

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
        if "unavailable" in answer:
            raise UnavailableError(self.name, str(answer["unavailable"]))
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
