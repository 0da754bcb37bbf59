"""Disks that are full or cannot be written: one clear error, and nothing left behind."""

from __future__ import annotations

import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from disk_engines import CPU, MIB, ODD, RTX, contents, names

from rvm_trt import Engine, build_engine
from rvm_trt.cli import main
from rvm_trt.errors import RvmTrtError


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A write beyond this size fails, here and in processes started here, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, before)


FULL = pytest.mark.parametrize(
    ("options", "size"),
    [(CPU, 2 * MIB), (RTX, 4 * MIB), (RTX, 11 * MIB), (RTX, 1024)],
    ids=["cpu", "network", "plan", "first"],
)


@FULL
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    options: dict[str, Any], size: int, graph: Path, tmp_path: Path
) -> None:
    with largest_file(size), pytest.raises(RvmTrtError, match=r"with room to write") as caught:
        build_engine(graph, engines=tmp_path / "engines", **options)
    assert "\n" not in str(caught.value)
    assert "Export" not in caught.value.todo, "the graph is not at fault"
    assert names(tmp_path / "engines") == []


def test_a_full_disk_keeps_the_old_engine(engine: Engine, graph: Path) -> None:
    before = contents(engine.path)
    with largest_file(11 * MIB), pytest.raises(RvmTrtError):
        build_engine(graph, engines=engine.path.parent, force=True, **RTX)
    assert contents(engine.path) == before
    assert names(engine.path.parent) == [engine.path.name]


def test_a_manifest_that_does_not_fit_leaves_nothing(engine: Engine, twin: Path) -> None:
    with largest_file(100), pytest.raises(RvmTrtError, match=r"File too large"):
        build_engine(twin, engines=engine.path.parent, **RTX)
    assert names(engine.path.parent) == [engine.path.name]


@pytest.fixture(params=["under a file", "in /proc"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "in /proc":
        return Path("/proc/rvm-trt/engines")
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "engines"


@pytest.mark.parametrize("options", [CPU, RTX], ids=["cpu", "rtx"])
def test_a_folder_that_cannot_be_written_is_one_clear_error(
    options: dict[str, Any], unwritable: Path, graph: Path
) -> None:
    with pytest.raises(RvmTrtError, match=re.escape(str(unwritable))) as caught:
        build_engine(graph, engines=unwritable, **options)
    assert "\n" not in str(caught.value)


def command(checkpoint: Path, engines: Path, backend: str) -> int:
    size = ["--size", f"{ODD.width}x{ODD.height}", "--ratio", f"{ODD.ratio}"]
    words = ["--backend", backend, "--precision", "fp32", "--checkpoint", str(checkpoint), *size]
    return main(["build", *words, "--engines", str(engines)])


@pytest.mark.parametrize("backend", ["cpu", "tensorrt-rtx"])
@pytest.mark.parametrize("case", ["full", "unwritable"])
def test_the_command_says_it_in_one_message(
    backend: str,
    case: str,
    graph: Path,
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("rvm_trt.export.onnx_graph.export_onnx", lambda *_, **__: graph)
    (tmp_path / "file").write_text("")
    engines = tmp_path / ("engines" if case == "full" else "file/engines")
    with largest_file(4 * MIB if case == "full" else 1 << 40):
        assert command(checkpoint(), engines, backend) == 1
    written = capsys.readouterr()
    assert len([line for line in written.err.splitlines() if line.startswith("rvm-trt build: ")]) == 1
    assert "Traceback" not in written.err
    assert written.out == ""
