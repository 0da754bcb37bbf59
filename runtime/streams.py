"""CUDA streams of other libraries: the handle that the driver knows each of them by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rvm_trt.errors import OptionError

LEGACY_DEFAULT = 1
PER_THREAD_DEFAULT = 2
# Library → where its stream objects keep the handle. The library is told by the class, so none has to be imported.
_HANDLES: Mapping[str, str] = {"torch": "cuda_stream", "cupy": "ptr", "pycuda": "handle", "numba": "handle"}


def stream_handle(stream: object) -> int:
    """Returns the handle of a CUDA stream: 1 for the legacy default stream, 2 for the thread's own, else an address.

    Args:
        stream: a stream of PyTorch, CuPy, PyCUDA, numba or cuda.bindings; any object with ``__cuda_stream__``, as of
            cuda.core; a handle as an integer; or None. None and 0, which CUDA calls NULL, are taken for the legacy
            default stream: a program that was compiled for default streams by thread passes 2.

    Raises:
        OptionError: it is none of these.
    """
    handle = _handle(stream)
    if handle is None or handle < 0:
        raise OptionError(
            "stream",
            got=f"{stream!r}" if isinstance(stream, int) else f"an object of type {_name(type(stream))}",
            expected="a CUDA stream or the handle of one",
            todo="Pass a stream of PyTorch, CuPy, PyCUDA, numba or cuda.core, or its handle as an integer.",
        )
    return handle or LEGACY_DEFAULT


def _handle(stream: object) -> int | None:
    if stream is None:
        return LEGACY_DEFAULT
    if isinstance(stream, (int, np.integer)):
        return None if isinstance(stream, bool) else int(stream)
    protocol = getattr(stream, "__cuda_stream__", None)
    if callable(protocol):
        return _of_protocol(protocol())
    for kind in type(stream).__mro__:
        library = kind.__module__.partition(".")[0]
        if library == "cuda" and kind.__name__ in ("CUstream", "cudaStream_t"):
            return int(stream)  # type: ignore[call-overload, no-any-return]
        if library in _HANDLES and "stream" in kind.__name__.lower():
            return _number(getattr(stream, _HANDLES[library], None))
    return None


def _of_protocol(answer: object) -> int | None:
    """Returns the handle in (version, handle), of which version 0 is known."""
    if isinstance(answer, tuple) and len(answer) == 2 and answer[0] == 0:
        return _number(answer[1])
    return None


def _number(handle: object) -> int | None:
    if handle is None:
        return None
    if hasattr(
        handle, "value"
    ):  # numba without NVIDIA's bindings: a ctypes pointer, whose NULL has the value None
        return int(handle.value or 0)
    return int(handle)  # type: ignore[call-overload, no-any-return]


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
