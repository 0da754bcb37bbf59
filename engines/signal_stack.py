"""The memory in which a thread's signals are handled, kept as it is where a library would change it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):  # stack_t of Linux
    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def own_signal_stack() -> Iterator[None]:
    """Gives a thread the signal stack back that it had before the block, or none if it had none.

    OpenVINO gives one to the thread that opens a network, and frees it with the network. Where that is done on another
    thread, the first one's next signal, Ctrl-C included, would be handled in memory that is gone: a crash. The system
    refuses to give back one that is too small for the registers that this CPU saves; OpenVINO's stays then.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    library, before = ctypes.CDLL(None), _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)
