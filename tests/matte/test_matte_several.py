"""Several inputs at once: what is refused before anything is done, what comes out, and how losses are told."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from fakes import FakeSession, matted
from PIL import Image

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two folders of three images each, and an empty folder ``out`` in the current one."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "out"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        for index in range(3):
            Image.new("RGB", (96, 64), (50 * index, 0, 0)).save(tmp_path / name / f"{index}.png")
    return ["a", "b"]


def frames(path: Path) -> int:
    if path.is_dir():
        return len(list(path.iterdir()))
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(
    ("pattern", "more"),
    [
        ("out/{name}.mp4", []),
        ("out/{name}.mp4", ["--codec", "av1"]),
        ("out/{name}.mkv", []),
        ("out/{name}.mkv", ["--output-kind", "rgba", "--codec", "ffv1"]),
        ("out/{name}.mov", ["--background", "transparent"]),
        ("out/{name}.webm", ["--output-kind", "rgba"]),
        ("out/{name}", []),
        ("out/{name}/", ["--codec", "exr", "--background", "white"]),
        ("out/{name}-{name}.mp4", ["--output-kind", "pha"]),
    ],
)
def test_every_kind_of_output(inputs: list[str], pattern: str, more: list[str]) -> None:
    also = ["--fgr", "out/fgr-{name}.mkv"]
    assert matted(*inputs, "-o", pattern, *also, *more, "--quiet") == 0
    made = [pattern.replace("{name}", name) for name in inputs] + ["out/fgr-a.mkv", "out/fgr-b.mkv"]
    assert sorted(Path("out").iterdir()) == sorted(Path(path) for path in made)
    assert [frames(Path(path)) for path in made] == [3] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out/{name}.mp4", "--pha", "out/alpha.mp4"], "--pha: got 'out/alpha.mp4' for 2 inputs"),
        (["-o", "out/{name}.mp4", "--fgr", "f.mp4"], "--fgr: got 'f.mp4' for 2 inputs"),
        (["-o", "-"], "output: got '-' for 2 inputs"),
        (["-o", "out/{name}.mp4", "--pha", "out/../out/{name}.mp4"], "for more than one"),
        (["-o", "./{name}"], "'./a', which is the input 'a'"),
        (["./a", "-o", "out/{name}.mp4"], "for more than one input"),
        (["{name}-alpha", "-o", "out/{name}.mp4", "--pha", "out/{name}-alpha.mp4"], "nothing"),
    ],
)
def test_outputs_that_would_meet_are_refused_before_anything_is_done(
    inputs: list[str], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if message == "nothing":
        Path("a-alpha").symlink_to("b")
        arguments, message = ["a-alpha", *arguments[1:]], "'out/a-alpha.mp4' for more than one input"
    FakeSession.made = None
    assert matted(*inputs, *arguments) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert FakeSession.made is None
    assert list(Path("out").iterdir()) == []


def test_a_folder_that_another_input_is_in_is_not_replaced_even_with_force(
    inputs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    picture = Path("out/a/000000.png")
    picture.parent.mkdir()
    Path("a/0.png").rename(picture)
    assert matted(*inputs, str(picture), "-o", "out/{name}", "--force") == 1
    assert "'out/a', which is the input 'out/a/000000.png'" in capsys.readouterr().err
    assert picture.exists()


def test_one_that_fails_spares_the_others_and_is_listed(
    inputs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken").mkdir()
    Path("broken/0.png").write_bytes(b"no image")
    assert matted(inputs[0], "broken", inputs[1], "-o", "out/{name}.mp4", "--json", "--quiet") == 1
    out, err = capsys.readouterr()
    first, second, third = json.loads(out)
    assert [entry["input"] for entry in (first, second, third)] == ["a", "broken", "b"]
    assert [first["frames"], third["frames"]] == [3, 3]
    assert "error" not in first
    assert "does not open" in second["error"]
    assert second["output"] == "out/broken.mp4"
    assert err.count("rvm-trt matte: ") == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.mp4", "b.mp4"]


def test_ctrl_c_lists_what_is_done_and_resume_goes_on_with_the_rest(
    inputs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Callable[..., Iterator[Any]] = FakeSession.run
    jobs: list[int] = []

    def run(session: FakeSession, given: Any) -> Iterator[Any]:
        jobs.append(1)
        if len(jobs) > 1:
            raise KeyboardInterrupt
        return whole(session, given)

    command = (*inputs, "-o", "out/{name}.mp4", "--pha", "out/{name}-alpha.mp4", "--json")
    with monkeypatch.context() as patch:
        patch.setattr(FakeSession, "run", run)
        assert matted(*command) == 130
    assert [entry["input"] for entry in json.loads(capsys.readouterr().out)] == ["a"]
    before = Path("out/a.mp4").stat()
    assert matted(*command, "--resume") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["input"], first["skipped"], second["frames"]) == ("a", True, 3)
    assert Path("out/a.mp4").stat() == before
    Path("out/a-alpha.mp4").unlink()  # then it is not known what became of it
    assert matted(*command, "--resume") == 1
    assert "already there" in json.loads(capsys.readouterr().out)[0]["error"]


def test_an_empty_folder_is_no_output_that_is_there_already(inputs: list[str]) -> None:
    Path("out/a").mkdir()
    assert matted(*inputs, "-o", "out/{name}", "--resume", "--quiet") == 0
    assert [frames(Path(path)) for path in ("out/a", "out/b")] == [3, 3]


def damaged_clip(path: Path) -> Path:
    """Twenty frames, the tenth of which does not decode."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=96, height=64)
        stream.pix_fmt, stream.options = "yuv420p", {"g": "1", "bf": "0"}
        for index in range(20):
            image = np.full((64, 96, 3), 10 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        spans = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    data[spans[10][0] + 4 : sum(spans[10])] = b"\xff" * (spans[10][1] - 4)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("how", [[], ["--quiet"], ["--quiet", "--json"], ["--json"]])
def test_lost_frames_are_a_warning_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    clip = damaged_clip(tmp_path / "in.mp4")
    assert matted(str(clip), "-o", str(tmp_path / "out.mp4"), *how) == 0
    out, err = capsys.readouterr()
    warnings = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "out.mp4: 1 damaged pieces" in warnings[0]
    if "--json" in how:
        report = json.loads(out)
        assert (report["frames"], report["skipped_frames"], report["input"]) == (19, 1, str(clip))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_cannot_be_printed_is_no_fault(
    inputs: list[str], monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    printed = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr("sys.stdout", printed)
    name = os.fsdecode(b"out/na\xffme.mp4")
    assert matted(inputs[0], "-o", name) == 0
    assert Path(name).exists()
    assert b"composite, 3 frames" in printed.buffer.getvalue()  # type: ignore[attr-defined]


def test_a_result_is_told_as_soon_as_it_is_there(
    inputs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    original = FakeSession.__init__

    def started(session: FakeSession, engine: SimpleNamespace, **options: Any) -> None:
        seen.append(capsys.readouterr().out)
        original(session, engine, **options)

    monkeypatch.setattr(FakeSession, "__init__", started)
    assert matted(*inputs, "-o", "out/{name}.mp4") == 0
    assert seen[0] == ""
    assert seen[1].startswith("out/a.mp4: composite, 3 frames")
