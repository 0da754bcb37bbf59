"""A quantisation recipe: which convolutions run in INT8, over which ranges, and the measurements behind the choice."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rvm_trt.engines.quantise import InputRange
from rvm_trt.errors import EngineError
from rvm_trt.files import atomic_file
from rvm_trt.untrusted import parse_json, read_bounded, shown

SCHEMA = 1
_MAX_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One convolution of the network.

    Attributes:
        name: its name in the graph.
        macs: multiply-accumulates for a frame.
        mad_alone: alpha's mean absolute difference with only this one in INT8; None where it is no candidate.
        dtssd_alone: the same for alpha's frame-to-frame changes (root mean square).
        int8: whether it runs in INT8.
        reason: why, in words.
    """

    name: str
    macs: int
    mad_alone: float | None
    dtssd_alone: float | None
    int8: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to quantise, and what it costs in accuracy.

    Attributes:
        ranges: the chosen convolutions and the ranges of their inputs.
        layers: every convolution of the network, in its order.
        held_out: difference of alpha from FP32 on the held-out footage, executed in INT8 on the CPU.
        mad_budget: what the search was asked to stay within.
        footage: clips, by name and hash.
        key: what the recipe depends on; another key means another recipe.
    """

    ranges: Mapping[str, InputRange]
    layers: tuple[Layer, ...]
    held_out: Mapping[str, Any]
    mad_budget: float
    footage: Mapping[str, Any]
    key: Mapping[str, Any]

    @property
    def share(self) -> float:
        """Part of the network's multiply-accumulates that run in INT8, 0..1."""
        total = sum(layer.macs for layer in self.layers)
        return sum(layer.macs for layer in self.layers if layer.int8) / total

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return {
            "schema": SCHEMA,
            "key": dict(self.key),
            "mad_budget": self.mad_budget,
            "int8_share_of_macs": round(self.share, 4),
            "held_out": dict(self.held_out),
            "footage": dict(self.footage),
            "layers": [asdict(layer) for layer in self.layers],
            "ranges": {name: asdict(given) for name, given in self.ranges.items()},
        }

    def write(self, path: Path) -> None:
        """Writes the recipe as JSON, whole or not at all."""
        data = self.to_json()
        try:
            with atomic_file(path) as temporary:
                temporary.write_text(
                    json.dumps({**data, "seal": _seal(data)}, indent=1) + "\n", encoding="utf-8"
                )
        except OSError as error:
            raise EngineError(
                str(path),
                got=error.strerror or str(error),
                expected="a folder with room to write the recipe",
                todo="Make room, or choose another folder.",
            ) from None


def read_recipe(path: Path) -> Recipe:
    """Returns the recipe in a file.

    Raises:
        EngineError: it is unreadable, damaged, or of another version.
    """
    try:
        data = parse_json(read_bounded(path, max_bytes=_MAX_BYTES))
        seal = data.pop("seal")
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}")
        if seal != _seal(data):
            raise ValueError("its content is not what its seal names")
        return _checked(
            Recipe(
                ranges={name: _input_range(entry) for name, entry in data["ranges"].items()},
                layers=tuple(_layer(entry) for entry in data["layers"]),
                held_out=_mapping(data["held_out"]),
                mad_budget=_number(data["mad_budget"]),
                footage=_mapping(data["footage"]),
                key=_mapping(data["key"]),
            )
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            str(path),
            got=f"no readable recipe ({shown(str(error), limit=500)})",
            expected="a recipe written by rvm-trt",
            todo="Delete the file and build again.",
        ) from None


def _seal(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _checked(recipe: Recipe) -> Recipe:
    if sum(layer.macs for layer in recipe.layers) <= 0:
        raise ValueError("layers without any work")
    return recipe


def _input_range(entry: Mapping[str, Any]) -> InputRange:
    scales, means = _numbers(entry["scales"]), _numbers(entry["means"])
    largest = _number(entry["largest"])
    # They are divided by.
    if largest <= 0 or min(scales or (1.0,)) <= 0:
        raise ValueError("a range that is not above 0")
    return InputRange(largest=largest, scales=scales, means=means)


def _layer(entry: Mapping[str, Any]) -> Layer:
    layer = Layer(**entry)
    figures = [value for value in (layer.mad_alone, layer.dtssd_alone) if value is not None]
    texts = isinstance(layer.name, str) and isinstance(layer.reason, str)
    if not texts or type(layer.macs) is not int or layer.macs < 0 or type(layer.int8) is not bool:
        raise ValueError(f"the layer {layer.name!r}")
    for figure in figures:
        _number(figure)
    return layer


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} in place of an object")
    return value


def _numbers(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(map(_number, values))


def _number(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"{value!r} is no finite number")
    return float(value)  # type: ignore[arg-type]
