"""``rvm-trt matte --resume``: what is compared with the interrupted job, and what is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeSession, matted
from PIL import Image

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of a job with two backgrounds to choose from, which was interrupted after its first 250 frames."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    pictures = [Image.new("L", (32, 32), index) for index in range(256)]
    pictures[0].save("in.gif", save_all=True, append_images=[*pictures[1:], *pictures[:4]], duration=40)
    Image.new("RGB", (32, 32), (1, 2, 3)).save("beach.png")
    whole: Callable[..., Iterator[Any]] = FakeSession.run
    given: list[int] = []

    def run(session: FakeSession, frames: Any) -> Iterator[Any]:
        for matte in whole(session, frames):
            given.append(1)
            if len(given) == 255:
                raise KeyboardInterrupt
            yield matte

    arguments = ["in.gif", "-o", "out.mkv", "--background", "~/beach.png"]
    with monkeypatch.context() as patch:
        patch.setattr(FakeSession, "run", run)
        assert matted(*arguments, "--quiet") == 130
    return arguments


def test_the_same_job_goes_on(interrupted: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    arguments = [*interrupted[:-1], "beach.png"]
    assert matted(*arguments, "--resume", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["resumed_at"]) == (260, 250)


def test_the_summary_says_where_it_went_on(
    interrupted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert matted(*interrupted, "--resume") == 0
    assert "; went on after 250 frames; done in" in capsys.readouterr().out


def test_a_job_that_is_done_is_said_to_be_and_left(
    interrupted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert matted(*interrupted, "--resume") == 0
    output = Path(interrupted[interrupted.index("-o") + 1])
    before = output.stat().st_mtime_ns
    capsys.readouterr()
    assert matted(*interrupted, "--resume") == 0
    assert f"{output} is there already" in capsys.readouterr().err
    assert output.stat().st_mtime_ns == before


def _repaint() -> None:
    Image.new("RGB", (32, 32), (1, 2, 4)).save("beach.png")


@pytest.mark.parametrize(
    ("more", "change", "message"),
    [
        ([], _repaint, "background beach.png with SHA-256"),
        (["--background", "white"], None, "got background white, expected background beach.png"),
        (["--fit", "contain"], None, "got fit contain, expected fit cover"),
        (["--no-spill-suppression"], None, "spill suppression no"),
        (["--no-cut-reset"], None, "got cut detection no"),
        (["--reset-every", "7"], None, "got reset every 7"),
        (["--to", "5"], None, "input stop_s 5"),
        (["--pha", "alpha.mkv"], None, "pha output"),
    ],
)
def test_another_job_is_refused_in_words(
    interrupted: list[str],
    more: list[str],
    change: Callable[[], None] | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if change is not None:
        change()
    capsys.readouterr()
    assert matted(*interrupted, *more, "--resume") == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not Path("out.mkv").exists()
