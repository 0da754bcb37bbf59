"""Links as inputs and outputs, also to themselves: one message, and nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import matted
from PIL import Image

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(autouse=True)
def links(shots: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Links of all kinds beside an animation ``in.gif`` and a folder ``shots``, in the current folder."""
    monkeypatch.chdir(shots.parent)
    pictures = [Image.new("RGB", (96, 64), (50 * index, 9, 9)) for index in range(4)]
    pictures[0].save("in.gif", save_all=True, append_images=pictures[1:], duration=40)
    Path("link.mp4").symlink_to("in.gif")
    os.link("in.gif", "hard.mp4")
    Path("link").symlink_to("shots")
    Path("nowhere.mp4").symlink_to("nothing")
    for name in ("loop", "loop.mp4", "loop.png"):
        Path(name).symlink_to(name)
    Path("round").symlink_to("about")
    Path("about").symlink_to("round")
    return shots.parent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.gif", "-o", "link.mp4", "--force"], "the input itself"),
        (["in.gif", "-o", "hard.mp4", "--force"], "the input itself"),
        (["in.gif", "-o", "out.mp4", "--pha", "link.mp4", "--force"], "the input itself"),
        (["shots", "-o", "link", "--force"], "the input itself"),
        (["shots", "-o", "link/", "--force"], "the input itself"),
        (["link", "-o", "shots", "--force"], "the input itself"),
        (["shots/%d.png", "-o", "link", "--force"], "the input itself"),
        (["shots", "-o", "link.mp4", "--background", "in.gif", "--force"], "the background itself"),
        (["in.gif", "-o", "loop.mp4"], "something already there"),
        (["in.gif", "-o", "nowhere.mp4"], "something already there"),
        (["in.gif", "-o", "loop"], "of that name"),
        (["in.gif", "-o", "round/out.mp4"], "no folder 'round'"),
        (["in.gif", "-o", "out.mp4", "--pha", "loop.mp4"], "something already there"),
        (["loop", "-o", "out.mp4"], "input 'loop': got"),
        (["loop.mp4", "-o", "out.mp4"], "input 'loop.mp4': got"),
        (["loop.png", "-o", "out.mp4"], "input 'loop.png': got"),
        (["loop/in.mp4", "-o", "out.mp4"], "input 'loop/in.mp4': got"),
        (["round/%04d.png", "-o", "out.mp4"], "input 'round/%04d.png': got"),
        (["in.gif", "-o", "out.mp4", "--background", "loop.png"], "--background: got 'loop.png'"),
    ],
)
def test_a_link_is_one_message(
    links: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in links.iterdir())
    assert matted(*arguments) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(path.name for path in links.iterdir()) == before


@pytest.mark.parametrize("name", ["loop.mp4", "nowhere.mp4"])
def test_with_force_a_link_is_replaced_and_not_followed(name: str) -> None:
    assert matted("in.gif", "-o", name, "--force") == 0
    assert Path(name).is_file()
    assert not Path(name).is_symlink()
    assert not Path("nothing").exists()


def test_a_link_as_input_is_read(links: Path) -> None:
    assert matted("link", "-o", "out") == 0
    assert len(list((links / "out").iterdir())) == 4
