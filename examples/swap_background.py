"""A video call in small: one frame in, one frame out at once, the background changed while it runs.

Run: python examples/swap_background.py talk.mp4
"""

from __future__ import annotations

import sys

import numpy as np

from rvm_trt import MattingSession, Profile
from rvm_trt.engines.provision import provide_engine
from rvm_trt.runtime.video.source import open_source


def main(path: str) -> None:
    source = open_source(path)
    profile = Profile.for_size(width=source.width, height=source.height)
    engine = provide_engine(profile, progress=print)
    picture = np.full((source.height, source.width, 3), (30, 60, 90), np.uint8)
    picture[source.height // 2 :] = (60, 90, 60)
    with MattingSession(engine, background=(120, 255, 155)) as session:
        for frame in source:
            if frame.index == 10:
                session.set_background(picture)
            matte = session.process(frame.image)
            # matte.composite is a view: hand it on before the next frame, or copy it.
            print(f"frame {frame.index}: mean level {matte.composite.mean():.1f}")


if __name__ == "__main__":
    main(sys.argv[1])
