"""Frames in the caller's own memory: what `MattingSession.enqueue` is given is checked, ordered, and held in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Protocol, cast

import numpy as np

from rvm_trt.errors import FrameError, OptionError
from rvm_trt.profile import Profile
from rvm_trt.runtime.device import Stream
from rvm_trt.runtime.device_arrays import Shape, Wanted
from rvm_trt.runtime.frames import Image, check_frame
from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.stages import OUTPUT_CHANNELS


class Lending(Protocol):
    """Takes frames in the caller's memory to a schedule of its device."""

    def enqueue(self, schedule: Schedule, src: object, outputs: Mapping[str, object], stream: object) -> None:
        """See `MattingSession.enqueue`."""

    def close(self) -> None:
        """Forgets what was lent. The schedule's streams are finished. May be called twice."""


class CpuLending:
    """Frames in arrays on the CPU. All is done when `enqueue` returns.

    Args:
        profile: what the engine was built for.
        outputs: names, in the schedule's order.
    """

    def __init__(self, profile: Profile, outputs: Sequence[str]) -> None:
        self._profile = profile
        self._wanted = wanted_outputs(profile, outputs)
        self._stream = Stream("caller")

    def enqueue(self, schedule: Schedule, src: object, outputs: Mapping[str, object], stream: object) -> None:
        """See `MattingSession.enqueue`."""
        if stream is not None:
            raise OptionError(
                "stream",
                got=f"an object of type {type(stream).__name__}",
                expected="None on the CPU",
                todo="Leave it out: the outputs are written when the call returns.",
            )
        # Read-only as `submit` gives it: to the compiler of the kernels, writable memory is another type.
        source = check_frame(_on_the_cpu("src", src), self._profile).view()
        source.flags.writeable = False
        arrays = [_writable(thing, wanted) for thing, wanted in paired(outputs, self._wanted)]
        check_apart(
            {"src": _extent(source)} | {w.name: _extent(a) for w, a in zip(self._wanted, arrays, strict=True)}
        )
        schedule.enqueue((source,), (arrays,), self._stream)

    def close(self) -> None:
        """Nothing is held."""


def wanted_source(profile: Profile) -> Wanted:
    """Returns what a frame must be."""
    return Wanted(name="src", shape=(profile.height, profile.width, 3), written=False, whose=_whose(profile))


def wanted_outputs(profile: Profile, outputs: Sequence[str]) -> tuple[Wanted, ...]:
    """Returns what the memory for each output must be."""
    size, whose = (profile.height, profile.width), _whose(profile)
    shapes: dict[str, Shape] = {
        name: size if channels == 1 else (*size, channels) for name, channels in OUTPUT_CHANNELS.items()
    }
    return tuple(Wanted(name=name, shape=shapes[name], written=True, whose=whose) for name in outputs)


def _whose(profile: Profile) -> str:
    return f"for profile {profile.name!r}"


def paired(outputs: Mapping[str, object], wanted: Sequence[Wanted]) -> list[tuple[object, Wanted]]:
    """Returns what was given for each output, in the schedule's order."""
    names = [each.name for each in wanted]
    if not isinstance(outputs, Mapping) or set(outputs) != set(names):
        given = ", ".join(map(str, outputs)) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise OptionError(
            "outputs",
            got=given or "none",
            expected=f"memory for each of {', '.join(names)}",
            todo="Pass a mapping from every output of the session to where it shall be written.",
        )
    return [(outputs[each.name], each) for each in wanted]


def _on_the_cpu(name: str, thing: object) -> object:
    """Returns an array as it is, where it does not say that it lies on another device: NumPy would not ask."""
    device = getattr(thing, "__dlpack_device__", None)
    kind = 1 if device is None or isinstance(thing, np.ndarray) else int(device()[0])
    if kind != 1 or (device is None and hasattr(thing, "__cuda_array_interface__")):
        raise FrameError(
            name,
            got=f"{type(thing).__name__} elsewhere",
            expected="an array on the CPU, where this session's engine runs",
            todo="Copy it to the CPU, or build an engine with backend 'tensorrt'.",
        )
    return thing


def _writable(thing: object, wanted: Wanted) -> Image:
    """Returns an output as an array that writes to the caller's own memory."""
    _on_the_cpu(wanted.name, thing)
    array = thing if isinstance(thing, np.ndarray) else _viewed(thing, wanted)
    wanted.check(
        shape=array.shape, dtype=array.dtype, strides=array.strides, read_only=not array.flags.writeable
    )
    return array


def _viewed(thing: object, wanted: Wanted) -> Image:
    """Returns what another library holds as a NumPy array on the same memory."""
    if not hasattr(thing, "__dlpack__"):
        raise wanted.error(type(thing).__name__, "Pass a NumPy array, or one that offers DLPack on the CPU.")
    try:
        return cast(Image, np.from_dlpack(thing))
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise wanted.error(
            f"{type(thing).__name__} that NumPy cannot read ({error})", "Pass a NumPy array."
        ) from error


def _extent(array: Image) -> tuple[int, int]:
    return array.ctypes.data, array.ctypes.data + array.nbytes


def check_apart(places: Mapping[str, tuple[int, int]]) -> None:
    """Raises `FrameError` where two of the arrays share memory."""
    ordered = sorted(places.items(), key=lambda item: item[1])
    for (first, (_, stop)), (second, (start, _)) in pairwise(ordered):
        if start < stop:
            raise FrameError(
                second,
                got=f"memory that {first} uses too",
                expected="memory of its own for every array",
                todo="Give the frame and each output memory that does not overlap.",
            )
