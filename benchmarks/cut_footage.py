"""Real footage altered in the ways that may be taken for a cut, and joined so that there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Shot = Sequence[Image]
Generator = np.random.Generator

_PART = 12  # frames on each side of a join
_PAN_FRAMES = 12
_NOISE = 20.0
_DARK = 0.15
_SHAKE = 0.02  # of the frame's side, from one frame to the next


class Kind(Enum):
    """What a join puts together."""

    OTHER_CLIP = "another clip"
    OTHER_CROP = "the same clip, another crop"
    OTHER_PART = "the same clip and framing, another moment"


@dataclass(frozen=True, kw_only=True)
class Join:
    """Two parts of footage, one behind the other; the cut is at the second one's first frame."""

    kind: Kind
    frames: Shot
    cut: int
    words: str


def alterations() -> Mapping[str, Callable[[Shot, Generator], Shot]]:
    """Returns name → what alters a shot without cutting it."""
    return {
        "as it is": lambda shot, _: shot,
        "half rate": lambda shot, _: shot[::2],
        "quarter rate": lambda shot, _: shot[::4],
        "mirrored": lambda shot, _: [frame[:, ::-1] for frame in shot],
        "noise": noisy,
        "dark": lambda shot, _: [(frame * _DARK).astype(np.uint8) for frame in shot],
        "dark, noise": lambda shot, generator: noisy(
            [(frame * _DARK).astype(np.uint8) for frame in shot], generator, sigma=_NOISE / 4
        ),
        "hand shake": shaken,
        "fast pan": lambda shot, _: panned(shot),
        "fast pan, half rate": lambda shot, _: panned(shot)[::2],
        "zoom": lambda shot, _: zoomed(shot),
        "flash": flashed,
        "fade to black and back": lambda shot, _: faded(shot),
        "light that flickers": flickering,
    }


def noisy(shot: Shot, generator: Generator, *, sigma: float = _NOISE) -> Shot:
    """Gaussian noise, another one in each frame; ``sigma`` in levels of 255."""
    return [
        (frame + sigma * generator.standard_normal(frame.shape, np.float32)).clip(0, 255).astype(np.uint8)
        for frame in shot
    ]


def shaken(shot: Shot, generator: Generator) -> Shot:
    """A crop of 80 % that jumps by some percent of the side from frame to frame."""
    place = np.full(2, 0.5)
    frames = []
    for frame in shot:
        place = (place + generator.normal(0, _SHAKE / 0.2, 2)).clip(0, 1)
        frames.append(crop(frame, top=place[0], left=place[1], share=0.8))
    return frames


def panned(shot: Shot) -> Shot:
    """A crop of half the width that sweeps from side to side: each frame moves by 8 % of its width."""
    places = np.abs(np.linspace(0, 2 * len(shot) / _PAN_FRAMES, len(shot)) / 2 % 2 - 1)
    return [
        crop(frame, top=0.5, left=float(place), share=0.5) for frame, place in zip(shot, places, strict=True)
    ]


def zoomed(shot: Shot) -> Shot:
    """A crop that shrinks from the whole frame to 40 % in half a second, and grows again."""
    shares = 0.4 + 0.6 * np.abs(np.linspace(0, 2 * len(shot) / 15, len(shot)) % 2 - 1)
    return [
        crop(frame, top=0.4, left=0.5, share=float(share)) for frame, share in zip(shot, shares, strict=True)
    ]


def flashed(shot: Shot, generator: Generator) -> Shot:
    """A photographer's flash in single frames."""
    lit = generator.random(len(shot)) < 0.1
    return [
        (frame * 0.4 + 153).astype(np.uint8) if now else frame for frame, now in zip(shot, lit, strict=True)
    ]


def flickering(shot: Shot, generator: Generator) -> Shot:
    """A brightness that jumps by up to a quarter from frame to frame."""
    return [(frame * generator.uniform(0.75, 1)).astype(np.uint8) for frame in shot]


def faded(shot: Shot) -> Shot:
    """To black within a second, and back."""
    levels = np.abs(np.linspace(-1, 1, len(shot)))
    return [(frame * level).astype(np.uint8) for frame, level in zip(shot, levels, strict=True)]


def crop(frame: Image, *, top: float, left: float, share: float) -> Image:
    """Returns a view of a part: ``share`` of each side, ``top`` and ``left`` in 0..1 of where it may be."""
    height, width = (round(side * share) for side in frame.shape[:2])
    first_row, first_column = (
        round(place * (whole - part))
        for place, whole, part in ((top, frame.shape[0], height), (left, frame.shape[1], width))
    )
    return frame[first_row : first_row + height, first_column : first_column + width]


def joins(clips: Mapping[str, Shot], count: int) -> Iterator[Join]:
    """Yields joins of every kind by turns at random places, altered at random; always the same ones.

    Args:
        clips: name → frames of one size, without a cut, at least 48 of each.
        count: how many.
    """
    names = list(clips)
    looks = {
        name: change
        for name, change in alterations().items()
        if name in ("as it is", "half rate", "mirrored", "noise", "dark", "dark, noise", "hand shake")
    }
    for index in range(count):
        generator = np.random.default_rng([1, index])  # not the places that the detector was made on
        kind = tuple(Kind)[index % len(Kind)]
        first = names[generator.integers(len(names))]
        others = [name for name in names if (name == first) is not (kind is Kind.OTHER_CLIP)]
        second = others[generator.integers(len(others))]
        look = list(looks)[generator.integers(len(looks))]
        step = 2 if "half rate" in look else 1
        parts = [_part(clips[name], generator, step) for name in (first, second)]
        if kind is Kind.OTHER_CROP:
            parts = [
                _framed(part, *framing) for part, framing in zip(parts, _framings(generator), strict=True)
            ]
        altered = [looks[look](part, generator) for part in parts]
        yield Join(
            kind=kind,
            frames=[*altered[0], *altered[1]],
            cut=len(altered[0]),
            words=f"{first} to {second}, {look}",
        )


def _part(clip: Shot, generator: Generator, step: int) -> Shot:
    length = _PART * step
    start = int(generator.integers(len(clip) - length + 1))
    return clip[start : start + length]


def _framed(shot: Shot, top: float, left: float, share: float) -> Shot:
    return [crop(frame, top=top, left=left, share=share) for frame in shot]


def _framings(generator: Generator) -> tuple[tuple[float, float, float], ...]:
    """Returns (top, left, share) of a wide and of a close picture, in either order, as two cameras would give them."""
    wide = (0.5, float(generator.uniform(0.2, 0.8)), float(generator.uniform(0.85, 1.0)))
    close = (
        float(generator.uniform(0.0, 0.6)),
        float(generator.uniform(0.1, 0.9)),
        float(generator.uniform(0.35, 0.6)),
    )
    return (wide, close) if generator.random() < 0.5 else (close, wide)
