"""PyCUDA beside a session: its context has to be the GPU's primary one, in which the session works.

``import pycuda.autoinit`` makes another context, whose streams and memory the session cannot use. ``import
pycuda.autoprimaryctx`` makes the primary one current; so does `primary_context`, for one GPU and a limited time. With
it, PyCUDA's streams, ``DeviceAllocation`` and ``GPUArray`` go into `MattingSession.enqueue` as they are.

Written against the interface of PyCUDA 2026.1 and tested with a stand-in for it; it has not run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from rvm_trt.errors import DependencyError, OptionError


@contextmanager
def primary_context(ordinal: int = 0) -> Iterator[Any]:
    """Makes a GPU's primary context current for PyCUDA on this thread; gives PyCUDA's ``Context``.

    Args:
        ordinal: which GPU, as ``CUDA_VISIBLE_DEVICES`` numbers them.

    Raises:
        DependencyError: PyCUDA is not installed.
        OptionError: there is no GPU with this number.
    """
    try:
        driver: Any = import_module("pycuda.driver")
    except ImportError:
        raise DependencyError("pycuda", extra="pycuda", stage="PyCUDA adapter") from None
    driver.init()
    count = driver.Device.count()
    if not 0 <= ordinal < count:
        raise OptionError(
            "GPU",
            got=f"number {ordinal}",
            expected=f"a number from 0 to {count - 1}" if count else "any GPU, but there is none",
            todo="nvidia-smi lists the GPUs; CUDA_VISIBLE_DEVICES may hide some of them.",
        )
    context = driver.Device(ordinal).retain_primary_context()  # released with the last reference to it
    context.push()
    try:
        yield context
    finally:
        # Not detach, which pushes a context that is not current and leaves it there: pop and drop, as autoprimaryctx.
        driver.Context.pop()
