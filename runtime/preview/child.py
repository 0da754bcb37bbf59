"""A program run beside the preview for something slow: its lines are told, and it can be called off."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

from rvm_trt.errors import EngineError
from rvm_trt.runtime.preview.parts import Tell

_POLL_S = 0.1
_PATIENCE_S = 5.0


def run_child(command: Sequence[str], *, subject: str, tell: Tell, cancelled: threading.Event) -> None:
    """Runs a program to its end. No process is left, whatever happens.

    Args:
        command: the program and its arguments.
        subject: what it makes, for messages.
        tell: called with each line that it writes to standard error.
        cancelled: ends it early when set.

    Raises:
        EngineError: it failed, with its last line, or was cancelled.
    """
    # A session of its own: Ctrl-C reaches us alone, and we end it in order.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    last = "no message"
    try:
        for line in _lines(process, cancelled):
            last = line
            tell(line)
        code = None if cancelled.is_set() else process.wait()
    finally:
        _end(process)
    if code != 0:
        raise EngineError(
            subject,
            got="a wish that was taken back" if code is None else f"exit code {code} ({last})",
            expected="an engine",
            todo="Mend the cause, or choose another ratio.",
        )


def _lines(process: subprocess.Popen[bytes], cancelled: threading.Event) -> Iterator[str]:
    """Yields what the program writes to standard error, until it ends or is cancelled."""
    assert process.stderr is not None
    descriptor, unread = process.stderr.fileno(), b""
    while not cancelled.is_set():
        ready, _, _ = select.select([descriptor], [], [], _POLL_S)
        if not ready:
            continue
        chunk = os.read(descriptor, 1 << 16)
        *lines, unread = (unread + chunk).split(b"\n") if chunk else (unread, b"")
        for line in lines:
            if text := line.decode(errors="replace").strip():
                yield text
        if not chunk:
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    if process.poll() is None:
        # As Ctrl-C does, so that it removes what it began to write.
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stderr.close()
