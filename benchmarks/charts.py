"""Charts as rows of plain shapes, which the report's page draws in its own colours.

Every chart is a list of rows with a track each. Positions along a track are in per cent of its width, so that a page
can stretch it, and all words stay outside the drawing, so that they keep their size on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TRACK = 32.0  # height of a track, in pixels
_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Rect:
    """A rectangle in a track, in per cent across and pixels down; ``kind`` colours it."""

    kind: str
    left: float
    width: float
    top: float = 8.0
    height: float = TRACK - 16.0


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """A thin line in a track, as an SVG path in per cent across and pixels down."""

    kind: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word over a rectangle, in per cent; ``short`` stands in for it where there is little room."""

    left: float
    width: float
    text: str
    short: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a chart.

    Attributes:
        label: who or what.
        group: colours it.
        value: its number, beside the track.
        detail: what else is to say, below the track.
        rects, strokes, words: the drawing, in this order.
    """

    label: str
    group: str
    value: str = ""
    detail: str = ""
    rects: tuple[Rect, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A labelled place on an axis, in per cent."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart.

    Attributes:
        caption: what it shows.
        rows: in order.
        ticks: of the axis below the rows.
        unit: of the axis.
        note: how to read it.
        mark: a place that all rows share, with its label.
        legend: colours and what they mean.
        modelled: whether it shows a model; a chart never shows both.
        heading: above the rows' numbers.
        track: height of its tracks, in pixels.
    """

    caption: str
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    unit: str
    note: str = ""
    mark: Tick | None = None
    legend: tuple[tuple[str, str], ...] = ()
    modelled: bool = False
    heading: str = ""
    track: float = TRACK


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis from ``low`` to ``high``, even or logarithmic."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def from_zero(cls, values: Iterable[float]) -> Scale:
        """Returns an even axis that holds all values, with a little room."""
        return cls(low=0.0, high=max(values) * 1.04)

    @classmethod
    def of_magnitudes(cls, values: Iterable[float]) -> Scale:
        """Returns a logarithmic axis between round numbers that holds all values, which are above 0."""
        known = sorted(values)
        low = _round_step(known[0], up=False)
        return cls(low=low, high=_round_step(max(known[-1], 1.01 * low), up=True), logarithmic=True)

    def at(self, value: float) -> float:
        """Returns a value's place in per cent."""
        if self.logarithmic:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(100.0 * part, 3)

    def ticks(self, count: int = 6) -> tuple[Tick, ...]:
        """Returns about ``count`` round places."""
        values = self._steps() if self.logarithmic else self._even(count)
        return tuple(Tick(at=self.at(value), label=f"{value:g}") for value in values)

    def _even(self, count: int) -> list[float]:
        step = _round_step((self.high - self.low) / count, up=True)
        return [round(index * step, 10) for index in range(math.floor(self.high / step) + 1)]

    def _steps(self) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = _STEPS if len(decades) <= 4 else _STEPS[:1]
        every = [step * 10.0**decade for decade in decades for step in steps]
        return [value for value in every if self.low * 0.999 <= value <= self.high * 1.001]


def bar(scale: Scale, value: float, kind: str = "bar") -> Rect:
    """Returns a bar from the axis's start to a value."""
    return Rect(kind=kind, left=0.0, width=scale.at(value))


def stack(scale: Scale, parts: Sequence[tuple[str, float]]) -> tuple[Rect, ...]:
    """Returns parts one after the other, each with its kind and length."""
    rects, reached = [], scale.low
    for kind, length in parts:
        left = scale.at(reached)
        reached += length
        rects.append(Rect(kind=kind, left=left, width=round(scale.at(reached) - left, 3)))
    return tuple(rects)


def upright(kind: str, places: Iterable[float], *, top: float, height: float) -> Stroke:
    """Returns upright lines at some places, in per cent."""
    once = dict.fromkeys(round(place, 1) for place in places)
    return Stroke(kind=kind, path="".join(f"M{place:g} {top:g}v{height:g}" for place in once))


def whisker(scale: Scale, low: float, high: float) -> Stroke:
    """Returns a line between two values, with its ends."""
    left, right, middle = scale.at(low), scale.at(high), TRACK / 2
    ends = "".join(f"M{place:g} {middle - 4:g}v8" for place in (left, right))
    return Stroke(kind="whisker", path=f"M{left:g} {middle:g}H{right:g}{ends}")


def curve(values: Sequence[float], *, high: float, height: float) -> Stroke:
    """Returns values over their index, from 0 at the bottom of a track to ``high`` at its top."""
    room = height - 6.0
    points = (
        f"{100.0 * index / max(1, len(values) - 1):.4g} {3.0 + room * (1.0 - value / high):.4g}"
        for index, value in enumerate(values)
    )
    return Stroke(kind="curve", path="M" + "L".join(points))


def _round_step(value: float, *, up: bool) -> float:
    """Returns the next of 1, 2, 5, 10, 20, … at or beyond a value above 0."""
    decade = 10.0 ** math.floor(math.log10(value) + 1e-9)
    steps = [decade * step for step in (*_STEPS, 10.0)]
    if up:
        return next(step for step in steps if step >= value * (1 - 1e-9))
    return next(step for step in reversed(steps) if step <= value * (1 + 1e-9))
