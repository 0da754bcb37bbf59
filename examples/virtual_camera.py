"""Your webcam with another background, as a camera that any video call can choose.

Run: python examples/virtual_camera.py beach.jpg [/dev/video0]
Needs pyvirtualcam and a virtual camera: v4l2loopback on Linux, OBS on macOS and Windows.
"""

from __future__ import annotations

import sys

import av
import numpy as np
from PIL import Image

from rvm_trt import MattingSession, Profile
from rvm_trt.engines.provision import provide_engine

RATE = 30


def main(background: str, webcam: str = "/dev/video0") -> None:
    try:
        import pyvirtualcam
    except ImportError:
        sys.exit("No package pyvirtualcam. Run: pip install pyvirtualcam, and set a virtual camera up.")
    kind, options = ("v4l2", {"framerate": str(RATE)}) if webcam.startswith("/dev/") else (None, {})
    with av.open(webcam, format=kind, options=options) as camera:
        pictures = camera.streams.video[0]
        size = (pictures.width, pictures.height)
        engine = provide_engine(Profile.for_size(width=size[0], height=size[1]), progress=print)
        behind = np.asarray(Image.open(background).convert("RGB").resize(size))
        with (
            MattingSession(engine, background=behind) as session,
            pyvirtualcam.Camera(*size, RATE) as call,
        ):
            print(f"Choose {call.device} in your video call; Ctrl-C ends.")
            # The webcam sets the pace: waiting for the next tick as well would only add delay.
            for frame in camera.decode(pictures):
                call.send(session.process(frame.to_ndarray(format="rgb24")).composite)


if __name__ == "__main__":
    main(*sys.argv[1:3])
