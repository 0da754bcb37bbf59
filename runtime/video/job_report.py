"""What a job did, and how far it got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rvm_trt.runtime.video.output import OutputKind


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """What a job did.

    Attributes:
        output: what was written.
        kind: which picture.
        outputs: everything that was written, by kind.
        frames: frames written.
        skipped_frames: pieces of the input that did not decode.
        width, height: frame size in pixels.
        rate: the source's frames per second.
        cuts: the source's numbers of the frames at which a cut was found and the states were reset.
        resumed_at: how many frames an interrupted job had kept; None where there was none to resume.
        seconds: wall time from the first read to the finished file.
        fps: frames per second of that, without those that were kept.
        decode_wait_ms, session_ms, encode_wait_ms: where that time went, in total: waiting for the decoder,
            in the session, and handing over to the encoders. The largest names the bottleneck.
        decode_ms, encode_ms: how long decoder and encoders worked in total, each on a thread of its own beside the
            session; conversion from and to RGB, reading and writing included.
        notices: one-line remarks for the user.
        warnings: those on what is missing at the end.
    """

    output: Path
    kind: OutputKind
    outputs: Mapping[str, str]
    frames: int
    skipped_frames: int
    width: int
    height: int
    rate: Fraction
    cuts: tuple[int, ...]
    resumed_at: int | None
    seconds: float
    fps: float
    decode_wait_ms: float
    session_ms: float
    encode_wait_ms: float
    decode_ms: float
    encode_ms: float
    notices: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {**asdict(self), "output": str(self.output), "kind": self.kind.value, "rate": str(self.rate)}
