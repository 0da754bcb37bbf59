"""A resolution profile: frame size, downsample ratio, refiner, variant, batch; and the sizes that follow from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rvm_trt.errors import OptionError
from rvm_trt.options import Refiner, Variant, choice
from rvm_trt.untrusted import quoted

STATE_CHANNELS: Mapping[Variant, tuple[int, int, int, int]] = {
    Variant.MOBILENETV3: (16, 20, 40, 64),
    Variant.RESNET50: (16, 32, 64, 128),
}

# name: width, height, ratio for portrait framing, ratio for full bodies (rvm.md, recommended ratios).
_NAMED: Mapping[str, tuple[int, int, float, float]] = {
    "720p": (1280, 720, 0.375, 0.6),
    "hd": (1920, 1080, 0.25, 0.4),
    "4k": (3840, 2160, 0.125, 0.2),
    "dci4k": (4096, 2160, 0.125, 0.2),
}
_SUFFIXES = ("", "-portrait", "-fullbody", "-portrait-fullbody")
_MAX_SIDE = 16384
_MIN_LOW_RES = 16


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One resolution profile. Engines are built for exactly one.

    Attributes:
        width, height: frame size in pixels.
        ratio: downsample ratio of the network, 0 < ratio ≤ 1. At 1 there is no refiner.
        refiner: guided filter used where the ratio is not 1.
        variant: encoder.
        batch: frames (of independent videos) per run, 1..16.

    Raises:
        OptionError: a value is out of range; the message says which.
    """

    width: int
    height: int
    ratio: float
    refiner: Refiner = Refiner.DEEP
    variant: Variant = Variant.MOBILENETV3
    batch: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "refiner", choice(Refiner, self.refiner, subject="refiner"))
        object.__setattr__(self, "variant", choice(Variant, self.variant, subject="variant"))
        for subject, side in (("width", self.width), ("height", self.height)):
            _check_side(subject, side)
        _check_integer("batch", self.batch, low=1, high=16)
        if isinstance(self.ratio, bool) or not isinstance(self.ratio, (int, float)):
            raise _ratio_error(self.ratio)
        if not 0.0 < self.ratio <= 1.0:
            raise _ratio_error(self.ratio)
        object.__setattr__(self, "ratio", float(self.ratio))
        if min(self.low_width, self.low_height) < _MIN_LOW_RES:
            raise OptionError(
                "ratio",
                got=f"{self.ratio:g} at {self.width}x{self.height}, a network input of "
                f"{self.low_width}x{self.low_height}",
                expected=f"at least {_MIN_LOW_RES} pixels on each side",
                todo="Use a larger ratio or a larger frame.",
            )

    @staticmethod
    def names() -> tuple[str, ...]:
        """Returns the name of every named profile, one per size and recommended ratio: what `named` takes."""
        return tuple(base + suffix for base in _NAMED for suffix in _SUFFIXES)

    @classmethod
    def named(
        cls,
        name: str,
        *,
        refiner: str | Refiner = Refiner.DEEP,
        variant: str | Variant = Variant.MOBILENETV3,
        batch: int = 1,
    ) -> Profile:
        """Returns a named profile: ``720p``, ``hd``, ``4k`` or ``dci4k``, with ``-portrait`` (sides exchanged)
        and ``-fullbody`` (the larger ratio for small people in the frame) as suffixes."""
        base, *suffixes = name.split("-")
        if (
            base not in _NAMED
            or not set(suffixes) <= {"portrait", "fullbody"}
            or len(set(suffixes)) < len(suffixes)
        ):
            raise OptionError(
                "profile",
                got=repr(name),
                expected=f"one of {', '.join(_NAMED)}, with '-portrait' and '-fullbody' as suffixes",
                todo="Name one of these, or give a size and a ratio.",
            )
        width, height, ratio, fullbody_ratio = _NAMED[base]
        if "portrait" in suffixes:
            width, height = height, width
        if "fullbody" in suffixes:
            ratio = fullbody_ratio
        return cls(
            width=width,
            height=height,
            ratio=ratio,
            refiner=choice(Refiner, refiner, subject="refiner"),
            variant=choice(Variant, variant, subject="variant"),
            batch=batch,
        )

    @classmethod
    def for_size(
        cls,
        *,
        width: int,
        height: int,
        ratio: float | None = None,
        refiner: str | Refiner = Refiner.DEEP,
        variant: str | Variant = Variant.MOBILENETV3,
        batch: int = 1,
    ) -> Profile:
        """Returns the profile of a frame size; without ``ratio``, with `automatic_ratio`."""
        _check_side("width", width)
        _check_side("height", height)
        return cls(
            width=width,
            height=height,
            ratio=automatic_ratio(width=width, height=height) if ratio is None else ratio,
            refiner=choice(Refiner, refiner, subject="refiner"),
            variant=choice(Variant, variant, subject="variant"),
            batch=batch,
        )

    @property
    def uses_refiner(self) -> bool:
        """Whether the guided filter runs: it does unless the ratio is 1."""
        return self.ratio != 1.0

    @property
    def low_width(self) -> int:
        """Width of the network's input: ``floor(width · ratio)``."""
        return _scaled(self.width, self.ratio)

    @property
    def low_height(self) -> int:
        """Height of the network's input: ``floor(height · ratio)``."""
        return _scaled(self.height, self.ratio)

    @property
    def state_shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Shapes ``(batch, channels, height, width)`` of r1..r4."""
        shapes = []
        height, width = self.low_height, self.low_width
        for channels in STATE_CHANNELS[self.variant]:
            height, width = math.ceil(height / 2), math.ceil(width / 2)
            shapes.append((self.batch, channels, height, width))
        return tuple(shapes)

    @property
    def name(self) -> str:
        """A short name, unique to the profile and safe in a path: ``hd``, ``4k-fullbody``, ``417x235-r0.6-fgf``."""
        parts = [self._size_name()]
        if self.variant is not Variant.MOBILENETV3:
            parts.append(self.variant.value)
        if self.refiner is Refiner.FAST:
            parts.append("fgf")
        if self.batch != 1:
            parts.append(f"b{self.batch}")
        return "-".join(parts)

    def _size_name(self) -> str:
        for base, (width, height, ratio, fullbody_ratio) in _NAMED.items():
            for orientation, size in (("", (width, height)), ("-portrait", (height, width))):
                if (self.width, self.height) == size and self.ratio == ratio:
                    return base + orientation
                if (self.width, self.height) == size and self.ratio == fullbody_ratio:
                    return f"{base}{orientation}-fullbody"
        return f"{self.width}x{self.height}-r{self.ratio!r}"

    def to_json(self) -> dict[str, Any]:
        """The profile as plain JSON values; `from_json` is its inverse."""
        return {key: getattr(value, "value", value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        """Returns the profile that `to_json` wrote; raises `OptionError` where the fields differ."""
        expected = set(cls.__dataclass_fields__)
        if not isinstance(data, Mapping) or set(data) != expected:
            got = sorted(data) if isinstance(data, Mapping) else type(data).__name__
            raise OptionError(
                "profile",
                got=f"{got}",
                expected=f"the fields {sorted(expected)}",
                todo="Build the engine again.",
            )
        return cls(**data)


def automatic_ratio(*, width: int, height: int) -> float:
    """Returns ``min(512 / max(height, width), 1)``: the network then sees about 512 pixels on the long side."""
    return min(512 / max(height, width), 1.0)


def _scaled(side: int, ratio: float) -> int:
    # Double precision, as the original: 561 · (512 / 561) is just below 512 and becomes 511.
    return math.floor(float(side) * ratio)


def _check_side(subject: str, value: object) -> None:
    _check_integer(subject, value, low=_MIN_LOW_RES, high=_MAX_SIDE)


def _check_integer(subject: str, value: object, *, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise OptionError(
            subject,
            got=quoted(value),
            expected=f"an integer from {low} to {high}",
            todo=f"Give another {subject}.",
        )


def _ratio_error(value: object) -> OptionError:
    return OptionError(
        "ratio",
        got=quoted(value),
        expected="a number above 0 and at most 1",
        todo="Give another downsample ratio.",
    )
