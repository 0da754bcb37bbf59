"""Matte frames from anywhere: build or reuse an engine, then feed uint8 frames and use the mattes.

Run: python examples/matte_frames.py photo.jpg
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

from rvm_trt import MattingSession, Profile
from rvm_trt.engines.provision import provide_engine


def main(path: str) -> None:
    photo = np.asarray(Image.open(path).convert("RGB"))
    profile = Profile.for_size(width=photo.shape[1], height=photo.shape[0])
    engine = provide_engine(profile, progress=print)
    with MattingSession(engine, outputs=("rgba", "pha")) as session:
        for _ in range(4):  # a photograph is a video that stands still: the states settle in a few frames
            matte = session.process(photo)
        Image.fromarray(matte.rgba).save("cut-out.png")
        print(f"cut-out.png: {(matte.pha > 127).mean():.0%} of the picture is person")


if __name__ == "__main__":
    main(sys.argv[1])
