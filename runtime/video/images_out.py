"""Frames into a folder of numbered images."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.output import OutputPlan
from rvm_trt.runtime.video.source import Clip


class ArraySlot:
    """Memory for one image.

    Attributes:
        view: uint8 or uint16, ``(H, W, C)``, or ``(H, W)`` for grey; this slot owns it.
    """

    def __init__(self, plan: OutputPlan, clip: Clip) -> None:
        size, channels = (clip.height, clip.width), plan.kind.channels
        shape = size if channels == 1 else (*size, channels)
        self.view: npt.NDArray[Any] = np.empty(shape, np.uint16 if plan.depth == 16 else np.uint8)


class ImageForm(Protocol):
    """How one image is stored: `PngForm` or `ExrForm`."""

    @property
    def suffix(self) -> str:
        """What the file's name ends in."""

    def save(self, image: npt.NDArray[Any], file: Path) -> None:
        """Writes one image; raises `OSError`."""


class ImageWriter:
    """Writes one file per frame, ``000000.png``, ``000001.png``, …

    Timestamps and sound have no place in a folder of images.

    Args:
        folder: where to write.
        form: how an image is stored.
        plan: the output, for its kind, and its name in messages.
        clip: the size.
        first: number of the first image.
    """

    def __init__(
        self, folder: Path, *, form: ImageForm, plan: OutputPlan, clip: Clip, first: int = 0
    ) -> None:
        self._folder = folder
        self._form = form
        self._plan = plan
        self._clip = clip
        self._number = first

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def make_slot(self) -> ArraySlot:
        """Returns memory for one frame, to be filled and given to `encode`."""
        return ArraySlot(self._plan, self._clip)

    def encode(self, slot: ArraySlot, pts: int, time_base: Fraction, duration: int) -> None:  # noqa: ARG002
        """Writes the next image; raises `VideoError` where the disk does not take it."""
        file = self._folder / f"{self._number:06d}{self._form.suffix}"
        try:
            self._form.save(slot.view, file)
        except OSError as error:
            raise VideoError(
                f"output {str(self._plan.path)!r}",
                got=f"{error.strerror or error} at {file.name}",
                expected=f"to write {self._form.suffix.removeprefix('.').upper()} images",
                todo="Check the free space.",
            ) from error
        self._number += 1

    def finish(self) -> None:
        """Every image is already complete."""

    def close(self) -> None:
        """Holds nothing open. May be called twice."""
