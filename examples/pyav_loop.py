"""Decode, matte, encode, in a loop of your own: PyAV on both ends, timestamps kept, sound left out.

Run: python examples/pyav_loop.py talk.mp4 talk-green.mp4
(`rvm-trt matte` does this with sound, rotation, alpha and every error told; this is the part to build on.)
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator

import av
import numpy as np
import numpy.typing as npt

from rvm_trt import MattingSession, Profile
from rvm_trt.engines.provision import provide_engine


def main(source: str, target: str) -> None:
    with av.open(source) as video, av.open(target, "w") as result:
        pictures = video.streams.video[0]
        pictures.thread_type = "AUTO"
        encoder = result.add_stream("libx264", rate=pictures.average_rate, options={"crf": "18"})
        encoder.width, encoder.height, encoder.pix_fmt = pictures.width, pictures.height, "yuv420p"
        encoder.time_base = pictures.time_base
        shown: deque[int | None] = deque()  # run has one frame of latency: timestamps wait here

        def frames() -> Iterator[npt.NDArray[np.uint8]]:
            for frame in video.decode(pictures):
                shown.append(frame.pts)
                yield frame.to_ndarray(format="rgb24")

        engine = provide_engine(
            Profile.for_size(width=pictures.width, height=pictures.height), progress=print
        )
        with MattingSession(engine, background=(120, 255, 155)) as session:
            for matte in session.run(frames()):
                picture = av.VideoFrame.from_ndarray(matte.composite, format="rgb24")  # this copies
                picture.pts, picture.time_base = shown.popleft(), pictures.time_base
                result.mux(encoder.encode(picture))
        result.mux(encoder.encode(None))


if __name__ == "__main__":
    main(*sys.argv[1:3])
