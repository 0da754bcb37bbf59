"""Options of ``rvm-trt matte`` that would do nothing are refused; those that ask for a picture get it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import FakeSession, matted
from PIL import Image

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(autouse=True)
def here(shots: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds ``shots``, a picture ``beach.png`` and an animation ``clip.gif``; the current one."""
    monkeypatch.chdir(shots.parent)
    Image.new("RGB", (96, 64), (1, 2, 3)).save("beach.png")
    pictures = [Image.new("RGB", (96, 64), (50 * index, 9, 9)) for index in range(4)]
    pictures[0].save("clip.gif", save_all=True, append_images=pictures[1:], duration=40)
    return shots.parent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shots", "-o", "out.mp4", "--premultiplied"], "--premultiplied: got output kind 'composite'"),
        (["shots", "-o", "out", "--output-kind", "pha", "--no-premultiplied"], "--no-premultiplied: got"),
        (
            ["shots", "-o", "out.webm", "--output-kind", "rgba", "--premultiplied"],
            "always shown as straight",
        ),
        (["shots", "-o", "out.mp4", "--warm-up", "2"], "--warm-up: got no --from"),
        (["shots", "-o", "out.mp4", "--warm-up", "2", "--to", "3"], "--warm-up: got no --from"),
        (["clip.gif", "-o", "out.mp4", "--gaps", "hold"], "--gaps: got input 'clip.gif'"),
        (["beach.png", "-o", "out.mp4", "--gaps", "refuse"], "--gaps: got input 'beach.png'"),
        (["clip.gif", "-o", "out.mp4", "--rate", "25"], "rate: got 25 for a video"),
        (["shots", "-o", "out.mp4", "--fit", "cover"], "--fit: got no --background"),
        (["shots", "-o", "out.mp4", "--fit", "contain", "--background", "white"], "--background 'white'"),
        (["shots", "-o", "out.mp4", "--fit", "contain", "--background", "blur:9"], "--background 'blur:9'"),
        (["shots", "-o", "out.mp4", "--fit", "contain", "--background", "none.png"], "got 'none.png'"),
        (
            ["shots", "-o", "out.mp4", "--output-kind", "pha", "--no-spill-suppression"],
            "--no-spill-suppression: got output kind 'pha'",
        ),
        (["shots", "-o", "out", "--raw-format", "yuva420p"], "--raw-format: got output 'out'"),
        (["shots", "-o", "out", "--crf", "20"], "--crf: got png, expected h264, vp9 or av1"),
        (["shots", "-o", "out.webm", "--preset", "fast"], "--preset: got vp9, expected h264"),
        (["shots", "-o", "out", "--output-kind", "rgba", "--background", "white"], "with output kind 'rgba'"),
    ],
)
def test_an_option_that_does_nothing_is_refused_before_any_work(
    arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeSession.made = None
    before = sorted(here.iterdir())
    assert matted(*arguments) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert FakeSession.made is None
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["shots", "-o", "out", "--no-premultiplied", "--rate", "25"],
        ["shots", "-o", "out.mp4", "--warm-up", "0", "--from", "0.05", "--gaps", "hold"],
        ["shots", "-o", "out", "--crf", "20", "--pha", "alpha.mp4"],
        ["shots", "-o", "out.mp4", "--fit", "contain", "--background", "beach.png"],
        ["shots", "-o", "out.mp4", "--fit", "contain", "--background", "clip.gif"],
        ["shots", "-o", "out.mp4", "--no-spill-suppression", "--pha", "alpha.mp4", "--preset", "fast"],
        ["shots", "-o", "out", "--output-kind", "rgba", "--background", "transparent"],
    ],
)
def test_an_option_that_does_something_is_taken(arguments: list[str]) -> None:
    assert matted(*arguments, "--quiet") == 0


@pytest.mark.parametrize("more", [[], ["--codec", "exr"]])
@pytest.mark.parametrize("background", ["1,2,3", "beach.png", "clip.gif", "blur"])
def test_a_background_is_composited_into_a_folder_of_images(background: str, more: list[str]) -> None:
    assert matted("shots", "-o", "out", "--background", background, *more) == 0
    assert FakeSession.made["outputs"] == ("composite",)
    first = FakeSession.made["background"]
    if background in ("1,2,3", "beach.png"):
        assert (np.asarray(first) == (1, 2, 3)).all()
    else:
        assert len(FakeSession.backgrounds) >= 2
    assert len(list(Path("out").iterdir())) == 4


@pytest.mark.parametrize(("outputs", "channels"), [(["-o", "-"], 4), (["-o", "out.mp4", "--pha", "-"], 1)])
def test_frames_on_standard_output_are_alone_there(
    outputs: list[str], channels: int, capfdbinary: pytest.CaptureFixture[bytes], here: Path
) -> None:
    assert matted("shots", *outputs, "--json") == 1
    assert b"--json: got frames on standard output" in capfdbinary.readouterr().err
    assert not (here / "out.mp4").exists()
    assert matted("shots", *outputs) == 0
    out, err = capfdbinary.readouterr()
    assert len(out) == 4 * 96 * 64 * channels
    assert b"4 frames" in err


def test_without_a_background_a_folder_has_transparency() -> None:
    assert matted("shots", "-o", "out/") == 0
    assert FakeSession.made["outputs"] == ("rgba",)


@pytest.mark.parametrize("given", ["numbered/000000.png", "linked.png"])
def test_the_background_is_not_replaced_even_with_force(
    given: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    behind = here / "numbered" / "000000.png"
    behind.parent.mkdir()
    Image.new("RGB", (8, 8)).save(behind)
    Path("linked.png").symlink_to(behind)
    assert matted("shots", "-o", "numbered", "--background", given, "--force") == 1
    assert "output 'numbered': got the background itself" in capsys.readouterr().err
    assert behind.exists()
