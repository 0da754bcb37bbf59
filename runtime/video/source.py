"""Video in: what a source is, and `open_source`, which opens a video file, an image or a folder of images."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import DependencyError, OptionError, VideoError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
DEFAULT_IMAGE_RATE = Fraction(30)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One upright frame.

    Attributes:
        index: its number in the source, from 0.
        image: ``(H, W, 3)`` uint8 RGB, C-contiguous; the frame owns it, and the source never writes to it
            again.
        pts: when it is shown, in units of ``time_base`` seconds.
        time_base: the source's unit of time.
        duration: how long it is shown, in units of ``time_base``; 0 where the source does not say.
    """

    index: int
    image: npt.NDArray[np.uint8]
    pts: int
    time_base: Fraction
    duration: int = 0


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What is known of a source before it is read.

    Attributes:
        path: the file or folder.
        width, height: size of the upright frames in pixels.
        rate: frames per second, exact (``30000/1001``); the average where it varies.
        time_base: the unit of the timestamps, in seconds.
        frame_count: number of frames, an estimate; None where unknown.
        start: the earliest timestamp of any stream in seconds, which becomes zero in what is written.
        pixel_aspect: width of a pixel over its height.
        has_audio: whether there is sound.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    frame_count: int | None
    start: Fraction = Fraction(0)
    pixel_aspect: Fraction = Fraction(1)
    has_audio: bool = False


class Source(ABC):
    """Frames from a file or folder. Holds nothing open: each iteration opens the file and closes it again.

    Attributes:
        clip: size, rate and length.
        skipped_frames: pieces that did not decode in the latest iteration, so far.
        notices: one-line remarks for the user, from opening and from the latest iteration.
    """

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.skipped_frames = 0
        self.notices: list[str] = []

    @property
    def width(self) -> int:
        """Width of the upright frames in pixels."""
        return self.clip.width

    @property
    def height(self) -> int:
        """Height of the upright frames in pixels."""
        return self.clip.height

    @property
    def rate(self) -> Fraction:
        """Frames per second, exact."""
        return self.clip.rate

    @property
    def frame_count(self) -> int | None:
        """Number of frames, an estimate; None where unknown."""
        return self.clip.frame_count

    @property
    def has_audio(self) -> bool:
        """Whether there is sound."""
        return self.clip.has_audio

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames in the order they are shown; raises `VideoError` where that is impossible."""

    def notice(self, text: str) -> None:
        """Adds a remark for the user, once."""
        if text not in self.notices:
            self.notices.append(text)


def open_source(
    path: str | os.PathLike[str], *, rate: Fraction | int | str | None = None, threads: int = 0
) -> Source:
    """Opens a video file, an image, or a folder of images (in natural order: ``2.png`` before ``10.png``).

    Frames come upright (the container's rotation is applied) as RGB; colour conversion is described at
    `rvm_trt.runtime.video.colour.ToRgb`. Alpha of images is ignored: their RGB is taken as it is stored.
    Damaged pieces are skipped and counted.

    Args:
        path: what to open.
        rate: frames per second of an image folder (30 where None), such as ``25`` or ``"30000/1001"``. A
            video has its own.
        threads: decoder threads; 0 for one per core.

    Raises:
        VideoError: missing, empty, not a video, without pictures, images of several sizes.
        OptionError: ``rate`` is not a positive number, or is given for a video.
        DependencyError: PyAV or Pillow is not installed.
    """
    target = Path(path)
    subject = f"input {str(path)!r}"
    if not target.exists():
        raise VideoError(
            subject,
            got="nothing there",
            expected="a video file or a folder of images",
            todo="Check the path.",
        )
    if target.is_dir() or target.suffix.lower() in IMAGE_SUFFIXES:
        require("PIL", package="pillow", stage="image input")
        from rvm_trt.runtime.video.images import ImageSource

        return ImageSource(target, rate=DEFAULT_IMAGE_RATE if rate is None else parse_rate(rate))
    if rate is not None:
        raise OptionError(
            "rate", got=f"{rate} for a video", expected="a rate for image folders only", todo="Leave it out."
        )
    if not target.is_file() or target.stat().st_size == 0:
        got = "an empty file (0 bytes)" if target.is_file() else "something that is not a plain file"
        raise VideoError(
            subject, got=got, expected="a video file", todo="Check the path, or copy the file again."
        )
    require("av", package="av", stage="video input")
    require("numba", package="numba", stage="video input")
    from rvm_trt.runtime.video.decode import VideoSource

    return VideoSource(target, threads=threads)


def parse_rate(value: Fraction | int | str) -> Fraction:
    """Returns a frame rate from ``25``, ``"29.97"`` or ``"30000/1001"``; raises `OptionError` otherwise."""
    try:
        rate = Fraction(value)
    except (ValueError, ZeroDivisionError, TypeError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise OptionError(
            "rate",
            got=repr(value),
            expected="frames per second above 0 and at most 1000, as 25 or 30000/1001",
            todo="Give another rate.",
        )
    return rate.limit_denominator(100_000)


def require(module: str, *, package: str, stage: str) -> None:
    """Raises `DependencyError` where a module of the extra ``video`` is not installed."""
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        raise DependencyError(package, extra="video", stage=stage) from error
