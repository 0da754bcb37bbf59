"""Frames into a folder of numbered PNG images, with Pillow."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from PIL import Image

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.output import OutputPlan
from rvm_trt.runtime.video.source import Clip

# zlib's fastest level: a 4K image in a third of the time of the default, for a few per cent more bytes.
_LEVEL = 1


class PngSlot:
    """Memory for one image.

    Attributes:
        view: uint8 ``(H, W, C)``, or ``(H, W)`` for grey; this slot owns it.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.view: npt.NDArray[np.uint8] = np.empty(shape, np.uint8)


class PngWriter:
    """Writes ``000000.png``, ``000001.png``, …: grey for ``pha``, RGB, or RGBA with straight alpha.

    Timestamps and sound have no place in a folder of images.

    Args:
        folder: where to write.
        plan: the output, for its kind, and its name in messages.
        clip: the size.
    """

    def __init__(self, folder: Path, *, plan: OutputPlan, clip: Clip) -> None:
        self._folder = folder
        self._plan = plan
        size = (clip.height, clip.width)
        channels = plan.kind.channels
        self._shape = size if channels == 1 else (*size, channels)
        self._count = 0

    def __enter__(self) -> PngWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def make_slot(self) -> PngSlot:
        """Returns memory for one frame, to be filled and given to `encode`."""
        return PngSlot(self._shape)

    def encode(self, slot: PngSlot, pts: int, time_base: Fraction, duration: int) -> None:  # noqa: ARG002
        """Writes the next image; raises `VideoError` where the disk does not take it."""
        file = self._folder / f"{self._count:06d}.png"
        try:
            Image.fromarray(slot.view).save(file, compress_level=_LEVEL)
        except OSError as error:
            raise VideoError(
                f"output {str(self._plan.path)!r}",
                got=f"{error.strerror or error} at {file.name}",
                expected="to write a PNG image",
                todo="Check the free space.",
            ) from error
        self._count += 1

    def finish(self) -> None:
        """Every image is already complete."""

    def close(self) -> None:
        """Holds nothing open. May be called twice."""
