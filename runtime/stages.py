"""The stages of a frame on a device: makers of the prepared operations that a schedule enqueues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

from rvm_trt.profile import Profile
from rvm_trt.runtime.device import Buffer, Operation, Span

Tensors = tuple[Buffer, ...]
OUTPUT_CHANNELS: Mapping[str, int] = {"pha": 1, "fgr": 3, "rgba": 4, "composite": 3}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of one video's frame in each kind of memory; a batch has ``lanes`` times as much of what is shared.

    Attributes:
        lanes: videos that advance together in one run of the network.
        source: a frame as it is given.
        src: the network's input at low resolution.
        state: each tensor of one set of states.
        coefficients: ``A`` and ``b``.
        hidden: the network's hidden features, where a ``head`` makes the coefficients of them; else 0.
        outputs: each requested output.
        background: an image to put behind; 0 where no output needs one.
    """

    lanes: int = 1
    source: int
    src: int
    state: tuple[int, ...]
    coefficients: tuple[int, ...]
    hidden: int = 0
    outputs: tuple[int, ...]
    background: int = 0


class Background:
    """What ``compose`` puts behind one video: ``colour`` (R, G, B) in 0..255, or where that is None the image.

    The colour is an argument by value: it holds for what is enqueued from now on.
    """

    def __init__(self, image: Span | None) -> None:
        self.image = image
        self.colour: tuple[int, int, int] | None = (0, 0, 0)


class Stages(Protocol):
    """Prepares the operations of one engine on one device. Several schedules may share it, each with its own contexts.

    The spans given are the operation's arguments, and all that it declares: it reads and writes nothing else but
    constants and what only itself uses.
    """

    @property
    def sizes(self) -> Sizes:
        """Sizes of the memory that the operations expect."""

    def sample(self, source: Span, target: Span) -> Operation:
        """Reads a frame, writes one lane of the network's input."""

    def core(
        self, name: str, *, src: Buffer, state: Tensors, next_state: Tensors, results: Tensors
    ) -> Operation:
        """Runs the network once on all lanes, in an execution context of its own with these bindings.

        Reads ``src`` and ``state``; writes ``next_state`` and ``results``, which are the hidden features where
        ``sizes.hidden`` is not 0, else the coefficients. Declares its context and its states.
        """

    def head(self, *, src: Buffer, hidden: Buffer, coefficients: Tensors) -> Operation:
        """Reads the network's input and its hidden features, writes the coefficients. Only where ``sizes.hidden``."""

    def compose(
        self,
        *,
        source: Span,
        coefficients: tuple[Span, ...],
        background: Background,
        outputs: tuple[Span, ...],
    ) -> Operation:
        """Reads a frame, its coefficients and the background image, if there is one; writes its outputs.

        Declares the image as read whether a colour hides it or not.
        """

    def close(self) -> None:
        """Releases the engine. No schedule may use it any longer. May be called twice."""


def stage_sizes(
    profile: Profile, outputs: Sequence[str], *, element_bytes: int = 4, hidden_channels: int = 0
) -> Sizes:
    """Returns the sizes for RGB frames and tensors without padding.

    Args:
        profile: what the engine was built for.
        outputs: names of the requested outputs.
        element_bytes: of the network's tensors; ``A`` and ``b`` are float32 behind a head, else as the others.
        hidden_channels: channels of the hidden features, 0 for a network that gives the coefficients itself.
    """
    low, frame = profile.low_height * profile.low_width, profile.height * profile.width
    return Sizes(
        lanes=profile.batch,
        source=3 * frame,
        src=3 * low * element_bytes,
        state=tuple(prod(shape[1:]) * element_bytes for shape in profile.state_shapes),
        coefficients=(4 * low * (4 if hidden_channels else element_bytes),) * 2,
        hidden=hidden_channels * low * element_bytes,
        outputs=tuple(frame * OUTPUT_CHANNELS[name] for name in outputs),
        background=3 * frame if "composite" in outputs else 0,
    )
