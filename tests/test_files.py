"""A name on disk only ever holds a whole file or a whole folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from rvm_trt.digest import source_digest
from rvm_trt.files import atomic_dir, atomic_file, cache_dir, clear_dir, put_dir, put_file, sha256_file


class _StopError(Exception):
    pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, text: str) -> None:
    (folder / "engine.bin").write_text(text)


def test_the_hash_covers_every_byte_of_a_long_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000  # longer than two blocks of the reader
    path = tmp_path / "file"
    path.write_bytes(content)
    assert sha256_file(path) == hashlib.sha256(content).hexdigest()
    assert sha256_file(str(path)) == sha256_file(path)


def test_an_atomic_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "graph.onnx"
    with atomic_file(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".onnx"
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["graph.onnx"]


@pytest.mark.parametrize("kind", [_StopError, KeyboardInterrupt])
def test_an_interrupted_atomic_file_leaves_the_old_one(tmp_path: Path, kind: type[BaseException]) -> None:
    target = tmp_path / "graph.onnx"
    target.write_text("old")
    with pytest.raises(kind), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise kind
    assert target.read_text() == "old"
    assert names(tmp_path) == ["graph.onnx"]


def test_a_failing_first_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(_StopError), atomic_file(tmp_path / "graph.onnx") as temporary:
        temporary.write_text("half")
        raise _StopError
    assert names(tmp_path) == []


def test_an_atomic_file_replaces_and_follows_the_umask(tmp_path: Path) -> None:
    target = tmp_path / "graph.onnx"
    target.write_text("old")
    mask = os.umask(0o027)
    try:
        with atomic_file(target) as temporary:
            temporary.write_text("new")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640


def test_long_names_leave_room_for_the_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 240 + ".onnx")
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
    assert target.read_text() == "whole"


def test_an_atomic_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "engines" / "hd"
    with atomic_dir(target) as temporary:
        fill(temporary, "whole")
        assert not target.exists()
    assert (target / "engine.bin").read_text() == "whole"
    assert names(target.parent) == ["hd"]
    assert target.stat().st_mode & 0o777 == 0o777 & ~_umask()


def test_an_atomic_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "hd"
    target.mkdir()
    (target / "stale.bin").write_text("old")
    with atomic_dir(target) as temporary:
        fill(temporary, "new")
    assert names(target) == ["engine.bin"]
    assert names(tmp_path) == ["hd"]


@pytest.mark.parametrize("kind", [_StopError, KeyboardInterrupt])
def test_an_interrupted_atomic_folder_leaves_the_old_one(tmp_path: Path, kind: type[BaseException]) -> None:
    target = tmp_path / "hd"
    target.mkdir()
    fill(target, "old")
    with pytest.raises(kind), atomic_dir(target) as temporary:
        fill(temporary, "half")
        raise kind
    assert (target / "engine.bin").read_text() == "old"
    assert names(tmp_path) == ["hd"]


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_a_failing_rename_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    target = tmp_path / "hd"
    target.mkdir()
    fill(target, "old")
    rename = Path.replace

    def failing(self: Path, other: Path) -> Path:
        if self.parent == tmp_path and other == target and not target.exists():  # the old one was moved aside
            raise kind("disk full")
        return rename(self, other)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(kind, match="disk full"), atomic_dir(target) as temporary:
        fill(temporary, "new")
    assert (target / "engine.bin").read_text() == "old"
    assert names(tmp_path) == ["hd"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_put_where_nothing_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refused)
    made, target = tmp_path / "made", tmp_path / "target"
    for stand in (lambda: target.write_text("mine"), lambda: target.symlink_to("nowhere"), target.mkdir):
        made.write_text("whole")
        stand()
        with pytest.raises(FileExistsError):
            put_file(made, target, replace=False)
        assert made.read_text() == "whole"
        if target.is_dir():
            target.rmdir()
        else:
            put_file(made, target, replace=True)
            assert target.read_text() == "whole"
            target.unlink()
    made.write_text("whole")
    put_file(made, target, replace=False)
    assert names(tmp_path) == ["target"]
    assert target.read_text() == "whole"


def test_a_folder_is_put_where_nothing_stands(tmp_path: Path) -> None:
    made, target = tmp_path / "made", tmp_path / "target"
    made.mkdir()
    fill(made, "whole")
    for stand in (lambda: target.write_text("mine"), lambda: target.symlink_to("made")):
        stand()
        with pytest.raises(FileExistsError):
            put_dir(made, target, replace=False)
        target.unlink()
    target.mkdir()
    fill(target, "mine")
    with pytest.raises(FileExistsError):
        put_dir(made, target, replace=False)
    put_dir(made, target, replace=True)
    assert (target / "engine.bin").read_text() == "whole"
    assert names(tmp_path) == ["target"]


def test_clearing_a_folder_follows_no_link(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for folder in (theirs, ours, ours / "deep"):
        folder.mkdir()
        fill(folder, "precious")
    (ours / "link").symlink_to(theirs)
    (ours / "kept").write_text("kept")
    (tmp_path / "link").symlink_to(theirs)
    with pytest.raises(OSError, match="Not a directory"):
        clear_dir(tmp_path / "link")
    clear_dir(ours, keep=lambda name: name == "kept")
    assert names(ours) == ["kept"]
    assert names(theirs) == ["engine.bin"]


def test_the_cache_follows_the_xdg_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "rvm-trt"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "rvm-trt"


def test_the_source_digest_changes_with_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "rvm_digest_example"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    first = source_digest(package.name)
    assert source_digest(package.name) == first
    assert len(first) == 16
    (package / "a.py").write_text("x = 2\n")
    second = source_digest(package.name)
    (package / "a.py").rename(package / "b.py")
    assert len({first, second, source_digest(package.name)}) == 3


def test_the_source_digest_tells_packages_apart() -> None:
    digests = {source_digest("rvm_trt.export"), source_digest("rvm_trt.engines"), source_digest("rvm_trt")}
    assert len(digests) == 3


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
