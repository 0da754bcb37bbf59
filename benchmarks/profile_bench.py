"""The benchmark of one profile: speed in three protocols, accuracy, stages."""

from __future__ import annotations

from functools import partial
from typing import Any

from rvm_trt.benchmarks.bench_options import BenchOptions
from rvm_trt.benchmarks.clips import CARPHONE, demo_clip
from rvm_trt.benchmarks.contests import Measured, Workshop, default_precisions, measure_speed
from rvm_trt.benchmarks.document import describe_profile
from rvm_trt.benchmarks.entrants import BASELINE, chosen_entrants, every_entrant
from rvm_trt.benchmarks.file_bench import measure_files, write_clip
from rvm_trt.benchmarks.interleave import Field
from rvm_trt.benchmarks.lockstep import Accuracy, Lockstep
from rvm_trt.benchmarks.stage_bench import measure_stages
from rvm_trt.benchmarks.timings import Timing
from rvm_trt.options import Backend
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.scaled import scaled_frames
from rvm_trt.runtime.video.source import open_source

FRAMES = "frames"


class ProfileBench:
    """The measurement of one profile; engines and graphs that are missing are made at once.

    Args:
        profile: frame size and ratio.
        options: what to measure.
        workshop: makes the contest.

    Raises:
        RvmTrtError: no clip, or an engine of ours cannot be made.
    """

    def __init__(self, profile: Profile, options: BenchOptions, workshop: Workshop) -> None:
        self._options = options
        self._workshop = workshop
        self._tell = workshop.tell
        self._clip = options.clip or demo_clip()
        self._tell(f"Preparing {profile.name}: frames, graphs and engines")
        self._scaled = partial(scaled_frames, self._clip, width=profile.width, height=profile.height)
        self._size = (profile.width, profile.height)
        precisions = options.precisions or default_precisions(workshop.backend)
        every = every_entrant(precisions, gpu=workshop.backend is not Backend.CPU)
        frames = list(self._scaled(count=options.sequence_frames))
        self.contest = workshop.prepare(profile, chosen_entrants(every, options.entrants), frames)
        self.measured = Measured()

    @property
    def name(self) -> str:
        """The profile's name."""
        return self.contest.profile.name

    @property
    def fastest(self) -> str:
        """Our fastest entrant."""
        return min(self.contest.engines, key=lambda name: self.measured.frame[name].median_ms)

    def measure(self) -> dict[str, Any]:
        """Measures everything, and returns the profile's part of the document.

        Raises:
            BenchmarkError: the baseline or an engine of ours failed.
        """
        options, accuracy = self._options, Accuracy()

        def compare(runners: Field, measured: Measured) -> None:
            if options.accuracy_frames:
                accuracy.add(self._compare(runners, measured))

        self.measured = measure_speed(
            self.contest, options.schedule, tensor=options.tensor_schedule, after=compare, tell=self._tell
        )
        for name, reason in self.measured.failures.items():
            self._tell(f"note: {name} at {self.name} is left out. {reason}")
        return describe_profile(
            self.contest,
            self.measured,
            accuracy,
            footage=self._footage(),
            stages=self._stages(),
            files=self._files(),
        )

    def timings(self) -> dict[str, Timing]:
        """Returns all times by ``profile/protocol/entrant``."""
        return {
            f"{self.name}/{protocol}/{name}": timing
            for protocol in ("frame", "tensor")
            for name, timing in self.measured.times(protocol).items()
        }

    def _compare(self, runners: Field, measured: Measured) -> Accuracy:
        self._tell(f"Comparing mattes at {self.name} with PyTorch's, frame by frame")
        options, folder = self._options, self._workshop.folder
        ours = [name for name in self.contest.engines if name in runners.workers]
        counts = {
            name: options.accuracy_frames if name in ours else options.other_accuracy_frames
            for name in runners.workers
        }
        lockstep = Lockstep(
            counts,
            watched=min(ours, key=lambda name: measured.frame[name].median_ms) if ours else None,
            folder=folder,
            pictures=folder / FRAMES,
            prefix=self.name,
        )
        footage = self._scaled(count=options.accuracy_frames, there_and_back=True)
        return lockstep.run(runners, footage)

    def _footage(self) -> dict[str, Any]:
        source = open_source(self._clip)
        native = (source.width, source.height)
        return {
            "clip": self._clip.name,
            "credit": CARPHONE.credit if self._options.clip is None else "given by the user",
            "native_size": list(native),
            "scaled": native != self._size,
            "frames": self._options.sequence_frames,
        }

    def _stages(self) -> list[dict[str, Any]]:
        self._tell(f"Timing the stages of a session at {self.name}")
        entries = (
            measure_stages(
                self.contest.settings[name],
                frames=self._options.schedule.rounds * self._options.schedule.frames_per_round,
                folder=self._workshop.folder,
            )
            for name in self.contest.engines
        )
        return [entry for entry in entries if entry is not None]

    def _files(self) -> list[dict[str, Any]]:
        count, profile = self._options.file_frames, self.contest.profile
        if count < 1:
            return []
        folder, times = self._workshop.folder, self.measured.frame
        others = [
            spec.name for spec in self.contest.entrants if spec.group == "library" and spec.name in times
        ]
        names = {BASELINE, self.fastest, *sorted(others, key=lambda name: times[name].median_ms)[:1]}
        self._tell(f"Writing a video of {count} frames at {self.name}")
        source = write_clip(self._clip, folder / f"{self.name}.mp4", profile=profile, count=count)
        return measure_files(
            [spec for spec in self.contest.entrants if spec.name in names],
            self.contest.settings,
            source=source,
            folder=folder,
            rounds=self._options.file_rounds,
            tell=self._tell,
        )
