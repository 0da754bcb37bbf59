"""Streams of other libraries: which are known, and by what handle."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from cuda.bindings import driver
from cuda.core import LEGACY_DEFAULT_STREAM, PER_THREAD_DEFAULT_STREAM

from rvm_trt.errors import OptionError
from rvm_trt.runtime.streams import stream_handle


def stream_of(module: str, name: str = "Stream", base: type = object, **attributes: Any) -> Any:
    """An instance of a class that looks as if a library had made it."""
    return type(name, (base,), {"__module__": module, **attributes})()


class ByProtocol:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __cuda_stream__(self) -> Any:
        return self._answer


@pytest.mark.parametrize(
    ("stream", "handle"),
    [
        (None, 1),
        (0, 1),
        (1, 1),
        (2, 2),
        (0x7F00, 0x7F00),
        (np.uint64(0x7F00), 0x7F00),
        (LEGACY_DEFAULT_STREAM, 1),
        (PER_THREAD_DEFAULT_STREAM, 2),
        (driver.CUstream(0x7F00), 0x7F00),
        (ByProtocol((0, 0x7F00)), 0x7F00),
        (ByProtocol((0, 0)), 1),
        (stream_of("torch.cuda.streams", cuda_stream=0x7F00), 0x7F00),
        (stream_of("torch.cuda.streams", cuda_stream=0), 1),
        (stream_of("cupy.cuda.stream", "ExternalStream", ptr=0x7F00), 0x7F00),
        (stream_of("pycuda._driver", handle=0x7F00), 0x7F00),
        (stream_of("numba.cuda.cudadrv.driver", handle=ctypes.c_void_p(0x7F00)), 0x7F00),
        (stream_of("numba.cuda.cudadrv.driver", handle=ctypes.c_void_p(0)), 1),
        (stream_of("numba.cuda.cudadrv.driver", handle=driver.CUstream(2)), 2),
    ],
)
def test_streams_are_known_by_their_handle(stream: Any, handle: int) -> None:
    assert stream_handle(stream) == handle


def test_a_subclass_in_an_application_is_still_a_stream_of_its_library() -> None:
    base = type(stream_of("torch.cuda.streams", cuda_stream=0x7F00))
    assert stream_handle(stream_of("application", "Mine", base)) == 0x7F00


def test_the_protocol_comes_before_what_a_class_is_called() -> None:
    torch = stream_of("torch.cuda.streams", cuda_stream=5, __cuda_stream__=lambda _self: (0, 6))
    assert stream_handle(torch) == 6


@pytest.mark.parametrize(
    "stream",
    [
        True,
        -1,
        1.0,
        "1",
        object(),
        stream_of("cupy.cuda.memory", "MemoryPointer", ptr=0x7F00),  # memory also has a ptr
        stream_of("application", cuda_stream=0x7F00, ptr=0x7F00, handle=0x7F00),
        stream_of("torch.cuda.streams"),
        ByProtocol((1, 0x7F00)),
        ByProtocol(0x7F00),
    ],
)
def test_what_is_no_stream_is_refused(stream: Any) -> None:
    with pytest.raises(OptionError, match=r"stream: got .* expected a CUDA stream or the handle of one"):
        stream_handle(stream)
