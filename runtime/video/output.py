"""What is written and where: the kinds of output, the encoder's options, and the checks before any work."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rvm_trt.errors import OptionError, VideoError
from rvm_trt.options import choice

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_PNG_NAME = re.compile(r"\d{6,}\.png")


class OutputKind(str, Enum):
    """Which picture of the matte is written."""

    COMPOSITE = "composite"
    PHA = "pha"
    RGBA = "rgba"
    FGR = "fgr"

    @property
    def channels(self) -> int:
        """Bytes per pixel: 1, 3 or 4."""
        return {OutputKind.PHA: 1, OutputKind.RGBA: 4}.get(self, 3)


class OutputFormat(str, Enum):
    """How the output is stored; the value is FFmpeg's name of the container."""

    MP4 = "mp4"
    MOV = "mov"
    MATROSKA = "matroska"
    WEBM = "webm"
    PNG_FOLDER = "png"

    @property
    def has_alpha(self) -> bool:
        """Whether it can hold ``rgba``."""
        return self in (OutputFormat.MOV, OutputFormat.WEBM, OutputFormat.PNG_FOLDER)


_SUFFIXES = {
    ".mp4": OutputFormat.MP4,
    ".m4v": OutputFormat.MP4,
    ".mov": OutputFormat.MOV,
    ".mkv": OutputFormat.MATROSKA,
    ".webm": OutputFormat.WEBM,
}
SUPPORTED = f"{', '.join(_SUFFIXES)}, or a folder (no suffix, or ending in '/') for PNG images"


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """How video is encoded.

    Attributes:
        crf: constant rate factor of H.264 and VP9: 0 best, 51 worst. None is visually lossless: 22 where ``preset`` is
            None, otherwise 18.
        preset: libx264's trade of speed for size, ``ultrafast`` to ``veryslow``. None is a choice of our own: what
            ``veryfast`` shows at 18, in a third of the time and half as large again (see benchmarks/LOG.md).
        threads: encoder and conversion threads; 0 for one per core.
        audio: whether sound is copied.

    Raises:
        OptionError: a value is out of range.
    """

    crf: int | None = None
    preset: str | None = None
    threads: int = 0
    audio: bool = True

    def __post_init__(self) -> None:
        crf = 0 if self.crf is None else self.crf
        for subject, value, high in (("crf", crf, 51), ("threads", self.threads, 256)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
                raise OptionError(
                    subject,
                    got=repr(value),
                    expected=f"an integer from 0 to {high}",
                    todo=f"Give another {subject}.",
                )
        if self.preset is not None and self.preset not in PRESETS:
            raise OptionError(
                "preset",
                got=repr(self.preset),
                expected=f"one of {', '.join(PRESETS)}",
                todo="Name one of these.",
            )


@dataclass(frozen=True, kw_only=True)
class OutputPlan:
    """A checked output.

    Attributes:
        path: the file or folder to write.
        format: how it is stored.
        kind: which picture.
    """

    path: Path
    format: OutputFormat
    kind: OutputKind


def plan_output(
    path: str | os.PathLike[str],
    *,
    kind: str | OutputKind | None = None,
    source: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> OutputPlan:
    """Checks an output before any work, and leaves no trace.

    Args:
        path: ``.mp4``, ``.mov``, ``.mkv`` or ``.webm``; a path without suffix, or one that ends in ``/``, is
            a folder of PNG images.
        kind: which picture; ``rgba`` for folders and ``composite`` for video where None.
        source: the input, which the output must not be.
        overwrite: whether something there may be replaced. A folder only if it holds nothing but numbered PNG
            images.

    Raises:
        VideoError: unsupported suffix, alpha where the format has none, already there, same as the input, or
            a folder that is missing or cannot be written to.
    """
    target = Path(path)
    fmt = _format(path)
    is_folder = fmt is OutputFormat.PNG_FOLDER
    default = OutputKind.RGBA if is_folder else OutputKind.COMPOSITE
    chosen = default if kind is None else choice(OutputKind, kind, subject="output kind")
    if chosen is OutputKind.RGBA and not fmt.has_alpha:
        raise _error(
            path,
            "kind 'rgba' for a format without alpha",
            ".mov (ProRes 4444), .webm (VP9) or a folder of PNG images",
            "Choose one of these, or write 'pha' and 'fgr' to two files.",
        )
    _check_distinct(target, source)
    _check_existing(target, is_folder=is_folder, overwrite=overwrite)
    _check_parent(target)
    return OutputPlan(path=target, format=fmt, kind=chosen)


def _format(path: str | os.PathLike[str]) -> OutputFormat:
    text = os.fspath(path)
    suffix = Path(text).suffix.lower()
    if text.endswith(("/", os.sep)) or not suffix:
        return OutputFormat.PNG_FOLDER
    if suffix not in _SUFFIXES:
        raise _error(path, f"the suffix {suffix!r}", SUPPORTED, "Choose one of these.")
    return _SUFFIXES[suffix]


def _check_distinct(target: Path, source: str | os.PathLike[str] | None) -> None:
    if source is None:
        return
    inside = Path(source).resolve()
    resolved = target.resolve()
    same = target.exists() and Path(source).exists() and target.samefile(source)
    if same or resolved == inside or (target.is_dir() and resolved in inside.parents):
        raise _error(target, "the input itself", "another place", "Choose another output path.")


def _check_existing(target: Path, *, is_folder: bool, overwrite: bool) -> None:
    if not (target.exists() or target.is_symlink()):
        return
    if target.is_dir() != is_folder:
        got = "a folder of that name" if target.is_dir() else "a file of that name"
        raise _error(target, got, "a free path", "Choose another output path.")
    if is_folder:
        strangers = [f.name for f in target.iterdir() if not _PNG_NAME.fullmatch(f.name)]
        if strangers:
            raise _error(
                target,
                f"a folder that holds other files ({strangers[0]!r})",
                "a new folder, or one of numbered PNG images only",
                "Choose another folder: replacing this one would delete them.",
            )
        if not any(target.iterdir()):
            return
    if not overwrite:
        raise _error(
            target, "something already there", "a free path", "Add --force (overwrite=True) to replace it."
        )


def _check_parent(target: Path) -> None:
    parent = target.parent
    if not parent.is_dir():
        raise _error(target, f"no folder {str(parent)!r}", "an existing folder", "Make the folder first.")
    try:
        # Asking the file system is the only sure test: permission bits say nothing of read-only mounts.
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise _error(
            target, f"{error.strerror}", "a folder that can be written to", "Choose another folder."
        ) from error


def _error(path: str | os.PathLike[str], got: str, expected: str, todo: str) -> VideoError:
    return VideoError(f"output {str(path)!r}", got=got, expected=expected, todo=todo)
