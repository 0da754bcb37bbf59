"""`MattingSession.enqueue` on the CPU: frames and outputs in arrays of the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from gpu_fakes import CaiArray, DlpackArray

from rvm_trt import Engine, MattingSession
from rvm_trt.errors import FrameError, OptionError, SessionError
from rvm_trt.runtime import kernels_cpu

Image = npt.NDArray[np.uint8]
SHAPES = {"src": (97, 161, 3), "pha": (97, 161), "composite": (97, 161, 3), "rgba": (97, 161, 4)}


@pytest.fixture
def session(engine: Engine) -> Iterator[MattingSession]:
    with MattingSession(engine, outputs=("pha", "composite"), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def expected(engine: Engine, frames: list[Image]) -> list[dict[str, Image]]:
    with MattingSession(engine, outputs=("pha", "composite"), threads=1) as session:
        return [session.process(frame).copy() for frame in frames]


def room(*names: str) -> dict[str, Image]:
    return {name: np.full(SHAPES[name], 77, np.uint8) for name in names or ("pha", "composite")}


def assert_same(got: dict[str, Any], wanted: dict[str, Image]) -> None:
    for name, image in wanted.items():
        np.testing.assert_array_equal(np.asarray(got[name]), image, err_msg=name)


def test_the_outputs_are_those_of_process(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    for frame, wanted in zip(frames, expected, strict=True):
        outputs = room()
        session.enqueue(frame, outputs)
        assert_same(outputs, wanted)


def test_torch_in_and_torch_out_shares_its_memory(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    outputs = {name: torch.zeros(SHAPES[name], dtype=torch.uint8) for name in ("pha", "composite")}
    places = {name: tensor.data_ptr() for name, tensor in outputs.items()}
    for frame, wanted in zip(frames[:2], expected, strict=False):
        session.enqueue(torch.from_numpy(frame.copy()), outputs)
        assert_same(outputs, wanted)
    assert {name: tensor.data_ptr() for name, tensor in outputs.items()} == places


def test_the_order_of_the_mapping_does_not_matter(engine: Engine, frames: list[Image]) -> None:
    names = ("rgba", "pha", "composite")
    with MattingSession(engine, outputs=names, threads=1) as session:
        outputs = room("composite", "pha", "rgba")
        session.enqueue(frames[0], outputs)
        session.reset()
        assert_same(outputs, session.process(frames[0]).copy())


def test_calls_of_all_kinds_are_one_sequence_of_frames(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    outputs = room()
    session.submit(frames[0])
    session.enqueue(frames[1], outputs)  # does not take the place of a matte that waits
    session.submit(frames[2])
    assert_same(outputs, expected[1])
    assert_same(session.collect().copy(), expected[0])
    assert_same(session.collect().copy(), expected[2])
    session.enqueue(frames[3], outputs)
    assert_same(outputs, expected[3])


def test_frames_are_not_written_to_and_may_be_read_only(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    frame = frames[0].copy()
    frame.flags.writeable = False
    outputs = room()
    session.enqueue(frame, outputs)
    assert_same(outputs, expected[0])
    np.testing.assert_array_equal(frame, frames[0])


def test_the_kernels_that_are_warm_serve_any_memory(session: MattingSession, frames: list[Image]) -> None:
    compiled = len(kernels_cpu.sample.signatures), len(kernels_cpu.compose.signatures)
    frozen = frames[1].copy()
    frozen.flags.writeable = False
    for frame in (frames[0].copy(), frozen, torch.from_numpy(frames[2].copy())):
        session.enqueue(frame, room())
    assert (len(kernels_cpu.sample.signatures), len(kernels_cpu.compose.signatures)) == compiled


def frozen(name: str) -> Image:
    array = room(name)[name]
    array.flags.writeable = False
    return array


def overlapping() -> dict[str, Any]:
    memory = np.zeros(2 * 97 * 161 * 3, np.uint8)
    size = 97 * 161 * 3
    return {
        "src": memory[:size].reshape(97, 161, 3),
        "composite": memory[size - 1 : 2 * size - 1].reshape(97, 161, 3),
    }


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "small frame": ({"src": np.zeros((96, 161, 3), np.uint8)}, FrameError, r"src: got \(96, 161, 3\) uint8"),
    "float frame": ({"src": np.zeros((97, 161, 3), np.float32)}, FrameError, "src: got .* float32"),
    "cropped frame": ({"src": np.zeros((97, 170, 3), np.uint8)[:, :161]}, FrameError, "src: got strides"),
    "address as frame": ({"src": 0x10000}, FrameError, "src: got int, expected an array on the CPU"),
    "DLPack frame on a GPU": (
        {"src": DlpackArray((97, 161, 3))},
        FrameError,
        "src: got DlpackArray elsewhere",
    ),
    "CUDA array as frame": ({"src": CaiArray((97, 161, 3))}, FrameError, "src: got CaiArray elsewhere"),
    "small output": ({"pha": np.zeros((97, 160), np.uint8)}, FrameError, r"pha: got \(97, 160\) uint8"),
    "third dimension": ({"pha": np.zeros((97, 161, 1), np.uint8)}, FrameError, r"pha: got \(97, 161, 1\)"),
    "float output": ({"pha": np.zeros((97, 161), np.float32)}, FrameError, "pha: got .* float32"),
    "cropped output": ({"pha": np.zeros((97, 170), np.uint8)[:, :161]}, FrameError, "pha: got strides"),
    "read-only output": ({"pha": frozen("pha")}, FrameError, "pha: got a read-only array, expected writable"),
    "output on a GPU": ({"pha": DlpackArray((97, 161))}, FrameError, "pha: got DlpackArray elsewhere"),
    "list as output": ({"pha": [[0]]}, FrameError, "pha: got list, expected writable"),
    "overlap": (overlapping(), FrameError, "composite: got memory that src uses too"),
    "unknown output": (
        {"fgr": room("composite")["composite"]},
        OptionError,
        "outputs: got pha, composite, fgr",
    ),
    "stream": ({"stream": 0}, OptionError, "stream: got an object of type int, expected None on the CPU"),
}


@pytest.mark.parametrize(("change", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_does_nothing(
    change: dict[str, Any],
    kind: type[Exception],
    words: str,
    session: MattingSession,
    frames: list[Image],
    expected: list[dict[str, Image]],
) -> None:
    arrays = {**room(), **change}
    src, stream = arrays.pop("src", frames[5]), arrays.pop("stream", None)
    untouched = [array.copy() for array in arrays.values() if isinstance(array, np.ndarray)]
    with pytest.raises(kind, match=words):
        session.enqueue(src, arrays, stream=stream)
    left = [array for array in arrays.values() if isinstance(array, np.ndarray)]
    for array, before in zip(left, untouched, strict=True):
        np.testing.assert_array_equal(array, before)
    outputs = room()
    session.enqueue(frames[0], outputs)  # the states are as they were
    assert_same(outputs, expected[0])


def test_an_output_that_is_not_given_is_refused(session: MattingSession, frames: list[Image]) -> None:
    with pytest.raises(OptionError, match="memory for each of pha, composite"):
        session.enqueue(frames[0], room("pha"))


def test_a_closed_session_refuses(engine: Engine, frames: list[Image]) -> None:
    with MattingSession(engine, outputs=("pha",), threads=1) as session:
        session.enqueue(frames[0], room("pha"))
    with pytest.raises(SessionError, match="closed"):
        session.enqueue(frames[0], room("pha"))


def test_mattes_are_handed_on_by_dlpack_without_a_copy(session: MattingSession, frames: list[Image]) -> None:
    matte = session.process(frames[0])
    tensor = torch.from_dlpack(matte.pha)
    assert tensor.data_ptr() == matte.pha.ctypes.data
    np.testing.assert_array_equal(tensor.numpy(), matte.pha)
