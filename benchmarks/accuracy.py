"""How far one alpha sequence is from another: the figures that stand beside every speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


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


def compare_alpha(reference: Path, candidate: Path) -> AlphaError:
    """Compares two .npy files of (T, H, W) alpha, uint8 or uint16 over the full range, frame by frame."""
    expected, got = np.load(reference, mmap_mode="r"), np.load(candidate, mmap_mode="r")
    assert expected.shape == got.shape, "both entrants matte the same sequence"
    means, worst, coverage = [], [], []
    for index in range(len(expected)):
        alpha = _unit(expected[index])
        difference = np.abs(_unit(got[index]) - alpha)
        means.append(float(difference.mean(dtype=np.float64)))
        worst.append(float(difference.max()))
        coverage.append(float(alpha.mean(dtype=np.float64)))
    return AlphaError(
        frames=len(means),
        mad_e3=float(np.mean(means)) * 1e3,
        max=max(worst),
        worst_frame=int(np.argmax(worst)),
        reference_mean=float(np.mean(coverage)),
    )


def _unit(alpha: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    scaled: npt.NDArray[np.float32] = alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max)
    return scaled
