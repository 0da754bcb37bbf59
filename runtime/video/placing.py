"""Putting a whole output in its place, and knowing it again there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

from rvm_trt.errors import VideoError
from rvm_trt.files import put_dir, put_file, temporary_dir, temporary_file
from rvm_trt.runtime.video.output import OutputPlan
from rvm_trt.runtime.video.output_place import check_existing


def put(written: Path, plan: OutputPlan) -> None:
    """Renames a whole file or folder to the name of its output.

    Raises:
        VideoError: something came there while the job ran that may not be replaced, or it cannot be renamed.
    """
    rename = put_dir if plan.format.is_folder else put_file
    try:
        check_free(plan)
        if not plan.format.is_folder:  # images are too many to wait for each
            _store(written)
        rename(written, plan.path, replace=plan.overwrite)
    except (FileExistsError, IsADirectoryError) as error:
        raise _taken(plan) from error
    except OSError as error:
        raise VideoError(
            f"output {str(plan.path)!r}",
            got=f"{error.strerror or error}",
            expected="to put it in its place",
            todo="Check the folder and its rights, and add --resume.",
        ) from error


def _store(file: Path) -> None:
    """Waits until a file is on the disk: what its job kept goes next, and a power failure may follow."""
    with file.open("rb") as content:
        os.fsync(content.fileno())


@contextmanager
def kept_by_nobody(plan: OutputPlan) -> Iterator[Path]:
    """Yields where an output is to be written, and puts it in its place at the end; on an error nothing stays.

    Raises:
        VideoError: it cannot be made; or something came to its place. Then it gets another name, which the error says.
    """
    make = temporary_dir if plan.format.is_folder else temporary_file
    with ExitStack() as stack:
        try:
            written = stack.enter_context(make(plan.path))
        except OSError as error:
            raise VideoError(
                f"output {str(plan.path)!r}",
                got=f"{error.strerror or error}",
                expected="room for it in its folder",
                todo="Check the free space and the rights of the folder.",
            ) from error
        yield written
        try:
            put(written, plan)
        except VideoError as error:
            try:
                spare = _give_spare_name(written, plan)
            except OSError:
                raise error from None  # the same reason keeps any name from it
            raise VideoError(
                error.subject,
                got=error.got,
                expected=error.expected,
                todo=f"It is left as it is. What was written is {str(spare)!r}.",
            ) from error


def check_free(plan: OutputPlan) -> None:
    """Raises `VideoError` where something came to an output's place that may not be replaced."""
    try:
        check_existing(plan.path, is_folder=plan.format.is_folder, overwrite=plan.overwrite)
    except VideoError as error:
        raise _taken(plan) from error


def seal_of(path: Path) -> dict[str, int] | None:
    """Returns what a whole output is known by, wherever it is renamed to; None where there is none.

    A file is known by its inode, size and time of change; a folder by its inode, and the number and size of its images.
    """
    try:
        facts = path.lstat()
        known = {"device": facts.st_dev, "inode": facts.st_ino}
        if stat.S_ISDIR(facts.st_mode):
            return known | sizes(path.iterdir())
    except OSError:
        return None
    if not stat.S_ISREG(facts.st_mode):
        return None
    return known | {"size_bytes": facts.st_size, "changed_ns": facts.st_mtime_ns}


def is_ours(path: Path, seal: object, *, may_be_torn: bool) -> bool:
    """Whether a path is the output of a seal.

    Args:
        path: where it was put.
        seal: what `seal_of` gave before.
        may_be_torn: whether it may have lost of what it held: then it is known by its inode alone.
    """
    if not isinstance(seal, dict):
        return False
    if not may_be_torn:
        return seal_of(path) == seal
    try:
        facts = path.lstat()
    except OSError:
        return False
    return (facts.st_dev, facts.st_ino) == (seal.get("device"), seal.get("inode"))


def sizes(images: Iterable[Path]) -> dict[str, int]:
    """Returns the number of the images that are there, and their size in bytes; raises `OSError`."""
    found = [image.stat().st_size for image in images if image.is_file()]
    return {"images": len(found), "size_bytes": sum(found)}


def _give_spare_name(written: Path, plan: OutputPlan) -> Path:
    rename = put_dir if plan.format.is_folder else put_file
    for number in count(1):
        spare = plan.path.with_name(f"{plan.path.stem}-{number}{plan.path.suffix}")
        with suppress(FileExistsError):
            rename(written, spare, replace=False)
            return spare
    raise AssertionError  # numbers do not end


def _taken(plan: OutputPlan) -> VideoError:
    return VideoError(
        f"output {str(plan.path)!r}",
        got="something that came there while the job ran",
        expected="a free path",
        todo="It is left as it is: move it away and add --resume, or add --force --resume to replace it.",
    )
