"""Where one shot ends and the next begins: the states of the shot before would show in the one after."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import chain
from statistics import median

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from rvm_trt.errors import FrameError

Grid = npt.NDArray[np.float32]

_ROWS, _COLUMNS, _POINTS = 18, 32, 4
_RECENT = 8
# Chosen on real footage, see docs/temporal.md. Changes are shares of full scale.
_LEAST_CHANGE = 0.012
_AGAINST_RECENT = 3.0
_LEAST_DIFFERENCE = 0.25
_MORE_AT_FIRST = 0.2
_UP, _ASIDE = 3, 6  # cells by which the picture may move from one frame to the next: a sixth, a fifth


class CutDetector:
    """Finds cuts between consecutive frames. Belongs to one video at a time.

    Each frame is reduced to 18 by 32 cells, each the mean of 16 sampled pixels. A cut is a change that is several
    times those of the frames before (somebody who moves, a shaking camera and noise change every frame), after which
    the middle of the picture is nowhere to be found in the frame before (a pan moves it, a flash only changes its
    light). The first frame is none; dissolves and fades are none.

    Args:
        threshold: how different the picture must be at the least, 0 to 1: one less the highest correlation of the
            cells' colours over the places that the picture may have moved to. While nothing is known of how much the
            shot changes by itself, 0.2 more.
    """

    def __init__(self, *, threshold: float = _LEAST_DIFFERENCE) -> None:
        self._threshold = threshold
        self._before: Grid | None = None
        self._changes: deque[float] = deque(maxlen=_RECENT)

    @property
    def threshold(self) -> float:
        """How different the picture must be at the least."""
        return self._threshold

    def is_cut(self, image: npt.NDArray[np.uint8]) -> bool:
        """Whether a frame, (H, W, 3) uint8, begins another shot than the frame of the call before."""
        grid, before = _cells(image), self._before
        self._before = grid
        if before is None:
            return False
        change = float(np.abs(grid - before).mean()) / 255
        usual = median(self._changes) if self._changes else 0.0
        least = self._threshold + (0.0 if self._changes else _MORE_AT_FIRST)
        cut = change >= max(_LEAST_CHANGE, _AGAINST_RECENT * usual) and _difference(before, grid) >= least
        if cut:
            self._changes.clear()
        else:
            self._changes.append(float(np.float32(change)))  # as `restore` gives it back
        return cut

    def state(self) -> npt.NDArray[np.float32]:
        """Returns what is remembered of the frames so far: (n,) float32, for `restore`."""
        cells: Iterable[float] = () if self._before is None else self._before.ravel()
        return np.fromiter(chain(cells, self._changes), np.float32)

    def restore(self, state: npt.NDArray[np.float32]) -> None:
        """Goes on where the detector that gave ``state`` stood; raises `FrameError` if no detector gave it."""
        cells = _ROWS * _COLUMNS * 3
        if state.ndim != 1 or not (state.size == 0 or cells <= state.size <= cells + _RECENT):
            raise FrameError(
                "state of the cut detector",
                got=f"shape {state.shape}",
                expected=f"(0,), or between ({cells},) and ({cells + _RECENT},)",
                todo="Pass what state() returned.",
            )
        values = state.astype(np.float32)
        self._before = values[:cells].reshape(_ROWS, _COLUMNS, 3) if state.size else None
        self._changes = deque((float(value) for value in values[cells:]), maxlen=_RECENT)


def _cells(image: npt.NDArray[np.uint8]) -> Grid:
    rows, columns = (
        ((np.arange(cells * _POINTS) + 0.5) * side / (cells * _POINTS)).astype(np.intp)
        for side, cells in ((image.shape[0], _ROWS), (image.shape[1], _COLUMNS))
    )
    points = image.take(rows, axis=0).take(columns, axis=1)
    bands = points.reshape(_ROWS, _POINTS, -1).sum(axis=1, dtype=np.float32)
    cells: Grid = bands.reshape(_ROWS, _COLUMNS, _POINTS, 3).sum(axis=2) / _POINTS**2
    return cells


def _difference(before: Grid, after: Grid) -> float:
    """One less the correlation of the middle of ``after`` with what resembles it most in ``before``.

    0 is the same but for level and contrast, 1 nothing alike, more an opposite.
    """
    middle = after[_UP:-_UP, _ASIDE:-_ASIDE]
    centred = (middle - middle.mean(axis=(0, 1))).transpose(2, 0, 1).reshape(3, -1)
    places = sliding_window_view(before, middle.shape[:2], axis=(0, 1)).reshape(-1, *centred.shape)
    # What the places' means would add is nought, as `centred` has none.
    alike = places.reshape(len(places), -1) @ centred.ravel()
    power = (np.vecdot(places, places) - np.square(places.sum(axis=2)) / places.shape[2]).sum(axis=1)
    # A level of noise in each cell, so that flat pictures resemble nothing.
    power = power * np.square(centred).sum() + centred.size**2
    return 1.0 - float((alike / np.sqrt(power)).max())
