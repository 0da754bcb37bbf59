"""Where the ``rvm-trt`` command begins: Ctrl-C is one line from here on, also while the rest of it is imported."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time

# No more than that is imported here: what comes before `main` cannot answer Ctrl-C in one line.

INTERRUPTED = 130
_STDERR = 2
_SOON_S = 0.02


def main() -> int:
    """Runs the command line of this process, and returns its exit code.

    Where Ctrl-C is ignored from the start, as shells have it for jobs in the background, it stays so.
    """
    if sys.stderr is None:
        _open_stderr()
    obeyed = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if obeyed:
        signal.signal(signal.SIGINT, _leave)
        sys.unraisablehook = _repeat_or_print
    from rvm_trt.cli import make_parser, run

    args = make_parser().parse_args()
    if obeyed:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = run(args)
    except KeyboardInterrupt:  # once more, while it is said
        code = INTERRUPTED
    finally:
        if obeyed:  # all is said and done: the interpreter's own end has nothing to clear up
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    if code == INTERRUPTED:
        _end(code)
    return code


def _open_stderr() -> None:
    """Sends messages nowhere where standard error is closed.

    Otherwise `print` takes standard output for it, and what libraries say goes into the next file that is opened.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere < _STDERR:  # another is closed as well, and stays so
        os.dup2(nowhere, _STDERR)
        os.close(nowhere)
    sys.stderr = open(max(nowhere, _STDERR), "w")  # noqa: PTH123, SIM115, a descriptor, for good


def _end(code: int) -> None:
    """Ends the process at once: a library's thread that was interrupted may keep the interpreter from ending."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # there is none, or nobody reads it
            continue
    os._exit(code)


def _leave(*_: object) -> None:
    # An exception may be swallowed or changed by the module that is being imported. Nothing has been begun yet.
    try:
        os.write(_STDERR, b"rvm-trt: interrupted\n")
    finally:  # also where nobody reads it
        os._exit(INTERRUPTED)


def _repeat_or_print(lost: sys.UnraisableHookArgs) -> None:
    """Sends Ctrl-C again where it arrived in a destructor or a callback, out of which no exception gets."""
    if lost.exc_type is not None and issubclass(lost.exc_type, KeyboardInterrupt):
        _thread.start_new_thread(_send_again, ())
    else:
        sys.__unraisablehook__(lost)


def _send_again() -> None:
    time.sleep(_SOON_S)  # else it would arrive in the same callback
    os.kill(os.getpid(), signal.SIGINT)
