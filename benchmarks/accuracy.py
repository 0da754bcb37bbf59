"""How far one alpha sequence is from another: the figures that stand beside every speed.

The reference is what PyTorch computes in FP32 from the same frames and weights, not a matte made by hand: the figures
tell what an engine loses of the network's answer, and say nothing of how good that answer is. They are named and
scaled as in the paper's tables, to be read beside them: an error far below the paper's is one that nobody can see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.benchmarks.matting_metrics import (
    ONE,
    Alpha,
    Image,
    connectivity_error,
    foreground_error,
    gradient_error,
)
from rvm_trt.errors import FrameError, OptionError


@dataclass(frozen=True, kw_only=True)
class AlphaError:
    """Difference of an alpha sequence from a reference, alpha in 0..1.

    Attributes:
        frames: number of frames compared.
        mad_e3: mean absolute difference over all pixels and frames, times 1000.
        max: largest absolute difference at any pixel.
        worst_frame: the frame where that is, from 0.
        reference_mean: mean alpha of the reference, which tells how much of the picture is a person.
    """

    frames: int
    mad_e3: float
    max: float
    worst_frame: int
    reference_mean: float

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values, rounded."""
        return {
            "frames": self.frames,
            "mad_e3": round(self.mad_e3, 4),
            "max": round(self.max, 5),
            "worst_frame": self.worst_frame,
            "reference_mean": round(self.reference_mean, 4),
        }


class MatteErrors:
    """The errors of a sequence of mattes against a reference, given frame by frame; all means are over frames.

    - MAD, MSE: mean absolute and mean squared difference of alpha in 0..1 over all pixels, times 1000.
    - Grad, Conn: see `gradient_error` and `connectivity_error`; of every ``costly_every``-th frame from the first.
    - dtSSD: flicker. The root of the mean over all pixels of ((a_t − a_{t−1}) − (r_t − r_{t−1}))², times 100, of each
      frame but the first (Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC 2015).
    - Foreground MSE: where the reference alpha is above 0, times 1000; of the frames that have such pixels.

    Args:
        costly_every: Grad and Conn cost several times what all others do together.

    Raises:
        OptionError: ``costly_every`` is below 1.
    """

    def __init__(self, *, costly_every: int = 1) -> None:
        if costly_every < 1:
            raise OptionError(
                "costly_every", got=str(costly_every), expected="at least 1", todo="Use 1 for every frame."
            )
        self._costly_every = costly_every
        self._mad: list[float] = []
        self._mse: list[float] = []
        self._max: list[float] = []
        self._coverage: list[float] = []
        self._flicker: list[float] = []
        self._costly: list[tuple[float, float]] = []
        self._foreground: list[float] = []
        self._last: npt.NDArray[np.float32] | None = None

    def add(
        self,
        *,
        reference_alpha: npt.NDArray[Any],
        alpha: npt.NDArray[Any],
        reference_fgr: Image | None = None,
        fgr: Image | None = None,
    ) -> None:
        """Takes the next frame of both; keeps none of the arrays.

        Args:
            reference_alpha, alpha: (H, W) uint8 or uint16 over the full range; the types may differ.
            reference_fgr, fgr: (H, W, 3) uint8, both or none.

        Raises:
            FrameError: sizes differ, from each other or from the frame before, or a type is another.
        """
        reference, got = _full_range("reference_alpha", reference_alpha), _full_range("alpha", alpha)
        _check_size("alpha", alpha, reference.shape)
        if self._last is not None:
            _check_size("reference_alpha", reference_alpha, self._last.shape)
        _check_foregrounds(reference_fgr, fgr, reference.shape)
        if len(self._mad) % self._costly_every == 0:
            self._costly.append((gradient_error(reference, got), connectivity_error(reference, got)))
        self._add_alpha(reference, got)
        if reference_fgr is not None and fgr is not None:
            error = foreground_error(reference, reference_fgr, fgr)
            self._foreground += [] if error is None else [error]

    def to_json(self) -> dict[str, Any]:
        """Returns the figures so far as plain JSON values, rounded.

        ``dtssd`` is None before the second frame, ``fgr_mse_e3`` where no foreground was given or seen.
        ``costly_frames`` tells of how many frames ``grad`` and ``conn`` are, ``worst_frame`` (from 0) where the largest
        difference ``max`` is, ``drift_mad_e3`` the MAD of each frame.

        Raises:
            FrameError: there was no frame.
        """
        if not self._mad:
            raise FrameError("mattes", got="no frames", expected="at least one", todo="Add frames first.")
        grad, conn = np.mean(self._costly, axis=0)
        return {
            "frames": len(self._mad),
            "costly_frames": len(self._costly),
            "mad_e3": _rounded(self._mad, 1e3),
            "mse_e3": _rounded(self._mse, 1e3),
            "grad": round(float(grad), 6),
            "conn": round(float(conn), 6),
            "dtssd": _rounded(self._flicker, 1e2),
            "fgr_mse_e3": _rounded(self._foreground, 1e3),
            "max": round(max(self._max), 5),
            "worst_frame": int(np.argmax(self._max)),
            "reference_mean": _rounded(self._coverage),
            "drift_mad_e3": [round(value * 1e3, 4) for value in self._mad],
        }

    def _add_alpha(self, reference: Alpha, alpha: Alpha) -> None:
        apart = np.subtract(alpha, reference, dtype=np.float32)  # whole numbers, hence exact
        self._mad.append(_mean(np.abs(apart)) / ONE)
        self._mse.append(_mean_square(apart))
        self._max.append(float(max(apart.max(), -apart.min())) / ONE)
        self._coverage.append(float(reference.mean(dtype=np.float64)) / ONE)
        if self._last is not None:
            self._flicker.append(_mean_square(apart - self._last) ** 0.5)
        self._last = apart


def _full_range(subject: str, alpha: npt.NDArray[Any]) -> Alpha:
    if alpha.ndim != 2 or alpha.size == 0 or alpha.dtype not in (np.uint8, np.uint16):
        raise _frame_error(subject, alpha, "(H, W) uint8 or uint16 over the full range")
    if alpha.dtype == np.uint16:
        return alpha
    widened: Alpha = np.multiply(alpha, 257, dtype=np.uint16)  # 255 becomes 65535
    return widened


def _check_foregrounds(
    reference_fgr: npt.NDArray[Any] | None, fgr: npt.NDArray[Any] | None, size: tuple[int, ...]
) -> None:
    if (reference_fgr is None) != (fgr is None):
        missing = "fgr" if fgr is None else "reference_fgr"
        raise FrameError(
            missing, got="None", expected="a foreground", todo="Give both foregrounds, or neither."
        )
    for subject, picture in (("reference_fgr", reference_fgr), ("fgr", fgr)):
        if picture is not None and (picture.shape != (*size, 3) or picture.dtype != np.uint8):
            raise _frame_error(subject, picture, f"{(*size, 3)} uint8")


def _check_size(subject: str, alpha: npt.NDArray[Any], size: tuple[int, ...]) -> None:
    if alpha.shape != size:
        raise _frame_error(subject, alpha, f"{size}, the size of the others")


def _frame_error(subject: str, got: npt.NDArray[Any], expected: str) -> FrameError:
    return FrameError(
        subject,
        got=f"{got.shape} {got.dtype}",
        expected=expected,
        todo="Compare mattes of one profile, as they were written.",
    )


def _mean(values: npt.NDArray[np.float32]) -> float:
    # Rows in float32, which adds them pairwise, and their sums in float64.
    return float(values.sum(axis=1).sum(dtype=np.float64)) / values.size


def _mean_square(values: npt.NDArray[np.float32]) -> float:
    return float(np.vecdot(values, values).sum(dtype=np.float64)) / values.size / ONE**2


def _rounded(values: list[float], scale: float = 1.0) -> float | None:
    return round(float(np.mean(values)) * scale, 6) if values else None
