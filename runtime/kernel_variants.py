"""The variants of the CUDA kernels: which source, compiled with which definitions.

Pixel formats, the element type and the refiner are fixed when a kernel is compiled. Everything else is in its
parameters, at no cost that shows: colour matrices and ranges are factors in the constant bank either way, and a branch
on an output's pointer goes one way for a whole grid. So a session compiles three kernels, 36 exist, and changing a
background, an output or a matrix compiles nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from rvm_trt.errors import OptionError
from rvm_trt.options import Refiner
from rvm_trt.runtime.pixels import PixelFormat

COMPOSITE_FORMATS = (PixelFormat.RGB8, PixelFormat.BGR8, PixelFormat.NV12, PixelFormat.P010)
_REFINERS = {Refiner.DEEP: "DEEP", Refiner.FAST: "FAST", None: "NONE"}


@dataclass(frozen=True, kw_only=True)
class KernelVariant:
    """One way to compile a kernel.

    Attributes:
        entry: the kernel's name, ``sample``, ``head`` or ``compose``.
        defines: names and values of preprocessor definitions, in a fixed order.
    """

    entry: str
    defines: tuple[tuple[str, str], ...]

    @property
    def source(self) -> str:
        """The file in runtime/kernels."""
        return f"{self.entry}.cu"

    @property
    def name(self) -> str:
        """A short name, unique to the variant and safe in a path, such as ``sample-nv12-half``."""
        return "-".join((self.entry, *(value.lower() for _, value in self.defines)))

    @property
    def options(self) -> tuple[str, ...]:
        """The definitions as compiler options."""
        return tuple(f"-D{name}={value}" for name, value in self.defines)


def sample_variant(frame: PixelFormat, *, half: bool) -> KernelVariant:
    """Returns the kernel from frames of a format to the network's input, in half or single precision."""
    return KernelVariant(entry="sample", defines=(("FRAME_FORMAT", frame.name), _element(half)))


def head_variant(refiner: Refiner | None, *, half: bool) -> KernelVariant:
    """Returns the kernel from hidden channels to A and b; None means no refiner (ratio 1)."""
    return KernelVariant(entry="head", defines=(("REFINER", _REFINERS[refiner]), _element(half)))


def compose_variant(frame: PixelFormat, composite: PixelFormat = PixelFormat.RGB8) -> KernelVariant:
    """Returns the kernel from frames of a format to outputs; without a composite its format does not matter.

    Raises:
        OptionError: ``composite`` is none of `COMPOSITE_FORMATS`.
    """
    if composite not in COMPOSITE_FORMATS:
        raise OptionError(
            "composite format",
            got=repr(composite.value),
            expected=f"one of {', '.join(repr(known.value) for known in COMPOSITE_FORMATS)}",
            todo="For alpha, ask for the output 'rgba'.",
        )
    defines = (("FRAME_FORMAT", frame.name), ("COMPOSITE_FORMAT", composite.name))
    return KernelVariant(entry="compose", defines=defines)


def all_variants() -> tuple[KernelVariant, ...]:
    """Returns every variant there is."""
    return (
        *(sample_variant(frame, half=half) for frame in PixelFormat for half in (True, False)),
        *(head_variant(refiner, half=half) for refiner in _REFINERS for half in (True, False)),
        *(compose_variant(frame, composite) for frame in PixelFormat for composite in COMPOSITE_FORMATS),
    )


def _element(half: bool) -> tuple[str, str]:
    return ("ELEMENT", "Half" if half else "float")
