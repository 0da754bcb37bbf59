"""How a job is run, and what it runs: the options, and what it asks of a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import OptionError
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.cuts import CutDetector
from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.stores import SEGMENT_FRAMES

if TYPE_CHECKING:
    from rvm_trt.runtime.video.backdrop import Backdrop


class Session(Protocol):
    """What mattes frames, such as `rvm_trt.MattingSession`.

    Its mattes have an attribute per requested kind (``composite``, ``pha``, ``rgba``, ``fgr``), a uint8 array
    that is valid until the next matte.
    """

    @property
    def profile(self) -> Profile:
        """The profile, for its frame size."""

    def run(self, frames: Iterable[npt.NDArray[np.uint8]]) -> Iterator[Any]:
        """Yields one matte per frame, in order; it may read frames ahead. The states carry over to the next call."""

    def reset(self) -> None:
        """Forgets the past before the next frame."""

    def state(self) -> tuple[npt.NDArray[np.float32], ...]:
        """Returns the states after the last frame, as `restore` takes them."""

    def restore(self, state: Sequence[npt.NDArray[np.float32]]) -> None:
        """Sets the states for the next frame."""

    def set_background(self, background: tuple[int, int, int] | npt.NDArray[np.uint8]) -> None:
        """Sets what is behind the person from the next frame on."""


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How a job is run.

    Attributes:
        inputs: how the input is read.
        cuts: finds the cuts, at which the states are reset; None resets at none. A new one for each job.
        backdrop: what is behind each frame; None leaves the session's background. The caller closes it.
        resume: whether to go on with the same job where it was interrupted, if it was.
        reset_every: the states are reset after so many frames; None never does so.
        segment_frames: how often an encoder begins anew, and the job can be resumed.
        facts: whatever else decides the bytes, by name and in words: the engine's hash, the background, … All must be
            as they were for a job to be resumed.

    Raises:
        OptionError: a number is not positive.
    """

    inputs: InputOptions = field(default_factory=InputOptions)
    cuts: CutDetector | None = None
    backdrop: Backdrop | None = None
    resume: bool = False
    reset_every: int | None = None
    segment_frames: int = SEGMENT_FRAMES
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("reset_every", self.reset_every), ("segment_frames", self.segment_frames)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise OptionError(
                    name,
                    got=repr(value),
                    expected="a number of frames, 1 or more",
                    todo="Give another number.",
                )
