"""What is accepted at the door, and how everything else is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image as Pillow

from rvm_trt import Profile
from rvm_trt.errors import FrameError, OptionError
from rvm_trt.runtime.frames import check_background, check_frame, check_outputs

HD = Profile.named("hd")
SMALL = Profile(width=160, height=96, ratio=0.5)


def image(*shape: int, dtype: Any = np.uint8) -> npt.NDArray[Any]:
    return np.zeros(shape or (96, 160, 3), dtype)


def refused(frame: object, profile: Profile = SMALL) -> FrameError:
    with pytest.raises(FrameError) as caught:
        check_frame(frame, profile)
    message = str(caught.value)
    assert message.startswith("src: got ")
    assert ", expected " in message
    assert caught.value.todo.endswith(".")
    assert "\n" not in message
    return caught.value


def test_a_good_frame_is_taken_as_it_is() -> None:
    frame = image()
    assert check_frame(frame, SMALL) is frame
    frame.flags.writeable = False
    assert check_frame(frame, SMALL) is frame


def test_the_message_is_the_one_of_the_design() -> None:
    assert str(refused(image(720, 1280, 3), HD)) == (
        "src: got (720, 1280, 3) uint8, expected (1080, 1920, 3) uint8 for profile 'hd'. "
        "Resize the frame or build '720p'."
    )


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((2160, 3840, 3), "build '4k'"),
        ((2160, 4096, 3), "build 'dci4k'"),
        ((1920, 1080, 3), "build 'hd-portrait'"),
        ((1280, 720, 3), "build '720p-portrait'"),
        ((480, 640, 3), "build a profile of 640x480"),
    ],
)
def test_another_size_is_told_which_profile_fits(shape: tuple[int, ...], advice: str) -> None:
    assert advice in refused(image(*shape), HD).todo


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((96, 160, 4), "three channels"),
        ((96, 160, 1), "three channels"),
        ((3, 96, 160), "transpose(1, 2, 0)"),
        ((96, 160), "one frame of that shape"),
        ((1, 96, 160, 3), "one frame of that shape"),
        ((), "one frame of that shape"),
    ],
)
def test_another_layout_is_told_what_to_change(shape: tuple[int, ...], advice: str) -> None:
    error = refused(np.zeros(shape, np.uint8))
    assert advice in error.todo
    assert error.got == f"{shape} uint8"


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "int8", "uint16", ">u2", "bool", "int64", "object"]
)
def test_another_type_is_told_to_convert(dtype: str) -> None:
    error = refused(image(dtype=dtype))
    assert "uint8 in 0..255" in error.todo
    assert str(np.dtype(dtype)) in error.got


@pytest.mark.parametrize("shape", [(0, 160, 3), (96, 0, 3), (96, 160, 0), (0, 0, 3), (0,)])
def test_empty_arrays_are_refused_with_advice_that_can_be_followed(shape: tuple[int, ...]) -> None:
    error = refused(np.zeros(shape, np.uint8))
    assert error.got == f"{shape} uint8"
    assert "x0" not in error.todo
    assert "0x" not in error.todo


@pytest.mark.parametrize(
    "frame",
    [
        image(96, 320, 3)[:, ::2],
        image(96, 160, 3)[:, ::-1],
        image(192, 160, 3)[::2],
        image(96, 160, 4)[..., :3],
        image(3, 96, 160).transpose(1, 2, 0),
        np.asfortranarray(image()),
        np.broadcast_to(image(1, 160, 3), (96, 160, 3)),
    ],
    ids=["columns", "flipped", "rows", "rgba", "planar", "fortran", "broadcast"],
)
def test_scattered_memory_is_told_to_be_gathered(frame: npt.NDArray[np.uint8]) -> None:
    error = refused(frame)
    assert error.todo == "Pass numpy.ascontiguousarray(frame)."
    assert str(frame.strides) in error.got
    assert check_frame(np.ascontiguousarray(frame), SMALL).shape == (96, 160, 3)


@pytest.mark.parametrize("frame", [None, [], [[[0, 0, 0]]], "frame.png", b"\0" * 46080, 3, {}, object()])
def test_what_is_no_array_is_refused_by_its_type(frame: object) -> None:
    error = refused(frame)
    assert error.got == type(frame).__name__
    assert "NumPy array" in error.todo


@pytest.mark.parametrize(
    "frame",
    [
        torch.zeros(96, 160, 3, dtype=torch.bfloat16),
        torch.zeros(96, 160, 3, requires_grad=True),
        torch.zeros(96, 160, 3, dtype=torch.uint8, device="meta"),
        torch.zeros(96, 160, 3, dtype=torch.uint8).to_sparse(),
        torch.zeros(3, 96, 160, dtype=torch.uint8),
        torch.zeros(3, 96, 160, dtype=torch.uint8).permute(1, 2, 0),
        np.uint8(7),
    ],
    ids=["bfloat16", "requires_grad", "meta", "sparse", "planar", "permuted", "scalar"],
)
def test_unfit_arrays_of_other_libraries_are_refused_in_the_same_form(frame: object) -> None:
    refused(frame)


def test_arrays_of_other_libraries_are_taken_without_a_copy() -> None:
    tensor = torch.zeros(96, 160, 3, dtype=torch.uint8)
    array = check_frame(tensor, SMALL)
    tensor[5, 6, 1] = 77
    assert array[5, 6, 1] == 77


def test_a_pillow_image_is_taken_by_its_array() -> None:
    array = check_frame(Pillow.new("RGB", (160, 96), (1, 2, 3)), SMALL)
    assert array[0, 0].tolist() == [1, 2, 3]
    refused(Pillow.new("RGBA", (160, 96)))


def test_a_failing_array_protocol_is_an_error_of_the_frame() -> None:
    class Broken:
        def __array__(self, *_: object, **__: object) -> npt.NDArray[np.uint8]:
            raise TypeError("not today")

    assert "not today" in refused(Broken()).got


def test_a_colour_background() -> None:
    for colour in ((1, 2, 255), [1, 2, 255], (np.uint8(1), np.int64(2), 255)):
        rows, values = check_background(colour, SMALL)
        assert rows.shape == (0, 480)
        assert values.tolist() == [1, 2, 255]
        assert values.dtype == np.float32


def test_an_image_background_is_copied_into_flat_rows() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (96, 160, 3), np.uint8)
    rows, _ = check_background(picture, SMALL)
    np.testing.assert_array_equal(rows.reshape(96, 160, 3), picture)
    before = rows.copy()
    picture[:] = 0
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize(
    "background",
    [
        (),
        (1, 2),
        (1, 2, 3, 4),
        (0, 0, 256),
        (-1, 0, 0),
        (0.5, 0, 0),
        (True, 0, 0),
        ("1", "2", "3"),
        (None, 0, 0),
        None,
        "green",
        120,
        image(95, 160, 3),
        image(96, 160, 4),
        image(96, 160, 3, dtype=np.float32),
        image(96, 320, 3)[:, ::2],
        np.array([120, 255, 155], np.uint8),
    ],
)
def test_other_backgrounds_are_refused(background: Any) -> None:
    with pytest.raises(FrameError) as caught:
        check_background(background, SMALL)
    assert caught.value.subject == "background"


@pytest.mark.parametrize("outputs", [("pha",), ["composite", "pha"], ("pha", "fgr", "rgba", "composite")])
def test_outputs_keep_their_order(outputs: Any) -> None:
    assert check_outputs(outputs) == tuple(outputs)


def test_one_output_may_be_named_alone() -> None:
    assert check_outputs("pha") == ("pha",)


@pytest.mark.parametrize("outputs", [(), "", ("alpha",), ("pha", "pha"), ("pha", None), ("pha", "Composite")])
def test_other_outputs_are_refused_with_the_names(outputs: Any) -> None:
    with pytest.raises(OptionError, match="pha, fgr, rgba, composite"):
        check_outputs(outputs)
