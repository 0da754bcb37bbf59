"""Memory of ours as others see it: the exporting side of DLPack and of the CUDA array interface."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cuda.core.utils import StridedMemoryView

from rvm_trt.errors import OptionError
from rvm_trt.runtime.device_arrays import DeviceArray
from rvm_trt.runtime.dlpack import DlDevice, make_capsule


class CpuMemory:
    """Exports an array's memory, on the CPU, where real libraries can be asked to read it."""

    def __init__(self, array: npt.NDArray[np.uint8], *, read_only: bool = False, old: bool = False) -> None:
        self.array, self.read_only, self.old = array, read_only, old

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **_: Any) -> Any:
        return make_capsule(
            self.array.ctypes.data,
            self.array.shape,
            device=(DlDevice.CPU, 0),
            owner=self.array,
            read_only=self.read_only,
            versioned=not self.old,
        )


@pytest.fixture
def memory() -> npt.NDArray[np.uint8]:
    return np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


@pytest.mark.parametrize("old", [False, True], ids=["dltensor_versioned", "dltensor"])
@pytest.mark.parametrize("consumer", [np.from_dlpack, torch.from_dlpack], ids=["NumPy", "PyTorch"])
def test_others_see_the_same_memory(consumer: Any, old: bool, memory: npt.NDArray[np.uint8]) -> None:
    seen = consumer(CpuMemory(memory, old=old))
    np.testing.assert_array_equal(np.asarray(seen), memory)
    memory[2, 3, 1] = 200
    assert int(seen[2, 3, 1]) == 200


@pytest.mark.parametrize("old", [False, True], ids=["dltensor_versioned", "dltensor"])
@pytest.mark.parametrize("consumer", [np.from_dlpack, torch.from_dlpack], ids=["NumPy", "PyTorch"])
def test_the_owner_lives_as_long_as_what_was_exported(consumer: Any, old: bool) -> None:
    memory = np.arange(12, dtype=np.uint8)
    ending = weakref.ref(memory)
    seen = consumer(CpuMemory(memory, old=old))
    other = consumer(CpuMemory(memory, old=old))
    del memory
    gc.collect()
    assert int(seen[11]) == 11
    del seen
    gc.collect()
    assert ending() is not None
    del other
    gc.collect()
    assert ending() is None


@pytest.mark.parametrize("old", [False, True], ids=["dltensor_versioned", "dltensor"])
def test_a_capsule_that_nobody_took_gives_the_memory_back(old: bool) -> None:
    memory = np.arange(12, dtype=np.uint8)
    ending = weakref.ref(memory)
    capsule = CpuMemory(memory, old=old).__dlpack__()
    del memory
    assert ending() is not None
    del capsule
    assert ending() is None


def test_read_only_memory_is_said_to_be(memory: npt.NDArray[np.uint8]) -> None:
    assert not np.from_dlpack(CpuMemory(memory, read_only=True)).flags.writeable
    assert np.from_dlpack(CpuMemory(memory)).flags.writeable


def test_a_program_may_end_while_others_hold_exported_memory() -> None:
    program = """
import numpy as np, torch
from rvm_trt.runtime.dlpack import DlDevice, make_capsule
class Memory:
    array = np.arange(12, dtype=np.uint8)
    def __dlpack_device__(self): return 1, 0
    def __dlpack__(self, **_):
        return make_capsule(self.array.ctypes.data, (12,), device=(DlDevice.CPU, 0), owner=self.array)
kept = [np.from_dlpack(Memory()), torch.from_dlpack(Memory()), Memory().__dlpack__()]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class Orders(list[tuple[int, int]]):
    def __call__(self, first: int, then: int) -> None:
        self.append((first, then))


@pytest.mark.parametrize(
    ("stream", "consumer", "ordered"),
    [
        (7, 9, [(7, 9)]),
        (7, None, [(7, 1)]),
        (7, 1, [(7, 1)]),
        (7, 2, [(7, 2)]),
        (7, 7, []),
        (7, -1, []),
        (0, None, []),  # both are the legacy default stream
        (None, 9, []),
    ],
)
def test_the_consumers_stream_waits_for_ours(
    stream: int | None, consumer: int | None, ordered: list[Any]
) -> None:
    orders = Orders()
    DeviceArray(0x1000, (4, 5), stream=stream, order=orders).__dlpack__(stream=consumer, max_version=(1, 0))
    assert orders == ordered


@pytest.mark.parametrize("consumer", [0, -2])
def test_streams_that_the_protocol_forbids_are_refused(consumer: int) -> None:
    orders = Orders()
    with pytest.raises(OptionError, match="DLPack forbids 0"):
        DeviceArray(0x1000, (4, 5), stream=7, order=orders).__dlpack__(stream=consumer)
    assert orders == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_consumer_on_the_gpu_reads_what_was_said(read_only: bool) -> None:
    orders, owner = Orders(), CpuMemory(np.zeros(1, np.uint8))
    array = DeviceArray(
        0x1000, (4, 5, 3), ordinal=2, stream=7, owner=owner, read_only=read_only, order=orders
    )
    view = StridedMemoryView.from_dlpack(array, 9)
    assert (view.ptr, tuple(view.shape), view.dtype, view.device_id) == (0x1000, (4, 5, 3), np.uint8, 2)
    assert view.readonly is read_only
    assert orders == [(7, 9)]
    ending = weakref.ref(owner)
    del array, owner
    assert ending() is not None
    del view
    assert ending() is None


def test_the_interface_says_where_how_and_on_which_stream() -> None:
    described = DeviceArray(0x1000, (4, 5), stream=7, read_only=True).__cuda_array_interface__
    assert described == {
        "shape": (4, 5),
        "typestr": "|u1",
        "data": (0x1000, True),
        "strides": (5, 1),
        "stream": 7,
        "version": 3,
    }
    assert DeviceArray(0x1000, (4, 5)).__cuda_array_interface__["stream"] is None
    assert DeviceArray(0x1000, (4, 5), stream=0).__cuda_array_interface__["stream"] == 1


@pytest.mark.parametrize(
    "request_", [{"copy": True}, {"dl_device": (1, 0)}, {"dl_device": (2, 1)}, {"max_version": (0, 8)}, {}]
)
def test_what_cannot_be_exported_is_refused(request_: dict[str, Any]) -> None:
    array = DeviceArray(0x1000, (4, 5), read_only=True)
    with pytest.raises(BufferError):
        array.__dlpack__(**request_)
