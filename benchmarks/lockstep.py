"""Accuracy in lockstep: the baseline and an entrant matte the same frame, it is compared, and then the next.

No sequence of mattes is ever stored; two pictures of each entrant are shared memory, in effect, through files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from rvm_trt.benchmarks.accuracy import MatteErrors
from rvm_trt.benchmarks.clips import Image
from rvm_trt.benchmarks.entrants import BACKGROUND, BASELINE
from rvm_trt.benchmarks.interleave import Field

_TIMEOUT_S = 600.0
_COSTLY_FRAMES = 12
_PICTURE_WIDTH = 960
WORST, MIDDLE = "largest error", "middle of the clip"


@dataclass(kw_only=True)
class Accuracy:
    """What the comparison gave.

    Attributes:
        errors: entrant → the figures of ACCURACY.
        pictures: the watched entrant's, as the document has them; their files are in the folder given.
    """

    errors: dict[str, dict[str, Any]] = field(default_factory=dict)
    pictures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: Accuracy) -> None:
        """Takes in what another field's comparison gave."""
        self.errors |= other.errors
        self.pictures += other.pictures


class Lockstep:
    """A comparison of entrants with the baseline.

    Args:
        frames: how many frames are compared, by entrant.
        watched: whose worst and middle frame is kept as pictures; None keeps none.
        folder: for the shared files.
        pictures: for the pictures.
        prefix: of the pictures' names.
    """

    def __init__(
        self,
        frames: Mapping[str, int],
        *,
        watched: str | None,
        folder: Path,
        pictures: Path,
        prefix: str,
    ) -> None:
        self._counts = {name: count for name, count in frames.items() if name != BASELINE and count > 0}
        self._watched = watched
        self._folder = folder
        self._pictures = pictures
        self._prefix = prefix
        self._kept: dict[str, tuple[int, dict[str, Pillow.Image]]] = {}

    def run(self, runners: Field, footage: Iterable[Image]) -> Accuracy:
        """Returns the errors of those entrants that are in the field.

        Args:
            runners: with the baseline.
            footage: frames of the profile's size, from zero states; no more are taken than are compared.

        Raises:
            BenchmarkError: a required worker failed.
        """
        counts = {name: count for name, count in self._counts.items() if name in runners.workers}
        errors = {
            name: MatteErrors(costly_every=max(1, count // _COSTLY_FRAMES)) for name, count in counts.items()
        }
        longest = max(counts.values(), default=0)
        for index, frame in zip(range(longest), footage, strict=False):
            reference = self._ask(runners, BASELINE, frame, index)
            assert reference is not None, "the baseline is required"
            for name in [name for name, count in counts.items() if index < count]:
                got = self._ask(runners, name, frame, index) if name in runners.workers else None
                if got is None:
                    continue
                errors[name].add(
                    reference_alpha=reference[0], alpha=got[0], reference_fgr=reference[1], fgr=got[1]
                )
                if name == self._watched:
                    self._watch(index, errors[name], frame, reference, got, middle=longest // 2)
        return Accuracy(
            errors={
                name: {"reference": BASELINE, **errors[name].to_json()}
                for name in counts
                if name in runners.workers
            },
            pictures=self._written(),
        )

    def _ask(
        self, runners: Field, name: str, frame: Image, index: int
    ) -> tuple[npt.NDArray[np.uint16], Image] | None:
        """Returns an entrant's alpha and foreground of the frame; the arrays are written again for the next."""
        paths = {kind: self._folder / f"{name}-{kind}.npy" for kind in ("pha", "fgr")}
        source = self._folder / "source.npy"
        if name == BASELINE:
            _shared(source, index, frame.shape, np.uint8)[:] = frame
        size = frame.shape[:2]
        pha = _shared(paths["pha"], index, size, np.uint16)
        fgr = _shared(paths["fgr"], index, frame.shape, np.uint8)
        words = {kind: str(path.resolve()) for kind, path in {"frame": source, **paths}.items()}
        answer = runners.ask(name, {"matte": words}, timeout_s=_TIMEOUT_S)
        return None if answer is None else (pha, fgr)

    def _watch(
        self,
        index: int,
        errors: MatteErrors,
        frame: Image,
        reference: tuple[npt.NDArray[np.uint16], Image],
        got: tuple[npt.NDArray[np.uint16], Image],
        *,
        middle: int,
    ) -> None:
        drift = errors.to_json()["drift_mad_e3"]
        for why, wanted in ((WORST, drift[-1] == max(drift)), (MIDDLE, index == middle)):
            if wanted:
                self._kept[why] = (index, _pictures(frame, reference, got))

    def _written(self) -> list[dict[str, Any]]:
        self._pictures.mkdir(parents=True, exist_ok=True)
        described = []
        for why, (index, pictures) in self._kept.items():
            names = {}
            for kind, picture in pictures.items():
                name = f"{self._prefix}-{index:03d}-{kind.replace('_', '-')}.webp"
                # Alpha without loss: the page draws the errors from it.
                picture.save(self._pictures / name, lossless="alpha" in kind, quality=85)
                names[kind] = f"{self._pictures.name}/{name}"
            described.append({"entrant": self._watched, "frame": index, "why": why, **names})
        return described


def _shared(path: Path, index: int, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    return np.lib.format.open_memmap(path, "w+" if index == 0 else "r+", dtype=dtype, shape=shape)


def _pictures(
    frame: Image,
    reference: tuple[npt.NDArray[np.uint16], Image],
    got: tuple[npt.NDArray[np.uint16], Image],
) -> dict[str, Pillow.Image]:
    return {
        "source": _small(frame),
        "reference_alpha": _small((reference[0] >> 8).astype(np.uint8)),
        "alpha": _small((got[0] >> 8).astype(np.uint8)),
        "reference_composite": _small(_composite(*reference)),
        "composite": _small(_composite(*got)),
    }


def _composite(pha: npt.NDArray[np.uint16], fgr: Image) -> Image:
    alpha = pha[..., None] / np.float32(65535)
    blended = fgr * alpha + np.array(BACKGROUND, np.float32) * (1 - alpha)
    composite: Image = np.rint(blended).astype(np.uint8)
    return composite


def _small(picture: Image) -> Pillow.Image:
    image = Pillow.fromarray(picture)
    if image.width <= _PICTURE_WIDTH:
        return image
    height = round(image.height * _PICTURE_WIDTH / image.width)
    return image.resize((_PICTURE_WIDTH, height), Pillow.Resampling.BOX)
