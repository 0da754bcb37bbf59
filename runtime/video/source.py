"""Video in: what a source is, and `open_source`, which opens a video file, an image or a folder of images."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import DependencyError, OptionError, VideoError
from rvm_trt.runtime.video.camera import is_camera
from rvm_trt.runtime.video.input_options import InputOptions

STANDARD_INPUT = "-"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
EXR_SUFFIX = ".exr"
LARGEST_SIDE = 16384
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
        warm_up: whether it only sets the network's states: it is matted, but not written.
    """

    index: int
    image: npt.NDArray[np.uint8]
    pts: int
    time_base: Fraction
    duration: int = 0
    warm_up: bool = False


@dataclass(frozen=True, kw_only=True)
class ClipColour:
    """What the colours of a source mean, by FFmpeg's numbers; BT.709 by default.

    Attributes:
        primaries: AVColorPrimaries, such as 9 for BT.2020.
        transfer: AVColorTransferCharacteristic, such as 16 for PQ and 18 for HLG.
        matrix: AVColorSpace, such as 9 for BT.2020.
    """

    primaries: int = 1
    transfer: int = 1
    matrix: int = 1


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What is known of a source before it is read.

    Attributes:
        path: the file or folder.
        width, height: size of the upright frames in pixels.
        rate: frames per second, exact (``30000/1001``); the average where it varies.
        time_base: the unit of the timestamps, in seconds.
        frame_count: number of frames, an estimate; None where unknown.
        start: source time in seconds that becomes zero in what is written: the earliest timestamp of any
            stream, or of the first frame that is written.
        stop: source time in seconds at which the sound ends; None for its own end.
        pixel_aspect: width of a pixel over its height.
        has_audio: whether there is sound.
        colour: what the frames' colours mean, for the tags of what is written.
        live: whether it is a camera or a stream: endless, and it cannot be iterated twice.
        url: where ``path`` is no file, what to open again to read the sound.
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
    colour: ClipColour = ClipColour()
    live: bool = False
    stop: Fraction | None = None
    url: str | None = None


class Source(ABC):
    """Frames from a file or folder. Holds nothing open: each iteration opens the file and closes it again.

    Attributes:
        clip: size, rate and length.
        skipped_frames: pieces that did not decode in the latest iteration, so far.
        notices: one-line remarks for the user, from opening and from the latest iteration.
        warnings: remarks on what is missing at the end, which are told even where others are not wanted.
    """

    warnings: tuple[str, ...] = ()

    def __init__(self, clip: Clip, *, notices: Iterable[str] = ()) -> None:
        self.clip = clip
        self.skipped_frames = 0
        self.notices = list(notices)

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

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it reads, in order, each once."""
        return (self.clip.path,)

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames in the order they are shown; raises `VideoError` where that is impossible."""
        return self.frames_from(0)

    @abstractmethod
    def frames_from(self, index: int) -> Iterator[Frame]:
        """Yields the frames from one index on, exactly those that an iteration gives from there.

        Raises:
            VideoError: a frame cannot be read.
        """

    def mark(self, index: int, time: Fraction) -> None:  # noqa: ARG002
        """Says when a frame is shown, in seconds, as an earlier reading gave it: the way there may be shorter then."""
        return  # Nothing is gained where every frame is as near as the first.

    def close(self) -> None:
        """Ends an iteration that waits for a live input. Any thread may call it, and more than once."""
        return  # Files are never waited for.

    def notice(self, text: str) -> None:
        """Adds a remark for the user, once."""
        if text not in self.notices:
            self.notices.append(text)


def open_source(
    path: str | os.PathLike[str],
    *,
    rate: Fraction | int | str | None = None,
    threads: int = 0,
    options: InputOptions | None = None,
) -> Source:
    """Opens a video file, an image, a folder of images, a numbered sequence, a camera, standard input or a URL.

    Frames come upright (the container's rotation is applied) as RGB; colour conversion is described at
    `rvm_trt.runtime.video.colour.ToRgb`. Alpha of images is ignored: their RGB is taken as it is stored.
    Damaged pieces are skipped and counted.

    Args:
        path: a file; a folder, whose images come in natural order (``2.png`` before ``10.png``); a pattern such
            as ``shot.%04d.png`` or ``shot.####.exr``; a camera such as ``/dev/video0``; ``-`` for a video on
            standard input; or a URL that starts with ``http``, ``https``, ``rtsp``, ``rtsps``, ``udp`` or ``srt``.
        rate: frames per second of images (30 where None), such as ``25`` or ``"30000/1001"``. A video has its own.
        threads: decoder threads; 0 for one per core.
        options: which part to read, and what to do with interlaced video, HDR and missing images.

    Raises:
        VideoError: missing, empty, not a video, without pictures, HDR, images of several sizes or with missing
            numbers, nothing in the range.
        OptionError: ``rate`` is not a positive number, or is given for a video.
        DependencyError: PyAV or Pillow is not installed.
    """
    options = options or InputOptions()
    name = os.fspath(path)
    if name == STANDARD_INPUT or "://" in name:
        _refuse_rate(rate)
        _require_video()
        from rvm_trt.runtime.video.streams import open_stream

        return open_stream(name, threads=threads, options=options)
    if is_camera(name):
        _refuse_rate(rate)
        from rvm_trt.runtime.video.camera_source import CameraSource

        return CameraSource(name, options=options)
    target = Path(path)
    if _is_images(target):
        require("PIL", package="pillow", stage="image input")
        from rvm_trt.runtime.video.images import open_images

        return open_images(
            target, rate=DEFAULT_IMAGE_RATE if rate is None else parse_rate(rate), options=options
        )
    _check_file(target)
    _refuse_rate(rate)
    _require_video()
    from rvm_trt.runtime.video.decode import VideoSource

    return VideoSource(target, path=target, subject=_subject(target), threads=threads, options=options)


def _is_images(target: Path) -> bool:
    try:
        return target.is_dir() or target.suffix.lower() in (*IMAGE_SUFFIXES, EXR_SUFFIX)
    except (OSError, ValueError):  # a name that no file can have; the same question comes again
        return False


def _check_file(target: Path) -> None:
    subject = _subject(target)
    try:
        size = target.stat().st_size
        is_file, is_pipe = target.is_file(), target.is_fifo()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise VideoError(
            subject,
            got="nothing there" if missing else f"a path that cannot be opened ({error})",
            expected="a video file or a folder of images",
            todo="Check the path.",
        ) from error
    if not is_file:
        raise VideoError(
            subject,
            got="a named pipe" if is_pipe else "something that is not a plain file",
            expected="a video file",
            todo=f"Give it on standard input: rvm-trt matte - < {target}" if is_pipe else "Check the path.",
        )
    if not size:
        raise VideoError(
            subject, got="an empty file (0 bytes)", expected="a video file", todo="Copy the file again."
        )


def _refuse_rate(rate: Fraction | int | str | None) -> None:
    if rate is not None:
        raise OptionError(
            "rate", got=f"{rate} for a video", expected="a rate for image folders only", todo="Leave it out."
        )


def _require_video() -> None:
    require("av", package="av", stage="video input")
    require("numba", package="numba", stage="video input")


def _subject(target: Path) -> str:
    return f"input {str(target)!r}"


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
