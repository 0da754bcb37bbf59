"""The README's picture: ``python -m rvm_trt.benchmarks.picture`` mattes a photograph in the public domain."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rvm_trt.benchmarks.clips import ASTRONAUT, Image, portrait_photo
from rvm_trt.benchmarks.entrants import BACKGROUND
from rvm_trt.benchmarks.pictures import Panel, write_sheet
from rvm_trt.engines.artifact import Engine
from rvm_trt.errors import RvmTrtError
from rvm_trt.options import Precision
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.scaled import scaled_frames

OUTPUT = Path("docs/picture.png")
_SETTLING_FRAMES = 8


def main() -> int:
    """Makes the picture; returns 0, or 1 after a user error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", metavar="PATH", help="weights (default: fetched)")
    parser.add_argument("--size", type=int, default=512, metavar="N", help="side in pixels (default: 512)")
    parser.add_argument("--ratio", type=float, default=0.75, metavar="R", help="default: 0.75")
    parser.add_argument(
        "-o", "--output", type=Path, default=OUTPUT, metavar="PATH", help=f"default: {OUTPUT}"
    )
    args = parser.parse_args()
    try:
        profile = Profile.for_size(width=args.size, height=args.size, ratio=args.ratio)
        print(make_picture(profile, args.output, checkpoint=args.checkpoint))
    except RvmTrtError as error:
        print(f"picture: {error}", file=sys.stderr)
        return 1
    return 0


def make_picture(profile: Profile, path: Path, *, checkpoint: str | None = None) -> Path:
    """Writes input, alpha and composite side by side, with the credit below, and returns the path.

    Raises:
        RvmTrtError: no photograph, no weights, or no engine.
    """
    from rvm_trt.engines.provision import provide_engine

    (photo,) = scaled_frames(portrait_photo(), width=profile.width, height=profile.height, count=1)
    engine = provide_engine(
        profile,
        precision=Precision.FP32,
        checkpoint=checkpoint,
        progress=lambda text: print(text, file=sys.stderr),
    )
    pha, composite = _matte(engine, photo)
    panels = [
        Panel(image=photo, label="input"),
        Panel(image=pha, label="alpha"),
        Panel(image=composite, label="composite"),
    ]
    return write_sheet(
        [panels], path, cell_width=420, caption=f"Photograph: {ASTRONAUT.credit}.", title_px=14
    )


def _matte(engine: Engine, photo: Image) -> tuple[Image, Image]:
    from rvm_trt.runtime.session import MattingSession

    with MattingSession(engine, outputs=("pha", "composite"), background=BACKGROUND) as session:
        # The network is made for video: its states take a few frames to settle on a still picture.
        for _ in range(_SETTLING_FRAMES):
            matte = session.process(photo)
        return matte.pha.copy(), matte.composite.copy()


if __name__ == "__main__":
    sys.exit(main())
