"""``rvm-trt preview``: what is refused before any work, what it serves, and that nothing of it is left."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rvm_trt.commands import preview
from rvm_trt.errors import DependencyError, EngineError, OptionError, RvmTrtError
from rvm_trt.profile import Profile


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """A folder of three images, 64 by 48."""
    folder = tmp_path / "shots"
    folder.mkdir()
    for index in range(3):
        Image.new("RGB", (64, 48), (100, 20 * index, 0)).save(folder / f"{index}.png")
    return folder


def parse(*arguments: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    preview.add_arguments(parser)
    # Without a precision OpenVINO would be loaded to choose one, which keeps a thread of its own.
    return parser.parse_args(["--precision", "fp32", *(str(argument) for argument in arguments)])


class FakeSession:
    """Takes the place of the network."""

    def __init__(self, engine: Any, **options: Any) -> None:
        self.profile, self.options, self.closed = engine.profile, options, False

    def process(self, frame: Any) -> Any:
        return SimpleNamespace(pha=frame[..., 0], composite=frame)

    def set_background(self, background: Any) -> None:
        self.background = background

    def reset(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replaces the child, the engine and the session; keeps what was asked for."""
    found = SimpleNamespace(commands=[], asked=[], sessions=[])

    def run_child(command: list[str], **_: Any) -> None:
        found.commands.append(command)

    def provide_engine(profile: Profile, **options: Any) -> Any:
        found.asked.append((profile, options))
        return SimpleNamespace(profile=profile, path=Path("engine"))

    def session(engine: Any, **options: Any) -> FakeSession:
        found.sessions.append(FakeSession(engine, **options))
        return found.sessions[-1]

    monkeypatch.setattr("rvm_trt.runtime.preview.child.run_child", run_child)
    monkeypatch.setattr("rvm_trt.engines.provision.provide_engine", provide_engine)
    monkeypatch.setattr("rvm_trt.runtime.session.MattingSession", session)
    return found


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def once_served(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], None]], None]:
    """``once_served(then)``: has a function called with the address, on another thread, when it has been printed."""

    def arrange(then: Callable[[str], None]) -> None:
        def tell(text: str, **_: Any) -> None:
            thread = threading.Thread(target=then, args=(text.split()[1],))
            thread.start()

        monkeypatch.setattr(preview, "print", tell, raising=False)

    return arrange


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_leaves_nothing(
    shots: Path,
    network: SimpleNamespace,
    once_served: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    monkeypatch.chdir(shots.parent)
    monkeypatch.setattr(preview, "_say", lambda _: None)
    pages: list[tuple[str, bytes]] = []

    def look(address: str) -> None:
        with urllib.request.urlopen(address, timeout=20) as answer:
            pages.append((address, answer.read()))
        os.kill(os.getpid(), number)

    once_served(look)
    threads, files = set(threading.enumerate()), open_files()
    handler = signal.getsignal(number)
    assert preview.run(parse("shots", "--ratio", "0.5", "--threads", "1")) == 0
    ((address, page),) = pages
    assert b"rvm-trt preview" in page
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address.rstrip("/").rsplit(":", 1)[1])), timeout=5)
    left = set(threading.enumerate()) - threads
    for thread in left:
        thread.join(5)  # the one that sent the signal
    assert set(threading.enumerate()) <= threads
    assert open_files() <= files
    assert signal.getsignal(number) is handler
    assert [entry.name for entry in shots.parent.iterdir()] == ["shots"]
    (session,) = network.sessions
    assert session.closed
    assert session.options == {"outputs": ("pha", "composite"), "threads": 1}


def test_the_engine_is_made_by_another_process(shots: Path, network: SimpleNamespace) -> None:
    args = parse(shots, "--engines", "some where", "--checkpoint", "my.pth", "--ratio", 2 / 3)
    from rvm_trt.runtime.video.source import open_source

    make = preview._Maker(args, open_source(shots))
    make(2 / 3, tell=lambda _: None, cancelled=threading.Event())
    (command,) = network.commands
    assert command[:4] == [sys.executable, "-m", "rvm_trt.cli", "build"]
    from rvm_trt.cli import make_parser
    from rvm_trt.commands.profile_arguments import profile_from

    built = make_parser().parse_args(command[3:])
    ((profile, options),) = network.asked
    assert profile_from(built) == profile == Profile(width=64, height=48, ratio=2 / 3)
    assert (built.backend, built.precision, built.graph) == ("cpu", "fp32", "core")
    assert (str(built.engines), built.checkpoint) == ("some where", "my.pth")
    assert (options["backend"], options["precision"].value) == ("cpu", "fp32")
    assert (str(options["engines_dir"]), options["checkpoint"]) == ("some where", "my.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.mp4"], "nothing there"),
        (["shots", "--background", "greeen"], "'greeen'"),
        (["shots", "--ratio", "1.5"], "ratio: got 1.5"),
        (["shots", "--rate", "fast"], "rate: got 'fast'"),
        (["shots", "--port", "70000"], "--port: got 70000"),
        (["shots", "--host", "192.0.2.1"], "--host: got '192.0.2.1'"),
        (["shots", "--host", "a" * 80], "--host: got 'aaa"),
    ],
)
def test_mistakes_are_one_message_before_any_work(
    shots: Path,
    network: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(shots.parent)
    with pytest.raises(RvmTrtError, match=message):
        preview.run(parse(*arguments))
    assert network.commands == network.asked == []


def test_a_busy_port_is_a_message_before_any_work(shots: Path, network: SimpleNamespace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(OptionError, match=f"--port: got {port}, which is in use"):
            preview.run(parse(shots, "--port", port))
    assert network.commands == network.sessions == []


def test_where_no_engine_can_be_made_the_port_is_given_back(
    shots: Path, network: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any, *, subject: str, **__: Any) -> None:
        raise EngineError(subject, got="exit code 1 (no weights)", expected="an engine", todo="Fetch them.")

    monkeypatch.setattr("rvm_trt.runtime.preview.child.run_child", fail)
    files = open_files()
    with pytest.raises(EngineError, match="no weights"):
        preview.run(parse(shots))
    assert open_files() <= files
    assert network.sessions == []


def test_backgrounds_are_closed(shots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rvm_trt.runtime.video.source import open_source

    closed: list[str] = []

    def parse_background(text: str, **_: Any) -> Any:
        return (1, 2, 3) if text == "green" else closing(SimpleNamespace(close=lambda: closed.append(text)))

    monkeypatch.setattr("rvm_trt.commands.background.parse_background", parse_background)
    with preview._backgrounds("beach.mp4", open_source(shots), threads=1) as (name, _):
        assert (name, closed) == ("beach.mp4", [])
    assert {"beach.mp4", "blur"} <= set(closed)


def test_without_the_library_it_says_what_to_install(shots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(DependencyError, match=r"rvm-trt\[preview\]"):
        preview.run(parse(shots))


def test_the_first_background_is_offered_by_its_name(shots: Path, tmp_path: Path) -> None:
    from rvm_trt.runtime.video.source import open_source

    source = open_source(shots)
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "beach.png")
    for text, name in (("green", "green"), ("1,2,3", "#010203"), (str(tmp_path / "beach.png"), "beach.png")):
        with preview._backgrounds(text, source, threads=1) as (first, offered):
            assert first == name
            assert {name, "green", "black", "blur", "transparent"} <= set(offered)
    assert np.unique(offered["transparent"]).tolist() == [204, 255]
    assert np.array_equal(offered["beach.png"], np.full((48, 64, 3), (1, 2, 3), np.uint8))


def test_other_machines_are_warned_of(
    shots: Path, network: SimpleNamespace, once_served: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    opened: list[str] = []
    monkeypatch.setattr(preview, "_say", said.append)
    monkeypatch.setattr("webbrowser.open", opened.append)
    once_served(lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert preview.run(parse(shots, "--host", "0.0.0.0", "--open")) == 0
    assert any("not encrypted" in text for text in said)
    assert any("no browser was found" in text for text in said)
    assert "?token=" in opened[0]
    assert len(network.sessions) == 1
