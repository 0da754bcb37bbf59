"""The files of a journal, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

from rvm_trt.errors import VideoError
from rvm_trt.files import atomic_file

FINISHING = "finishing.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LONGEST_JSON = 1 << 20


def is_after(name: str, segments: int) -> bool:
    """Whether a file is what the journal keeps of a segment after the first ones."""
    kind, _, number = name.partition(".")[0].partition("-")
    return kind in ("segment", "states") and number.isdecimal() and int(number) >= segments


def record_file(folder: Path, segment: int) -> Path:
    """Returns the file that says that a segment is whole."""
    return folder / f"segment-{segment:06d}.json"


def is_record(record: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    """Whether what was read is the record of a segment."""
    return (
        record is not None
        and type(record.get("next_index")) is int
        and isinstance(record.get("outputs"), list)
        and isinstance(record.get("cuts"), list)
        and all(type(cut) is int for cut in record["cuts"])
    )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes the values of a JSON file, which appears when it is whole; raises `OSError`."""
    with atomic_file(path) as file:
        file.write_text(json.dumps(values, indent=1), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """Returns the values of a JSON file; None where it is missing or holds anything else."""
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_LONGEST_JSON))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def has_segments(folder: Path) -> bool:
    """Whether a journal's folder has at least one whole segment."""
    return record_file(folder, 0).exists()


def this_boot() -> str:
    """Returns what every start of the machine changes: after a power failure, files may lack what was written."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


def is_of_this_boot(record: Mapping[str, Any]) -> bool:
    """Whether the machine runs since `read_finished`'s record was written: then every file holds what was written."""
    return bool(record.get("boot") == this_boot())


def read_finished(folder: Path) -> dict[str, Any] | None:
    """Returns what a job whose outputs are all whole has left; None where it did not get so far."""
    try:
        record = read_json(folder / FINISHING)
    except OSError:
        return None
    counts = ("frames", "skipped_frames")
    is_ours = (
        record is not None
        and all(type(record.get(name)) is int for name in counts)
        and all(isinstance(record.get(name), list) for name in ("cuts", "outputs"))
        and all(type(cut) is int for cut in record["cuts"])
    )
    return record if is_ours else None


@contextmanager
def told_of(output: Path) -> Iterator[None]:
    """Raises a `VideoError` of an output for an `OSError` in the block."""
    try:
        yield
    except OSError as error:
        raise VideoError(
            f"output {str(output)!r}",
            got=f"{error.strerror or error}",
            expected="to keep what is done beside it",
            todo="Check the free space and the rights of the folder.",
        ) from error
