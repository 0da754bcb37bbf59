"""One image file as RGB: with Pillow, and OpenEXR with FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.source import EXR_SUFFIX, LARGEST_SIDE

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

READ_ERRORS = (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError)
# EXIF orientations that exchange width and height.
_TURNED = (5, 6, 7, 8)


def image_size(path: Path) -> tuple[int, int]:
    """Returns the upright ``(width, height)`` of an image without decoding it; raises `VideoError`."""
    try:
        width, height = _exr_size(path) if path.suffix.lower() == EXR_SUFFIX else _pillow_size(path)
    except READ_ERRORS as error:
        raise unreadable(path, error) from error
    if not width or not height:
        raise unreadable(path, ValueError("no size"))
    if max(width, height) > LARGEST_SIDE:
        raise VideoError(
            f"input {str(path)!r}",
            got=f"{width}x{height}",
            expected=f"at most {LARGEST_SIDE} pixels a side",
            todo="Scale the image down.",
        )
    return width, height


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Returns an image as a C-contiguous ``(H, W, 3)`` uint8 RGB array, upright. Alpha is dropped.

    Sixteen bits are reduced to eight. OpenEXR holds linear light, and is given the curve of sRGB; what is
    brighter than white becomes white.

    Raises:
        VideoError: the image does not decode.
    """
    try:
        if path.suffix.lower() == EXR_SUFFIX:
            return _read_exr(path)
        with Image.open(path) as image:
            return to_rgb(ImageOps.exif_transpose(image))
    except READ_ERRORS as error:
        raise unreadable(path, error) from error


def to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Returns an open image as it is stored as a C-contiguous ``(H, W, 3)`` uint8 RGB array.

    Raises:
        ValueError: it holds floating-point numbers, whose white is unknown.
    """
    if image.mode == "F":
        raise ValueError("floating-point numbers")
    eight = _eight_bits(image) if image.mode.startswith("I") else image
    # By way of RGBA, which undoes premultiplied alpha and keeps the palette's colours.
    straight = eight.convert("RGBA") if eight.mode in ("P", "PA", "LA", "La", "RGBa") else eight
    return np.ascontiguousarray(straight.convert("RGB"))


def unreadable(path: Path, error: Exception) -> VideoError:
    """Returns the error for an image that does not open."""
    return VideoError(
        f"input {str(path)!r}",
        got=f"an image that does not open ({error})",
        expected="a whole image file",
        todo="Replace or remove it.",
    )


def _eight_bits(image: Image.Image) -> Image.Image:
    # Modes I;16 and I hold 16-bit PNG and TIFF, which Pillow would clip at 255 instead of scaling.
    return Image.fromarray((np.asarray(image).astype(np.float64) / 257 + 0.5).clip(0, 255).astype(np.uint8))


def _pillow_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        width, height = image.size
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in _TURNED
        return (height, width) if turned else (width, height)


@contextmanager
def _opened_exr(path: Path) -> Iterator[InputContainer]:
    import av

    from rvm_trt.runtime.video.container import open_input

    try:
        with open_input(path) as container:
            yield container
    except av.FFmpegError as error:
        raise ValueError(error.strerror) from error


def _exr_size(path: Path) -> tuple[int, int]:
    with _opened_exr(path) as container:
        context = container.streams.video[0].codec_context
        return context.width, context.height


def _read_exr(path: Path) -> npt.NDArray[np.uint8]:
    with _opened_exr(path) as container:
        frame = next(container.decode(video=0), None)
        if frame is None:
            raise ValueError("no picture that decodes")
        colours = _colours(frame)
    # Half floats, which most files hold anyway, so that a table does the curve.
    with np.errstate(over="ignore"):
        codes = np.ascontiguousarray(colours, np.float32).astype(np.float16).view(np.uint16)
    return np.ascontiguousarray(_srgb_table()[codes])


def _colours(frame: av.VideoFrame) -> npt.NDArray[Any]:
    """Returns the ``(H, W, 3)`` floats of a frame; grey three times."""
    name, planes = frame.format.name, list(frame.planes)
    components = frame.format.components
    dtype = np.dtype(f"{'>' if frame.format.is_big_endian else '<'}f{components[0].bits // 8}")
    step = dtype.itemsize * (len(components) if len(planes) == 1 else 1)
    buffers: list[Any] = planes  # Planes offer the buffer protocol, which their type hints leave out.
    views: list[npt.NDArray[Any]] = [
        np.ndarray((frame.height, frame.width), dtype, buffer=buffer, strides=(buffer.line_size, step))
        for buffer in buffers
    ]
    if name.startswith("gbr"):
        return np.stack([views[2], views[0], views[1]], axis=-1)
    if name.startswith(("gray", "ya")):
        return np.stack([views[0]] * 3, axis=-1)
    raise ValueError(f"pixels as {name}")


def _srgb_table() -> npt.NDArray[np.uint8]:
    linear = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    linear = np.nan_to_num(linear, nan=0.0).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * curved + 0.5).astype(np.uint8)
