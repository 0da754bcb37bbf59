"""The memory in which a thread's signals are handled, kept as it is where a library would change it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_DISABLED = 2  # SS_DISABLE


class _Stack(ctypes.Structure):  # stack_t of Linux
    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def own_signal_stack() -> Iterator[None]:
    """Lets a thread that had no signal stack of its own have none after the block either.

    OpenVINO gives one to the thread that opens a network, and frees it with the network. Where that is done on another
    thread, the first one's next signal, Ctrl-C included, would be handled in memory that is gone: a crash. A thread's
    ordinary stack has more room. A signal stack that was there before, as `faulthandler` has one, is OpenVINO's affair:
    it may be too small for the registers that this CPU saves.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    library, before = ctypes.CDLL(None), _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        if before.flags & _DISABLED:
            library.sigaltstack(ctypes.byref(before), None)
