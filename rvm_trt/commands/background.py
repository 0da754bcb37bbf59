"""The background that a user names: a colour, an image, a video, the source out of focus, or none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import OptionError, VideoError
from rvm_trt.files import sha256_file
from rvm_trt.options import choice
from rvm_trt.runtime.video.input_options import Hdr
from rvm_trt.runtime.video.source import EXR_SUFFIX, IMAGE_SUFFIXES, require

if TYPE_CHECKING:
    from rvm_trt.runtime.video.backdrop import Backdrop
    from rvm_trt.runtime.video.fitting import Fit, Fitting

Colour = tuple[int, int, int]
Background = Colour | npt.NDArray[np.uint8]

# Green is that of the original project, easier on the eye than a pure one.
NAMES: Mapping[str, Colour] = {
    "green": (120, 255, 155),
    "blue": (0, 0, 255),
    "red": (255, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "gray": (128, 128, 128),
    "black": (0, 0, 0),
}
TRANSPARENT = "transparent"
DEFAULT_BLUR = 24.0
LEAST_BLUR, MOST_BLUR = 4.0, 200.0
_SUBJECT = "--background"
_BLUR = r"blur(?::(.*))?"
# What Pillow opens and `open_source` plays: always, and where it holds several pictures.
_VIDEOS, _ANIMATIONS = ("FLI", "MPEG"), ("GIF", "PNG", "WEBP")


def parse_background(
    text: str,
    *,
    width: int,
    height: int,
    fit: str | Fit = "cover",
    around: Colour = (0, 0, 0),
    pixel_aspect: Fraction = Fraction(1),
    start: Fraction = Fraction(0),
    hdr: Hdr = Hdr.REFUSE,
    threads: int = 0,
) -> Background | Backdrop | None:
    """Returns what is behind the person: one picture for all frames, what gives one for each, or None for nothing.

    A word or a colour comes before a file of that name; ``./blur`` is the file.

    Args:
        text: ``#78ff9b``, ``120,255,155`` or a name; ``blur`` or ``blur:R`` for the source blurred by R pixels where
            its shorter side has 1080; ``transparent``; or the path of an image or of a video, which is looped.
        width, height: frame size in pixels.
        fit: how an image or a video of other proportions takes its place: ``cover`` or ``contain``.
        around: what a contained picture leaves free, and what is behind an image where that is transparent.
        pixel_aspect: width of a pixel of the frames over its height.
        start: time of the frames in seconds at which a video begins.
        hdr: whether an HDR video is refused, or its codes used as stored.
        threads: for what works on each frame; 0 for one per core.

    Returns:
        ``(R, G, B)`` in 0..255, or a uint8 array ``(height, width, 3)`` RGB, upright; a `Backdrop`, to be closed; or
        None for ``transparent``.

    Raises:
        OptionError: it is nothing of that, or the image or video does not open.
        DependencyError: Pillow, PyAV or numba is not installed.
    """
    text = text.strip()
    if text.lower() == TRANSPARENT:
        return None
    if (radius := _blur_radius(text)) is not None:
        return _blurred(radius, width=width, height=height, threads=threads)
    colour = _colour(text)
    if colour is not None:
        return colour
    path = _existing(text)
    if path is None:
        raise OptionError(
            _SUBJECT,
            got=repr(text),
            expected=f"a colour as '#78ff9b' or '120,255,155', one of {', '.join(NAMES)}, 'blur', "
            f"{TRANSPARENT!r}, or an image or video file",
            todo="Check the spelling or the path.",
        )
    for module, package in (("PIL", "pillow"), ("av", "av")):
        require(module, package=package, stage="background")
    from rvm_trt.runtime.video.fitting import Fit, Fitting

    fitting = Fitting(
        width=width,
        height=height,
        fit=choice(Fit, fit, subject="--fit"),
        around=around,
        pixel_aspect=pixel_aspect,
        threads=threads,
    )
    if _is_image(path):
        return fitting.place(_read_image(path, around))
    return _video(path, fitting, start=start, hdr=hdr, threads=threads)


def parse_colour(text: str, *, subject: str) -> Colour:
    """Returns (R, G, B) in 0..255 from ``#78ff9b``, ``120,255,155`` or a name; raises `OptionError` otherwise."""
    colour = _colour(text.strip())
    if colour is None:
        raise OptionError(
            subject,
            got=repr(text),
            expected=f"a colour as '#78ff9b' or '120,255,155', or one of {', '.join(NAMES)}",
            todo="Check the spelling.",
        )
    return colour


def is_word(text: str) -> bool:
    """Whether a background is named by a word or a colour, and not by a file."""
    text = text.strip()
    is_effect = text.lower() == TRANSPARENT or re.fullmatch(_BLUR, text, re.IGNORECASE) is not None
    return is_effect or _colour(text) is not None


def background_words(text: str) -> str:
    """Returns what a background is, in words that differ where its pictures may: of a file, its contents.

    Args:
        text: what `parse_background` has taken.
    """
    text = text.strip()
    path = None if is_word(text) else _existing(text)
    return text if path is None else f"{path.name} with SHA-256 {sha256_file(path)[:16]}"


def _colour(text: str) -> Colour | None:
    if text.lower() in NAMES:
        return NAMES[text.lower()]
    if match := re.fullmatch(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text):
        red, green, blue = (int(part, 16) for part in match.groups())
        return red, green, blue
    if match := re.fullmatch(r"(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})", text):
        red, green, blue = (int(part) for part in match.groups())
        if max(red, green, blue) <= 255:
            return red, green, blue
    return None


def _blur_radius(text: str) -> float | None:
    """Returns the radius of a blur, None where none is meant."""
    match = re.fullmatch(_BLUR, text, re.IGNORECASE)
    if match is None:
        return None
    if match[1] is None:
        return DEFAULT_BLUR
    radius = float(match[1]) if re.fullmatch(r"\d+(\.\d+)?", match[1]) else 0.0
    if not LEAST_BLUR <= radius <= MOST_BLUR:
        raise OptionError(
            _SUBJECT,
            got=repr(text),
            expected=f"'blur', or 'blur:R' with a radius R from {LEAST_BLUR:.0f} to {MOST_BLUR:.0f}",
            todo="Give the radius in pixels of a frame whose shorter side has 1080.",
        )
    return radius


def _blurred(radius: float, *, width: int, height: int, threads: int) -> Backdrop:
    from rvm_trt.runtime.bands import available_threads

    require("numba", package="numba", stage="blurred background")
    from rvm_trt.runtime.video.blur import BlurBackdrop

    return BlurBackdrop(radius=radius, width=width, height=height, threads=threads or available_threads())


def _existing(text: str) -> Path | None:
    """Returns the file of a name, None where there is none."""
    try:
        path = Path(text).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError):  # a name that is too long, or the home of nobody
        return None


def _video(path: Path, fitting: Fitting, *, start: Fraction, hdr: Hdr, threads: int) -> Backdrop:
    from rvm_trt.runtime.video.backdrop import VideoBackdrop

    try:
        return VideoBackdrop(path, fitting, start=start, hdr=hdr, threads=threads)
    except VideoError as error:
        raise OptionError(
            _SUBJECT,
            got=f"{str(path)!r}, which does not open as an image or a video ({error.got})",
            expected=f"an image or {error.expected}",
            todo=error.todo,
        ) from error


def _is_image(path: Path) -> bool:
    """Whether a file is a still image by what it holds or, where it does not open as one, by its suffix."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            moves = image.format in _ANIMATIONS and getattr(image, "is_animated", False)
            return not moves and image.format not in _VIDEOS
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return path.suffix.lower() in (*IMAGE_SUFFIXES, EXR_SUFFIX)


def _read_image(path: Path, behind: Colour) -> npt.NDArray[np.uint8]:
    """Returns an image as (h, w, 3) uint8 RGB, upright, over a colour where it is transparent."""
    from PIL import Image, ImageOps

    from rvm_trt.runtime.video.still import read_rgb

    try:
        if path.suffix.lower() != EXR_SUFFIX:  # which Pillow does not know
            with Image.open(path) as image:
                if image.has_transparency_data:
                    upright = ImageOps.exif_transpose(image).convert("RGBA")
                    under = Image.new("RGBA", upright.size, (*behind, 255))
                    return np.asarray(Image.alpha_composite(under, upright).convert("RGB"))
        return read_rgb(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, VideoError) as error:
        raise OptionError(
            _SUBJECT,
            got=f"{str(path)!r}, which does not open as an image",
            expected="a PNG, JPEG or other image",
            todo="Convert it, or give a colour.",
        ) from error
