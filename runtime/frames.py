"""Frames at the door: what a session accepts as a frame, a background and a choice of outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import FrameError, OptionError
from rvm_trt.profile import Profile

Image = npt.NDArray[np.uint8]
OUTPUTS = ("pha", "fgr", "rgba", "composite")
_NAMED_SIZES = ("720p", "hd", "4k", "dci4k")


def check_frame(frame: object, profile: Profile, *, subject: str = "src") -> Image:
    """Returns a frame as an (H, W, 3) uint8 array without copying.

    Arrays of other libraries on the CPU are taken through DLPack or NumPy's array protocol.

    Raises:
        FrameError: it is no array, or its shape, dtype or memory layout is not the profile's.
    """
    array = _as_array(frame, subject)
    expected = (profile.height, profile.width, 3)
    if array.shape != expected or array.dtype != np.uint8:
        raise FrameError(
            subject,
            got=f"{array.shape} {array.dtype}",
            expected=f"{expected} uint8 for profile {profile.name!r}",
            todo=_advice(array, expected),
        )
    if not array.flags.c_contiguous:
        raise FrameError(
            subject,
            got=f"strides {array.strides}",
            expected=f"contiguous rows of pixels, strides {(3 * profile.width, 3, 1)}",
            todo="Pass numpy.ascontiguousarray(frame).",
        )
    return array


def check_background(background: object, profile: Profile) -> tuple[Image, npt.NDArray[np.float32]]:
    """Returns a background as an image of flat rows and a colour; one of them is in use.

    Args:
        background: (R, G, B) in 0..255, or an (H, W, 3) uint8 image of the frame's size.

    Returns:
        An (H, W·3) image, or one with no rows where the colour (3,) float32 is meant.

    Raises:
        FrameError: it is neither.
    """
    if isinstance(background, (tuple, list)):
        whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in background)
        if len(background) != 3 or not whole or not all(0 <= v <= 255 for v in background):
            raise FrameError(
                "background",
                got=repr(background),
                expected="three integers from 0 to 255, or an image",
                todo="Give the colour as (red, green, blue).",
            )
        return np.empty((0, 3 * profile.width), np.uint8), np.array(background, np.float32)
    # A copy: the session reads it for as long as it lives, whatever the caller does with the array.
    image = check_frame(background, profile, subject="background").copy()
    return image.reshape(profile.height, -1), np.zeros(3, np.float32)


def check_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    """Returns the requested outputs; raises `OptionError` where one has no such name, is named twice, or none is."""
    names = tuple(outputs) if not isinstance(outputs, str) else (outputs,)
    if not names or len(set(names)) < len(names) or not set(names) <= set(OUTPUTS):
        raise OptionError(
            "outputs",
            got=repr(outputs),
            expected=f"one or more of {', '.join(OUTPUTS)}, each once",
            todo="Name the outputs you need.",
        )
    return names


def _as_array(frame: object, subject: str) -> npt.NDArray[Any]:
    if isinstance(frame, np.ndarray):
        return frame
    try:
        if hasattr(frame, "__dlpack__"):
            return np.from_dlpack(frame)
        if hasattr(frame, "__array__") or hasattr(frame, "__array_interface__"):
            return np.asarray(frame)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        got = f"{type(frame).__name__} that NumPy cannot read ({error})"
    else:
        got = type(frame).__name__
    raise FrameError(
        subject,
        got=got,
        expected="an array on the CPU",
        todo="Pass a NumPy array, or one that offers DLPack on the CPU.",
    )


def _advice(array: npt.NDArray[Any], expected: tuple[int, int, int]) -> str:
    height, width, _ = expected
    if array.size == 0:
        return "The frame is empty: check where it comes from."
    if array.dtype != np.uint8 and array.shape == expected:
        return "Convert the frame to uint8 in 0..255."
    if array.ndim == 3 and array.shape[:2] == (height, width):
        return "Give three channels, red, green, blue."
    if array.shape == (3, height, width):
        return "Put the channels last: frame.transpose(1, 2, 0), then numpy.ascontiguousarray."
    if array.ndim == 3 and array.shape[2] == 3:
        for name in _NAMED_SIZES:
            named = Profile.named(name)
            for suffix, size in (
                ("", (named.height, named.width)),
                ("-portrait", (named.width, named.height)),
            ):
                if array.shape[:2] == size:
                    return f"Resize the frame or build {name + suffix!r}."
        return f"Resize the frame or build a profile of {array.shape[1]}x{array.shape[0]}."
    return "Give one frame of that shape."
