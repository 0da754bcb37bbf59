"""Files on disk: hashes, the cache folder, and writing so that a name only ever holds a whole file."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def cache_dir() -> Path:
    """Returns the cache folder, ``$XDG_CACHE_HOME/rvm-trt`` or ``~/.cache/rvm-trt``. It may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rvm-trt"


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it to ``path`` on success, removes it on any error.

    The suffix is kept, since writers choose their format by it. An existing ``path`` is replaced in one step, and is
    left as it was on an error.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem[:80]}-", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder beside ``path``; renames it to ``path`` on success, removes it on any error.

    An existing ``path`` is moved aside and removed only when the new one is in place.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:80]}-"))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _replace_dir(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_dir(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.replace(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:80]}-old-"))
    try:
        target.replace(old / "old")
        try:
            temporary.replace(target)
        except OSError:
            (old / "old").replace(target)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
