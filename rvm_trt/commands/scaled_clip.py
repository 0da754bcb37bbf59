"""A clip's frames scaled to a profile, for checks: it fills the frame, and what stands over is cropped."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rvm_trt.profile import Profile


def scaled_frames(clip: str | os.PathLike[str], profile: Profile) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields a clip's frames as (H, W, 3) uint8 RGB of the profile's size.

    Raises:
        VideoError: the clip cannot be read.
        DependencyError: the video libraries are not installed.
    """
    from rvm_trt.runtime.video.source import open_source

    source = open_source(clip)
    from PIL import Image, ImageOps

    for frame in source:
        image = Image.fromarray(frame.image)
        fitted = ImageOps.fit(image, (profile.width, profile.height), Image.Resampling.BICUBIC)
        yield np.asarray(fitted)
