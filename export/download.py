"""Fetching a file over HTTP: to a path, bounded, with its length checked and its progress told."""

from __future__ import annotations

import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rvm_trt.errors import WeightsError

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, the bytes done, and the bytes in all where they are known."""

_TIMEOUT_S = 8.0
_CHUNK_BYTES = 1 << 18


def silent(_what: str, _done_bytes: int, _total_bytes: int | None) -> None:
    """A `Progress` that shows nothing."""


def download(url: str, *, path: Path, max_bytes: int, progress: Progress = silent) -> None:
    """Writes what ``url`` (http or https) holds to ``path``; the caller removes the file after an error.

    A server that says nothing for 8 seconds is given up.

    Raises:
        WeightsError: the server cannot be reached, answers with an error, or sends more than ``max_bytes`` or
            another length than it announced; or the disk is full.
    """
    if not url.startswith(("https://", "http://")):
        raise _network_error(url, got="an address that is not http(s)")
    try:
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response,
            path.open("wb") as file,
        ):
            total_bytes = _announced(response)
            done_bytes = _copy(response, file, path, url, total_bytes, max_bytes, progress)
    except urllib.error.HTTPError as error:
        raise _network_error(url, got=f"HTTP status {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise _network_error(url, got=f"no answer ({str(reason) or type(reason).__name__})") from None
    if total_bytes is not None and done_bytes != total_bytes:
        raise _network_error(url, got=f"{done_bytes} bytes", expected=f"the {total_bytes} announced")


def _announced(response: http.client.HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _copy(
    response: http.client.HTTPResponse,
    file: IO[bytes],
    path: Path,
    url: str,
    total_bytes: int | None,
    max_bytes: int,
    progress: Progress,
) -> int:
    done_bytes = 0
    what = f"Downloading {url.rpartition('/')[2]}"
    while True:
        if max(done_bytes, total_bytes or 0) > max_bytes:
            raise _network_error(
                url, got=f"more than {max_bytes} bytes", expected=f"a file of at most {max_bytes} bytes"
            )
        progress(what, done_bytes, total_bytes)
        chunk = response.read(_CHUNK_BYTES)
        with storing(path):
            if not chunk:
                file.flush()
                return done_bytes
            file.write(chunk)
        done_bytes += len(chunk)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns an `OSError` of the body, a full disk for one, into a `WeightsError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise WeightsError(
            str(path.parent),
            got=error.strerror or str(error),
            expected="a folder with room to write the weights",
            todo="Make room, or set XDG_CACHE_HOME to another folder.",
        ) from None


def _network_error(url: str, *, got: str, expected: str = "the file") -> WeightsError:
    return WeightsError(
        url, got=got, expected=expected, todo="Try again, or download it by hand and give --checkpoint PATH."
    )


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """Yields a `Progress` that draws a bar on a terminal's standard error, or else one line per step."""
    if not sys.stderr.isatty():
        yield _plain_progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def show(what: str, done_bytes: int, total_bytes: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total_bytes)
            bars.update(tasks[what], completed=done_bytes, total=total_bytes)

        yield show


def _plain_progress() -> Progress:
    told: set[str] = set()

    def tell(what: str, _done_bytes: int, _total_bytes: int | None) -> None:
        if what not in told:
            told.add(what)
            print(what, file=sys.stderr, flush=True)

    return tell
