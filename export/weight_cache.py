"""The cache of checkpoints: each file with a record of where it came from and what its hash must be."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from rvm_trt.errors import WeightsError
from rvm_trt.export.download import Progress, storing
from rvm_trt.files import atomic_file, cache_dir, sha256_file
from rvm_trt.options import Refiner, Variant
from rvm_trt.untrusted import parse_json, read_bounded

_TEMPORARY_PREFIXES = (".rvm_", ".npm-")
_MAX_RECORD_BYTES = 1 << 16


class Source(str, Enum):
    """Where weights may come from; ``AUTO`` tries ``OFFICIAL``, then ``WEB``."""

    AUTO = "auto"
    OFFICIAL = "official"
    WEB = "web"


def file_name(variant: Variant, source: Source) -> str:
    """Returns the name under which the cache keeps the checkpoint of a source."""
    return f"rvm_{variant.value}{'_web8' if source is Source.WEB else ''}.pth"


def find_cached(variant: Variant) -> Record | None:
    """Returns the record of the unaltered checkpoint that the user's cache holds, the official one first.

    It loads no checkpoint and no PyTorch; without a record that holds, it is None.
    """
    cache = WeightCache(cache_dir() / "weights")
    for source in (Source.OFFICIAL, Source.WEB):
        try:
            record = cache.find(file_name(variant, source))
        except WeightsError:
            return None
        if record is not None:
            return record
    return None


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a cached checkpoint; kept beside it as JSON.

    Attributes:
        origin: where it was fetched from.
        licence: licence of the weights.
        sha256: SHA-256 of the checkpoint.
        date: when it was fetched, ISO 8601, UTC.
        variant, refiner: what it holds.
        converted_from: name → SHA-256 of the files it was converted from; empty for a plain download.
    """

    origin: str
    licence: str
    sha256: str
    date: str
    variant: Variant
    refiner: Refiner
    converted_from: dict[str, str]


class AlteredError(WeightsError):
    """A cached checkpoint is not the one that was put there."""


@dataclass(frozen=True)
class WeightCache:
    """Checkpoints in one folder, which may not exist yet. Only the holder of `locked` may write."""

    folder: Path

    def path(self, name: str) -> Path:
        """Returns where the checkpoint ``name`` is or would be."""
        return self.folder / name

    def find(self, name: str) -> Record | None:
        """Returns the record of a checkpoint, or None where either file is missing.

        Raises:
            AlteredError: the checkpoint's hash, or the record itself, is not as it was written.
        """
        path = self.path(name)
        if not path.is_file() or not _record_path(path).is_file():
            return None
        with storing(path):
            record, found = _read_record(_record_path(path)), sha256_file(path)
        if record is None:
            raise _altered(
                _record_path(path), got="a damaged record", expected="what was written at download"
            )
        if found != record.sha256:
            raise _altered(
                path, got=f"SHA-256 {found[:16]}…", expected=f"{record.sha256[:16]}…, as at download"
            )
        return record

    def put_record(self, name: str, record: Record) -> None:
        """Writes the record of a checkpoint that is in place."""
        path = _record_path(self.path(name))
        with storing(path), atomic_file(path) as temporary:
            temporary.write_text(json.dumps(asdict(record), indent=2) + "\n")

    def drop_record(self, name: str) -> None:
        """Removes the record of a checkpoint about to be replaced: none must meet a file not its own."""
        _record_path(self.path(name)).unlink(missing_ok=True)

    @contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Holds the folder for this process, waiting for any other, and clears what a killed one left."""
        path = self.folder / ".lock"
        with storing(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = path.open("wb")
        with file:
            with storing(path):
                _lock(file.fileno(), progress)
                self._sweep()
            yield

    def _sweep(self) -> None:
        for path in self.folder.iterdir():
            if not path.name.startswith(_TEMPORARY_PREFIXES):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _lock(descriptor: int, progress: Progress) -> None:
    """Takes the lock; the operating system frees it with the file, also where the process is killed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress("Waiting for another process that fetches weights", 0, None)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _record_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_record(path: Path) -> Record | None:
    try:
        data = parse_json(read_bounded(path, max_bytes=_MAX_RECORD_BYTES))
        record = Record(**{**data, "variant": Variant(data["variant"]), "refiner": Refiner(data["refiner"])})
    except (ValueError, TypeError, LookupError):
        return None
    texts = (record.origin, record.licence, record.sha256, record.date)
    sane = all(isinstance(text, str) for text in texts) and isinstance(record.converted_from, dict)
    return record if sane else None


def _altered(path: Path, *, got: str, expected: str) -> AlteredError:
    return AlteredError(
        str(path),
        got=got,
        expected=expected,
        todo="Run 'rvm-trt weights --refresh' to fetch the weights again.",
    )
