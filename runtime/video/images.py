"""Frames out of images: a folder, a numbered sequence, one image, or an animated one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.sequences import is_pattern, matching, natural_key, with_gaps
from rvm_trt.runtime.video.source import EXR_SUFFIX, IMAGE_SUFFIXES, Clip, Frame, Source, require
from rvm_trt.runtime.video.still import READ_ERRORS, image_size, read_rgb, to_rgb, unreadable
from rvm_trt.runtime.video.window import Window

# What Pillow can play. GIF is FFmpeg's; other images of several pages are no animations.
_ANIMATED = ("PNG", "WEBP")
_MILLISECONDS = 1000


@dataclass(frozen=True, kw_only=True)
class Shot:
    """An image and its time.

    Attributes:
        file: the image.
        page: which picture of an animated image.
        pts, duration: when and how long it is shown.
    """

    file: Path
    page: int = 0
    pts: int
    duration: int


class ImageSource(Source):
    """Images one after the other.

    Args:
        clip: size, rate and time base.
        shots: what is shown.
        options: which part to read.

    Raises:
        VideoError: nothing is in the range.
    """

    def __init__(self, clip: Clip, shots: Sequence[Shot], *, options: InputOptions) -> None:
        super().__init__(clip)
        self._shots = list(shots)
        self._window = Window.of(options, origin=Fraction(0))
        if self._window is not None:
            self._window = self._trim(self._window)

    @property
    def files(self) -> tuple[Path, ...]:
        """The images that are in the range."""
        return tuple(dict.fromkeys(shot.file for shot in self._shots))

    def frames_from(self, index: int) -> Iterator[Frame]:
        """Yields the images from one on as RGB; raises `VideoError` naming one that does not decode."""
        shots = self._shots[index:]
        for number, (shot, image) in enumerate(zip(shots, self._images(shots), strict=True), start=index):
            unit = self.clip.time_base
            pts, duration, warm_up = shot.pts, shot.duration, False
            if self._window is not None:
                pts, duration = self._window.cut(pts, duration, unit)
                warm_up = not self._window.writes(shot.pts * unit, unit)
            yield Frame(
                index=number, image=image, pts=pts, time_base=unit, duration=duration, warm_up=warm_up
            )

    def _images(self, shots: Sequence[Shot]) -> Iterator[npt.NDArray[np.uint8]]:
        for shot in shots:
            yield read_rgb(shot.file)

    def _trim(self, asked: Window) -> Window:
        unit = self.clip.time_base
        spans = [(shot.pts * unit, (shot.pts + shot.duration) * unit) for shot in self._shots]
        window = asked.beginning_with(spans, unit)
        if window is None:
            raise asked.nothing_in_it(f"input {str(self.clip.path)!r}", origin=Fraction(0))
        begins = [begin for begin, _ in spans]
        given = [window.gives(begin, unit) and not window.ends(begin, unit) for begin in begins]
        count = sum(g and window.writes(begin, unit) for g, begin in zip(given, begins, strict=True))
        self._shots = [shot for shot, is_given in zip(self._shots, given, strict=True) if is_given]
        self.clip = replace(self.clip, start=window.zero, stop=window.stop, frame_count=count)
        return window


class AnimatedSource(ImageSource):
    """The pictures of one animated image."""

    def _images(self, shots: Sequence[Shot]) -> Iterator[npt.NDArray[np.uint8]]:
        try:
            with Image.open(self.clip.path) as image:
                for shot in shots:
                    image.seek(shot.page)
                    yield to_rgb(image)
        except (*READ_ERRORS, EOFError) as error:
            raise unreadable(self.clip.path, error) from error


def open_images(path: Path, *, rate: Fraction, options: InputOptions) -> ImageSource:
    """Opens a folder of images, a pattern such as ``shot.%04d.png``, or an image. Compares the sizes of all.

    Args:
        path: what to open. Of a folder, hidden files and those with other suffixes are passed over.
        rate: frames per second; an animated image has its own.
        options: which part to read, and what to do with missing numbers.

    Raises:
        VideoError: no images, one that does not open, missing numbers, images of several sizes, or nothing in
            the range.
    """
    subject = f"input {str(path)!r}"
    files = _files(path, subject)
    if files == [path] and (shots := _animation(path)):
        return _animated(path, shots, options)
    shown, remark = with_gaps(files, options.gaps, subject=subject)
    if any(file.suffix.lower() == EXR_SUFFIX for file in files):
        require("av", package="av", stage="OpenEXR input")
    width, height = _common_size(files)
    clip = Clip(path=path, width=width, height=height, rate=rate, time_base=1 / rate, frame_count=len(shown))
    shots = [Shot(file=file, pts=index, duration=1) for index, file in enumerate(shown)]
    source = ImageSource(clip, shots, options=options)
    if remark is not None:
        source.notice(remark)
    return source


def _files(path: Path, subject: str) -> list[Path]:
    if path.is_dir():
        names = [f for f in path.iterdir() if f.suffix.lower() in (*IMAGE_SUFFIXES, EXR_SUFFIX)]
        visible = [f for f in names if not f.name.startswith(".")]
        files = sorted(visible, key=lambda file: (natural_key(file.name), file.name))
        got, todo = "a folder without images", "Check the path."
        expected = f"files that end in {', '.join((*IMAGE_SUFFIXES, EXR_SUFFIX))}"
    else:
        files = [path] if path.is_file() else matching(path)
        got = "no file that fits the pattern" if is_pattern(path) else "nothing there"
        expected, todo = "an image, or several by a pattern such as shot.%04d.png", "Check the path."
    if not files:
        raise VideoError(subject, got=got, expected=expected, todo=todo)
    return files


def _common_size(files: Sequence[Path]) -> tuple[int, int]:
    first = image_size(files[0])
    for file in files[1:]:
        size = image_size(file)
        if size != first:
            raise VideoError(
                f"input {str(file)!r}",
                got=f"{size[0]}x{size[1]}",
                expected=f"{first[0]}x{first[1]}, as {files[0].name!r}",
                todo="All images of a folder must have one size: resize or move this one.",
            )
    return first


def _animation(path: Path) -> list[Shot]:
    """Returns the pictures of an animated image; none where it is no such image."""
    if path.suffix.lower() == EXR_SUFFIX:
        return []
    shots: list[Shot] = []
    try:
        with Image.open(path) as image:
            if image.format not in _ANIMATED or not getattr(image, "is_animated", False):
                return []
            # An APNG may have a first picture for programs that show no animations.
            for page in range(int(bool(image.info.get("default_image"))), getattr(image, "n_frames", 1)):
                image.seek(page)
                image.load()
                pts = shots[-1].pts + shots[-1].duration if shots else 0
                shots.append(Shot(file=path, page=page, pts=pts, duration=_milliseconds(image)))
    except (*READ_ERRORS, EOFError) as error:
        raise unreadable(path, error) from error
    return shots


def _milliseconds(image: Image.Image) -> int:
    # Browsers show pictures of no duration for a tenth of a second.
    return round(image.info.get("duration", 0)) or 100


def _animated(path: Path, shots: Sequence[Shot], options: InputOptions) -> AnimatedSource:
    width, height = image_size(path)
    rate = Fraction(len(shots) * _MILLISECONDS, sum(shot.duration for shot in shots))
    clip = Clip(
        path=path,
        width=width,
        height=height,
        rate=rate,
        time_base=Fraction(1, _MILLISECONDS),
        frame_count=len(shots),
    )
    return AnimatedSource(clip, shots, options=options)
