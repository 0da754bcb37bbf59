"""What a benchmark is asked to measure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from rvm_trt.benchmarks.timings import Schedule
from rvm_trt.options import Precision
from rvm_trt.profile import Profile


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure.

    Attributes:
        profiles: frame sizes, in the order of the tables.
        schedule: rounds and frames of the frame protocol; the tensor protocol gets half the rounds.
        threads: CPU threads of each entrant.
        sequence_frames: frames of the clip that are matted over and over for the times.
        accuracy_frames: frames that our engines' mattes are compared over; a thirtieth for the other entrants. A
            shorter clip goes on backwards, and forwards again.
        file_frames: frames of the files that the baseline, our fastest engine and the fastest other entrant matte end
            to end; 0 leaves it out.
        file_rounds: runs of each from file to file.
        memory_frames: frames of the memory measurement, on the last profile; 0 leaves it out.
        peaks: whether the processor's peaks are measured, for the modelled bounds.
        precisions: of our engines; None means fp32, the fastest floating point of this machine, and int8.
        entrants: names of the others that take part; None means all.
        checkpoint: weights; None finds or fetches them.
        clip: footage; None means the demo clip.
        engines_dir: folder of the engines.
        command: how this was asked for, for the record.
    """

    profiles: tuple[Profile, ...]
    schedule: Schedule = field(default_factory=Schedule)
    threads: int = 2
    sequence_frames: int = 32
    accuracy_frames: int = 300
    file_frames: int = 48
    file_rounds: int = 3
    memory_frames: int = 1000
    peaks: bool = True
    precisions: tuple[Precision, ...] | None = None
    entrants: tuple[str, ...] | None = None
    checkpoint: Path | None = None
    clip: Path | None = None
    engines_dir: Path = Path("build/engines")
    command: str = ""

    @property
    def tensor_schedule(self) -> Schedule:
        """Of the tensor protocol."""
        return replace(self.schedule, rounds=(self.schedule.rounds + 1) // 2)

    @property
    def other_accuracy_frames(self) -> int:
        """Frames that mattes of libraries and of PyTorch's variants are compared over."""
        return -(-self.accuracy_frames // 30)
