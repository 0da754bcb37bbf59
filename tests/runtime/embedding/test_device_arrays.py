"""Arrays of other libraries on a GPU: what is read of them, what they are told, and what is refused."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from gpu_fakes import CaiArray, DlpackArray

from rvm_trt.errors import FrameError
from rvm_trt.runtime.device_arrays import Lent, Wanted, read_lent

SHAPE = (6, 10, 3)
SRC = Wanted(name="src", shape=SHAPE, written=False, whose="for profile 'small'")
OUT = Wanted(name="composite", shape=SHAPE, written=True, whose="for profile 'small'")


class Allocation:
    """As PyCUDA's ``DeviceAllocation``: an index, and no number."""

    def __index__(self) -> int:
        return 0x10000


def read(thing: object, wanted: Wanted = SRC, *, ordinal: int = 0, stream: int = 7) -> Lent:
    return read_lent(thing, wanted, ordinal=ordinal, stream=stream)


@pytest.mark.parametrize("versioned", [True, False], ids=["dltensor_versioned", "dltensor"])
@pytest.mark.parametrize("wanted", [SRC, OUT], ids=["frame", "output"])
def test_dlpack_producers_are_told_the_stream_that_will_use_them(versioned: bool, wanted: Wanted) -> None:
    array = DlpackArray(SHAPE, byte_offset=0x40, versioned=versioned)
    lent = read(array, wanted, stream=0x7F00)
    assert array.streams == [0x7F00]
    assert (lent.address, lent.stream) == (0x10040, None)


def test_the_deleter_is_called_once_and_only_when_the_memory_is_given_back() -> None:
    array = DlpackArray(SHAPE)
    lent = read(array)
    gc.collect()
    assert array.deleted == 0
    del lent
    assert array.deleted == 1
    gc.collect()
    assert array.deleted == 1


def test_the_deleter_is_called_once_for_what_is_refused() -> None:
    array = DlpackArray((6, 10, 4))
    with pytest.raises(FrameError):
        read(array)
    gc.collect()
    assert array.deleted == 1


def test_managed_memory_is_taken_on_any_gpu() -> None:
    array = DlpackArray(SHAPE, device=(13, 1))
    assert read(array, ordinal=0).address == 0x10000
    assert array.streams == [7]


@pytest.mark.parametrize("stream", [None, ..., 1, 2, 0x7F00])
def test_the_stream_of_the_cuda_array_interface_is_read(stream: Any) -> None:
    array = CaiArray(SHAPE, stream=stream, typestr="<u1", strides=(30, 3, 1))
    lent = read(array, OUT)
    assert (lent.address, lent.stream) == (0x10000, None if stream is ... else stream)
    assert lent.keep is array


def test_an_older_interface_without_stream_and_strides_is_read() -> None:
    assert read(CaiArray(SHAPE, version=2, stream=..., strides=...)).stream is None


def test_addresses_are_taken_at_their_word() -> None:
    assert read(0x10000) == Lent(address=0x10000, stream=None, keep=None)
    allocation = Allocation()
    assert read(allocation, OUT) == Lent(address=0x10000, stream=None, keep=allocation)


def test_an_array_with_both_is_read_through_dlpack() -> None:
    both = DlpackArray(SHAPE)
    both.__cuda_array_interface__ = CaiArray(SHAPE, address=1).__cuda_array_interface__  # type: ignore[attr-defined]
    assert read(both).address == 0x10000


REFUSED = {
    "CPU": (DlpackArray(SHAPE, device=(1, 0)), "an array on the CPU"),
    "page-locked": (DlpackArray(SHAPE, device=(3, 0)), "an array on page-locked memory"),
    "elsewhere": (DlpackArray(SHAPE, device=(10, 0)), "an array on a device of kind 10"),
    "other GPU": (DlpackArray(SHAPE, device=(2, 1)), "an array on GPU 1"),
    "size": (DlpackArray((6, 11, 3)), r"\(6, 11, 3\) uint8"),
    "channels first": (CaiArray((3, 6, 10)), r"\(3, 6, 10\) uint8"),
    "float": (DlpackArray(SHAPE, dtype=(2, 32, 1)), "float32"),
    "signed": (CaiArray(SHAPE, typestr="|i1"), "int8"),
    "pitch": (DlpackArray(SHAPE, strides=(32, 3, 1)), r"strides \(32, 3, 1\)"),
    "mirror": (CaiArray(SHAPE, strides=(30, -3, 1)), r"strides \(30, -3, 1\)"),
    "mask": (CaiArray(SHAPE, mask=CaiArray((6, 10))), "an array with a mask"),
    "null": (CaiArray(SHAPE, address=0), "address 0"),
    "null address": (0, "address 0"),
    "stream 0": (CaiArray(SHAPE, stream=0), "stream 0 in the CUDA array interface"),
    "stream -1": (CaiArray(SHAPE, stream=-1), "stream -1"),
    "stream as text": (CaiArray(SHAPE, stream="1"), "stream '1'"),  # type: ignore[arg-type]
    "negative": (-1, "-1"),
    "bool": (True, "True"),
    "text": ("frame", "builtins.str"),
}


@pytest.mark.parametrize(("thing", "got"), REFUSED.values(), ids=REFUSED)
def test_other_arrays_are_refused(thing: Any, got: str) -> None:
    with pytest.raises(FrameError, match=rf"src: got .*{got}.*, expected \(6, 10, 3\) uint8 for profile"):
        read(thing)


@pytest.mark.parametrize("dimension", [0, 1])
def test_strides_of_single_rows_do_not_matter(dimension: int) -> None:
    shape = (1, 10, 3) if dimension == 0 else (6, 1, 3)
    strides = (77, 3, 1) if dimension == 0 else (3, 77, 1)
    wanted = Wanted(name="src", shape=shape, written=False, whose="")
    assert read(CaiArray(shape, strides=strides), wanted).address


@pytest.mark.parametrize(
    "array",
    [DlpackArray(SHAPE, read_only=True), CaiArray(SHAPE, data=(0x10000, True))],
    ids=["DLPack", "CAI"],
)
def test_read_only_memory_is_taken_for_frames_and_refused_for_outputs(array: Any) -> None:
    assert read(array, SRC).address == 0x10000
    with pytest.raises(FrameError, match="composite: got a read-only array, expected writable"):
        read(array, OUT)


def test_what_a_producer_says_stands_in_the_error() -> None:
    class Reluctant(DlpackArray):
        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("it requires a gradient")

    with pytest.raises(FrameError, match=r"Reluctant that does not export itself \(it requires a gradient"):
        read(Reluctant(SHAPE))
