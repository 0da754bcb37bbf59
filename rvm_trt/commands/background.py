"""The background that a user names: a colour or an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import DependencyError, OptionError

Background = tuple[int, int, int] | npt.NDArray[np.uint8]

# Green is that of the original project, easier on the eye than a pure one.
NAMES: Mapping[str, tuple[int, int, int]] = {
    "green": (120, 255, 155),
    "blue": (0, 0, 255),
    "red": (255, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "gray": (128, 128, 128),
    "black": (0, 0, 0),
}


def parse_background(text: str, *, width: int, height: int) -> Background:
    """Returns a colour, or an image scaled to cover the frame and cut at its centre.

    Args:
        text: ``#78ff9b``, ``120,255,155``, a name, or the path of an image.
        width, height: frame size in pixels.

    Returns:
        ``(R, G, B)`` in 0..255, or a uint8 array ``(height, width, 3)`` RGB.

    Raises:
        OptionError: neither a colour nor an image that opens.
    """
    colour = _colour(text.strip())
    if colour is not None:
        return colour
    path = Path(text).expanduser()
    if path.is_file():
        return _image(path, width=width, height=height)
    raise OptionError(
        "--background",
        got=repr(text),
        expected=f"a colour as '#78ff9b' or '120,255,155', one of {', '.join(NAMES)}, or an image file",
        todo="Check the spelling or the path.",
    )


def _colour(text: str) -> tuple[int, int, int] | None:
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


def _image(path: Path, *, width: int, height: int) -> npt.NDArray[np.uint8]:
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise DependencyError("pillow", extra="video", stage="background image") from error
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.ascontiguousarray(ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OptionError(
            "--background",
            got=f"{str(path)!r}, which does not open as an image",
            expected="a PNG, JPEG or other image",
            todo="Convert it, or give a colour.",
        ) from error
