"""The checks of an output's place, which leave no trace."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from rvm_trt.errors import VideoError
from rvm_trt.files import PARTIAL, shortened

_LONGEST_NAME = 200
_NUMBERED = re.compile(r"\d{6,}\.(png|exr)")


def partial_folder(output: Path) -> Path:
    """Returns where a job keeps what is to become an output: a hidden folder beside it."""
    name = output.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        name = f"{shortened(name, _LONGEST_NAME - 17)}-{digest}"
    return output.parent / f".{name}{PARTIAL}"


def check_place(
    target: Path, *, source: str | os.PathLike[str] | None, is_folder: bool, overwrite: bool
) -> None:
    """Raises `VideoError` where an output cannot or must not be written.

    Args:
        target: the file or folder to write.
        source: the input, which it must not be.
        is_folder: whether it is a folder of numbered images.
        overwrite: whether something there may be replaced; of folders, only those of numbered images.
    """
    _check_distinct(target, source)
    check_existing(target, is_folder=is_folder, overwrite=overwrite)
    _check_parent(target)


def check_standard_output() -> None:
    """Raises `VideoError` where standard output is a terminal or closed: raw frames are for another program."""
    try:
        mode = os.fstat(1).st_mode
    except OSError:
        raise _error("-", "a closed standard output", "a pipe or a file", "Leave it open.") from None
    if stat.S_ISCHR(mode) and os.isatty(1):
        raise _error(
            "-",
            "a terminal on standard output",
            "a pipe or a file",
            "Pipe it into a program that reads raw frames, such as ffmpeg, or name a file.",
        )


def real(path: str | os.PathLike[str]) -> Path:
    """Returns a path without links. Unlike `Path.resolve`, it takes a link to itself for a name."""
    return Path(os.path.realpath(path))


def would_replace(target: Path, other: str | os.PathLike[str]) -> bool:
    """Whether an output takes the place of something that is read: of the same file, or of a folder that it is in."""
    inside, resolved = real(other), real(target)
    try:
        same = target.samefile(other)
    except OSError:  # one of them is not there
        same = False
    return same or resolved == inside or (target.is_dir() and resolved in inside.parents)


def _check_distinct(target: Path, source: str | os.PathLike[str] | None) -> None:
    if source is not None and would_replace(target, source):
        raise _error(target, "the input itself", "another place", "Choose another output path.")


def check_existing(target: Path, *, is_folder: bool, overwrite: bool) -> None:
    """Raises `VideoError` where something stands in an output's place that must not be replaced; see `check_place`."""
    if not (target.exists() or target.is_symlink()):
        return
    if target.is_dir() != is_folder:
        got = "a folder of that name" if target.is_dir() else "a file of that name"
        raise _error(target, got, "a free path", "Choose another output path.")
    if is_folder:
        strangers = [f.name for f in target.iterdir() if not _NUMBERED.fullmatch(f.name)]
        if strangers:
            raise _error(
                target,
                f"a folder that holds other files ({strangers[0]!r})",
                "a new folder, or one of numbered PNG or EXR images only",
                "Choose another folder: replacing this one would delete them.",
            )
        if not any(target.iterdir()):
            return
    if not overwrite:
        todo = "Add --force (overwrite=True) to replace it."
        if _has_work(target):
            todo = "Add --force --resume to replace it by what an interrupted job has begun; --force alone drops that."
        raise _error(target, "something already there", "a free path", todo)


def _has_work(target: Path) -> bool:
    folder = partial_folder(target)
    return folder.is_dir() and any(folder.iterdir())


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
