"""How often entrants are measured, and the times that come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rvm_trt.benchmarks.resources import GpuUse, Use
from rvm_trt.errors import OptionError

LEAST_FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often and how long.

    Attributes:
        rounds: rounds of every entrant; each starts with another of them.
        frames_per_round: frames per entrant and round, at most.
        turn_s: a slow entrant's turn ends with the frame count that fills so many seconds, by its warm-up; no turn is
            shorter than `LEAST_FRAMES`. None gives every entrant all frames.
        warm_up_frames: frames before the first round, not counted.
        rest_s: pause before each turn, in seconds, for helper threads of the last entrant to fall asleep.
        timeout_s: longest wait for one answer, in seconds.

    Raises:
        OptionError: a count is below 1.
    """

    rounds: int = 12
    frames_per_round: int = 8
    turn_s: float | None = None
    warm_up_frames: int = 3
    rest_s: float = 0.3
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        for subject in ("rounds", "frames_per_round", "warm_up_frames"):
            if getattr(self, subject) < 1:
                raise OptionError(
                    subject, got=str(getattr(self, subject)), expected="at least 1", todo="Ask for more."
                )

    def turn_frames(self, frame_ms: float) -> int:
        """Returns the frames of a turn of an entrant that takes so long for one."""
        if self.turn_s is None:
            return self.frames_per_round
        return min(self.frames_per_round, max(LEAST_FRAMES, int(self.turn_s * 1e3 / frame_ms)))


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a worker tells of some frames.

    Attributes:
        samples_ms: one number per frame.
        use: what its process took for them; None where it does not tell.
    """

    samples_ms: tuple[float, ...] = field(repr=False)
    use: Use | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Turn:
        """Returns what a worker answered: ``ms``, and ``use`` as `dataclasses.asdict` writes it."""
        use = data.get("use")
        if use is not None:
            use = Use(**{**use, "gpu": use["gpu"] and GpuUse(**use["gpu"])})
        return cls(samples_ms=tuple(float(value) for value in data["ms"]), use=use)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times of one entrant.

    Attributes:
        turns: one per round.
        first_ms: the first frame after the worker was ready.
    """

    turns: tuple[Turn, ...]
    first_ms: float

    @property
    def samples_ms(self) -> list[float]:
        """Every frame's time."""
        return [value for turn in self.turns for value in turn.samples_ms]

    @property
    def median_ms(self) -> float:
        """The median over all frames."""
        return float(np.median(self.samples_ms))

    @property
    def use(self) -> Use | None:
        """What the process took for all frames; None where it did not tell of some."""
        uses = [turn.use for turn in self.turns if turn.use is not None]
        return Use.total(uses) if len(uses) == len(self.turns) else None

    def to_json(self, *, baseline: Timing | None) -> dict[str, Any]:
        """Median, quartiles, percentiles, number of frames and the samples, rounded to microseconds.

        Args:
            baseline: what ``beside_pytorch`` is measured by; None for the baseline itself.
        """
        lower, median, upper, p95, p99 = np.percentile(self.samples_ms, (25, 50, 75, 95, 99))
        return {
            "median_ms": round(float(median), 3),
            "quartiles_ms": [round(float(lower), 3), round(float(upper), 3)],
            "p50_ms": round(float(median), 3),
            "p95_ms": round(float(p95), 3),
            "p99_ms": round(float(p99), 3),
            "fps": round(1e3 / float(median), 3),
            "frames": len(self.samples_ms),
            "samples_ms": [[round(value, 3) for value in turn.samples_ms] for turn in self.turns],
            "beside_pytorch": None if baseline is None else round(baseline.median_ms / float(median), 3),
        }
