"""Files on disk: hashes, the cache folder, and writing so that a name only ever holds a whole file."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

# Ends the name of what an interrupted job left to be gone on with; it is never swept.
PARTIAL = ".rvm-trt-partial"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


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
    left as it was on an error. What a killed process left behind for the same ``path`` is removed.
    """
    target = Path(path)
    with temporary_file(target) as temporary:
        yield temporary
        temporary.replace(target)


@contextmanager
def atomic_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder beside ``path``; renames it to ``path`` on success, removes it on any error.

    An existing ``path`` is moved aside and removed only when the new one is in place. Of several processes that write
    one ``path`` at once the last one's stays. What a killed process left behind for it is removed.
    """
    target = Path(path)
    with temporary_dir(target) as temporary:
        yield temporary
        replace_dir(temporary, target)


@contextmanager
def temporary_file(target: Path) -> Iterator[Path]:
    """Yields an empty file beside ``target``, with its suffix; removes it if it is still there at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = _prefix(target.stem)
    _sweep(target.parent, prefix, target.suffix)

    def make() -> Path:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=target.suffix)
        os.close(handle)
        return Path(name)

    with _claimed(make) as temporary:
        temporary.chmod(0o666 & ~_umask())
        yield temporary


@contextmanager
def temporary_dir(target: Path) -> Iterator[Path]:
    """Yields an empty folder beside ``target``; removes it if it is still there at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent, _prefix(target.name))
    with _temporary_dir(target) as temporary:
        temporary.chmod(0o777 & ~_umask())
        yield temporary


def replace_dir(temporary: Path, target: Path) -> None:
    """Renames a folder to ``target`` on the same file system; what stands there is moved aside and removed after."""
    while not _moved(temporary, target):
        with _temporary_dir(target) as aside:
            try:
                target.replace(aside / "old")
            except FileNotFoundError:
                continue  # another process moved it in the meantime
            try:
                if _moved(temporary, target):
                    return
            except BaseException:  # Ctrl-C, too
                with suppress(OSError):  # the new one is there by now
                    (aside / "old").replace(target)
                raise


def put_file(temporary: Path, target: Path, *, replace: bool) -> None:
    """Renames a file to ``target`` on the same file system, in one step.

    Args:
        temporary: the file.
        target: its new name.
        replace: whether what stands there may be replaced.

    Raises:
        FileExistsError: something stands there, and it may not be replaced.
    """
    if replace:
        temporary.replace(target)
        return
    try:
        target.hardlink_to(temporary)  # unlike a rename, this never replaces anything
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        temporary.replace(target)
    else:
        temporary.unlink()


def put_dir(temporary: Path, target: Path, *, replace: bool) -> None:
    """Renames a folder as `put_file` renames a file. An empty folder may always be replaced."""
    if replace:
        replace_dir(temporary, target)
    elif not _moved(temporary, target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


def clear_dir(folder: Path, *, keep: Callable[[str], bool] = lambda _: False) -> None:
    """Removes what is in a folder, but for the names to keep. Follows no link.

    Raises:
        OSError: it is no folder but a link to one, or something cannot be removed.
    """
    handle = os.open(folder, _FOLDER)
    try:
        with os.scandir(handle) as found:
            entries = [entry for entry in found if not keep(entry.name)]
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(folder / entry.name)
            else:
                os.unlink(entry.name, dir_fd=handle)
    finally:
        os.close(handle)


def shortened(name: str, size: int) -> str:
    """Returns the beginning of a file name, cut between two characters to at most ``size`` bytes."""
    return os.fsencode(name)[:size].decode(errors="ignore")


@contextmanager
def locked_dir(path: Path) -> Iterator[bool]:
    """Makes a folder where there is none, and locks it as long as this process lives; yields whether nobody else has.

    The lock goes with the folder: whoever removes it does so inside the block. Raises `OSError` for a link to a folder.
    """
    while True:
        path.mkdir(exist_ok=True)
        try:
            handle = os.open(path, _FOLDER)
        except FileNotFoundError:
            continue  # its last owner has just removed it
        try:
            mine = _lock(handle)
            if not mine or _stands(path, handle):
                yield mine
                return
        finally:
            os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True


def _stands(path: Path, handle: int) -> bool:
    """Whether a path still is what was opened: its last owner may have removed it before the lock was had."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _prefix(name: str) -> str:
    # Nobody else's: what starts with it may be swept.
    return f".{shortened(name, 80)}.rvm-trt-"


def _moved(temporary: Path, target: Path) -> bool:
    try:
        temporary.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False  # something stands there
        raise
    return True


def _temporary_dir(target: Path) -> AbstractContextManager[Path]:
    return _claimed(lambda: Path(tempfile.mkdtemp(dir=target.parent, prefix=_prefix(target.name))))


@contextmanager
def _claimed(make: Callable[[], Path]) -> Iterator[Path]:
    """Yields a temporary path under a lock, which the system drops if this process dies; removes the path."""
    path, lock = _claim(make)
    try:
        yield path
    finally:
        _remove(path)
        os.close(lock)


def _claim(make: Callable[[], Path]) -> tuple[Path, int]:
    while True:
        path = make()
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue  # swept by another process before it was locked
        with suppress(OSError):  # a file system without locks: then nothing is swept either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path, lock
        os.close(lock)


def _sweep(folder: Path, prefix: str, ending: str = "") -> None:
    """Removes temporary paths whose process is gone."""
    for path in folder.iterdir():
        if not (path.name.startswith(prefix) and path.name.endswith(ending)) or path.name.endswith(PARTIAL):
            continue
        with suppress(OSError):  # in use, or gone already
            lock = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
