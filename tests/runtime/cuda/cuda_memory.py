"""Memory for launches on the CPU: pictures with padding and guard bytes, and proof that only pixels were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.runtime.kernel_params import Picture
from rvm_trt.runtime.pixels import PixelFormat

Bytes = npt.NDArray[np.uint8]
Planes = Sequence[npt.NDArray[Any]]  # (H, W, …) each, in the type of their samples
FIRST_ADDRESS = 1 << 40  # of buffer 0; the next one's is twice that, and so on


@dataclass(frozen=True, kw_only=True)
class Spacing:
    """Bytes around rows: guards before and after the plane, padding between rows, and what pitches are multiples of."""

    before: int = 0
    after: int = 0
    padding: int = 0
    unit: int = 1


TIGHT = Spacing()


@dataclass(frozen=True, kw_only=True)
class _Place:
    buffer: int
    before: int
    pitch: int
    rows: int
    row_bytes: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def address(self) -> int:
        return FIRST_ADDRESS * (self.buffer + 1) + self.before

    def select(self, buffer: Bytes) -> Bytes:
        """Returns a writable view of the rows (rows, row_bytes)."""
        return np.lib.stride_tricks.as_strided(
            buffer[self.before :], (self.rows, self.row_bytes), (self.pitch, 1)
        )


class Memory:
    """The buffers of one launch, each an allocation of its own.

    Attributes:
        buffers: their bytes, before the launch or after it.
    """

    def __init__(self) -> None:
        self.buffers: list[Bytes] = []
        self._before: list[Bytes] = []
        self._places: dict[str, _Place] = {}
        self._outputs: set[str] = set()

    def array(self, name: str, values: npt.NDArray[Any], *, output: bool = False) -> int:
        """Places an array, without guards, and returns its address."""
        return self._place(name, values.reshape(1, -1), values.shape, TIGHT, output).address

    def picture(
        self, name: str, planes: Planes, spacing: Spacing = TIGHT, *, output: bool = False
    ) -> Picture:
        """Places the planes of a picture, each in a buffer of its own."""
        places = [
            self._place(f"{name}{index}", plane, plane.shape, spacing, output)
            for index, plane in enumerate(planes)
        ]
        first, second = places[0], places[-1]
        if len(places) == 1:
            return Picture(plane=first.address, pitch=first.pitch)
        return Picture(
            plane=first.address, pitch=first.pitch, chroma=second.address, chroma_pitch=second.pitch
        )

    def output(
        self, name: str, pixel_format: PixelFormat | None, width: int, height: int, spacing: Spacing
    ) -> Picture:
        """Places a picture to be written; without a format, of single bytes."""
        return self.picture(name, blank(pixel_format, width, height), spacing, output=True)

    def read(self, name: str) -> npt.NDArray[Any]:
        """Returns an array, or a plane by the picture's name and the plane's index."""
        place = self._places[name]
        rows = np.ascontiguousarray(place.select(self.buffers[place.buffer]))
        return rows.view(place.dtype).reshape(place.shape)

    def check(self) -> None:
        """Fails where anything but the rows of outputs has changed."""
        for name, place in self._places.items():
            before, after = (buffers[place.buffer].copy() for buffers in (self._before, self.buffers))
            if name in self._outputs:
                for buffer in (before, after):
                    place.select(buffer)[:] = 0
            np.testing.assert_array_equal(after, before, err_msg=f"bytes beside {name}")

    def _place(
        self,
        name: str,
        values: npt.NDArray[Any],
        shape: tuple[int, ...],
        spacing: Spacing,
        output: bool,
    ) -> _Place:
        rows = np.ascontiguousarray(values).view(np.uint8).reshape(values.shape[0], -1)
        pitch = -(-(rows.shape[1] + spacing.padding) // spacing.unit) * spacing.unit
        # No padding after the last row: there the sanitizer's guard begins, or ours.
        size = spacing.before + pitch * (rows.shape[0] - 1) + rows.shape[1] + spacing.after
        buffer = (np.arange(size) * 37 + 11).astype(np.uint8)
        place = _Place(
            buffer=len(self.buffers),
            before=spacing.before,
            pitch=pitch,
            rows=rows.shape[0],
            row_bytes=rows.shape[1],
            shape=shape,
            dtype=values.dtype,
        )
        place.select(buffer)[:] = rows
        self.buffers.append(buffer)
        self._before.append(buffer.copy())
        self._places[name] = place
        if output:
            self._outputs.add(name)
        return place


def blank(pixel_format: PixelFormat | None, width: int, height: int) -> list[npt.NDArray[Any]]:
    """Returns planes that no kernel would write: what it leaves out shows."""
    if pixel_format is None:
        return [np.full((height, width), 0xA5, np.uint8)]
    if not pixel_format.is_subsampled:
        return [np.full((height, width, pixel_format.bytes_per_pixel), 0xA5, np.uint8)]
    kind = np.uint16 if pixel_format is PixelFormat.P010 else np.uint8
    half = ((height + 1) // 2, (width + 1) // 2, 2)
    return [np.full(shape, np.iinfo(kind).max // 3, kind) for shape in ((height, width), half)]
