"""Frames out of a folder of images, or of one image, with Pillow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.source import IMAGE_SUFFIXES, Clip, Frame, Source

# EXIF orientations that exchange width and height.
_TURNED = (5, 6, 7, 8)
_READ_ERRORS = (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError)


class ImageSource(Source):
    """The images of a folder in natural order, or one image. Opening compares the sizes of all.

    Args:
        path: a folder or an image file. Hidden files and other suffixes are passed over.
        rate: frames per second.

    Raises:
        VideoError: no images, one that does not open, or images of several sizes.
    """

    def __init__(self, path: Path, *, rate: Fraction) -> None:
        self._files = natural_sort(path) if path.is_dir() else [path]
        if not self._files:
            raise VideoError(
                f"input {str(path)!r}",
                got="a folder without images",
                expected=f"files that end in {', '.join(IMAGE_SUFFIXES)}",
                todo="Check the path.",
            )
        sizes = [_size(file) for file in self._files]
        for file, size in zip(self._files, sizes, strict=True):
            _check_size(file, size, expected=sizes[0], first=self._files[0])
        super().__init__(
            Clip(
                path=path,
                width=sizes[0][0],
                height=sizes[0][1],
                rate=rate,
                time_base=1 / rate,
                frame_count=len(self._files),
            )
        )

    def __iter__(self) -> Iterator[Frame]:
        """Yields the images as RGB; raises `VideoError` naming one that does not decode."""
        for index, file in enumerate(self._files):
            yield Frame(
                index=index, image=read_rgb(file), pts=index, time_base=self.clip.time_base, duration=1
            )


def natural_sort(folder: Path) -> list[Path]:
    """Returns the images of a folder, numbers in their names compared as numbers."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith(".")]
    return sorted(files, key=lambda file: (_natural_key(file.name), file.name))


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Returns an image as a C-contiguous ``(H, W, 3)`` uint8 RGB array, upright. Alpha is dropped.

    Raises:
        VideoError: the image does not decode.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            eight = _eight_bits(upright) if upright.mode.startswith("I") else upright
            # By way of RGBA, which undoes premultiplied alpha and keeps the palette's colours.
            straight = eight.convert("RGBA") if eight.mode in ("P", "PA", "LA", "La", "RGBa") else eight
            return np.ascontiguousarray(straight.convert("RGB"))
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error


def _eight_bits(image: Image.Image) -> Image.Image:
    # Modes I;16 and I hold 16-bit PNG and TIFF, which Pillow would clip at 255 instead of scaling.
    return Image.fromarray((np.asarray(image).astype(np.float64) / 257 + 0.5).clip(0, 255).astype(np.uint8))


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in _TURNED
            return (height, width) if turned else (width, height)
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error


def _check_size(file: Path, size: tuple[int, int], *, expected: tuple[int, int], first: Path) -> None:
    if size != expected:
        raise VideoError(
            f"input {str(file)!r}",
            got=f"{size[0]}x{size[1]}",
            expected=f"{expected[0]}x{expected[1]}, as {first.name!r}",
            todo="All images of a folder must have one size: resize or move this one.",
        )


def _unreadable(path: Path, error: Exception) -> VideoError:
    return VideoError(
        f"input {str(path)!r}",
        got=f"an image that does not open ({error})",
        expected="a whole image file",
        todo="Replace or remove it.",
    )


def _natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.split(r"(\d+)", name.lower())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)
