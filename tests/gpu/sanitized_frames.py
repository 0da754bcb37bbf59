"""A few frames through the engine in a folder, to be run under a sanitizer: python sanitized_frames.py <folder>."""

from __future__ import annotations

import sys

import numpy as np
from gpu_frames import mattes, running

from rvm_trt.engines.artifact import Engine
from rvm_trt.runtime.cuda_driver import Driver
from rvm_trt.runtime.cuda_gpu import Gpu


def main() -> None:
    """Runs noise through the engine: what is wrong with memory does not depend on the picture."""
    engine = Engine.load(sys.argv[1])
    shape = (engine.profile.height, engine.profile.width, 3)
    generator = np.random.default_rng(3)
    frames = [generator.integers(0, 256, shape, np.uint8) for _ in range(6)]
    with Gpu(Driver.load()) as gpu, running(engine, gpu) as (schedule, _):
        schedule.set_background(image=frames[0])
        mattes(schedule, frames)
        schedule.restore(schedule.state())
        mattes(schedule, frames)


if __name__ == "__main__":
    main()
