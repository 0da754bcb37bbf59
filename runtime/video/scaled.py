"""A clip's frames at another size, for checks and measurements: scaled to cover the frame, and cut to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.source import open_source, require


def scaled_frames(
    clip: str | os.PathLike[str],
    *,
    width: int,
    height: int,
    count: int | None = None,
    there_and_back: bool = False,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields a clip's first frames as (height, width, 3) uint8 RGB arrays of their own, bicubic, pixels made square.

    Args:
        clip: a video file, an image or a folder of images.
        width, height: size in pixels.
        count: at most so many frames; None for all.
        there_and_back: whether a clip of fewer frames goes on backwards, and forwards again, without a cut, until there
            are ``count``. It is held in memory then, at its own size.

    Raises:
        VideoError: the clip cannot be read, or has no frames.
        DependencyError: the video libraries are not installed.
    """
    source = open_source(clip)
    require("PIL", package="pillow", stage="scaling of frames")
    from PIL import Image, ImageOps

    # The clip as it is shown, with pixels that may not be square, is what has to cover the frame.
    stretch = float(source.clip.pixel_aspect)
    number = 0
    images: Iterable[npt.NDArray[np.uint8]] = (frame.image for frame in source)
    if there_and_back and count is not None and (source.frame_count or 0) < count:
        images = _there_and_back(images)
    for number, image in enumerate(islice(images, count), start=1):  # noqa: B007 - counted after the loop
        picture = Image.fromarray(image)
        if stretch != 1.0:
            picture = picture.resize(
                (round(picture.width * stretch), picture.height), Image.Resampling.BICUBIC
            )
        yield np.array(ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC))
    if number == 0:
        raise VideoError(
            f"input {str(clip)!r}", got="no frames", expected="at least one", todo="Give another clip."
        )


def _there_and_back(images: Iterable[npt.NDArray[np.uint8]]) -> Iterator[npt.NDArray[np.uint8]]:
    held = []
    for image in images:
        held.append(image)
        yield image
    # Neither end twice in a row: that would be a still frame.
    yield from cycle([*held[-2::-1], *held[1:]] or held)
