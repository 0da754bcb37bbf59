"""``rvm-trt matte``: what is refused before any work, and how it is told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from fakes import FakeSession, matted
from PIL import Image

from rvm_trt.cli import main
from rvm_trt.commands import matte
from rvm_trt.commands.background import parse_background
from rvm_trt.errors import OptionError
from rvm_trt.options import Precision


def test_the_whole_command(
    shots: Path, tmp_path: Path, no_network: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "matte",
        str(shots),
        "-o",
        str(tmp_path / "out.mp4"),
        "--background",
        "1,2,3",
        "--ratio",
        "0.5",
    ]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "out.mp4: composite, 4 frames, 96x64, 30 FPS; done in" in out
    assert "Traceback" not in err
    ((profile, options),) = no_network
    assert (profile.width, profile.height, profile.ratio) == (96, 64, 0.5)
    assert (options["backend"], options["precision"]) == ("cpu", Precision.BF16)
    assert FakeSession.made["background"] == (1, 2, 3)
    assert FakeSession.made["outputs"] == ("composite",)


def test_json_is_all_that_is_printed(
    shots: Path, tmp_path: Path, no_network: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "matte",
        str(shots),
        "-o",
        str(tmp_path / "out.mp4"),
        "--json",
        "--quiet",
        "--rate",
        "30000/1001",
    ]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["frames"], report["rate"], report["kind"]) == (4, "30000/1001", "composite")
    assert err == ""
    assert len(no_network) == 1


def test_ctrl_c_says_how_far_it_got(
    shots: Path,
    tmp_path: Path,
    no_network: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: Any, frames: Any) -> Iterator[Any]:
        yield SimpleNamespace(composite=next(iter(frames)))
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeSession, "run", interrupted)
    assert main(["matte", str(shots), "-o", str(tmp_path / "out.mp4"), "--quiet"]) == 130
    assert "interrupted. Stopped after 1 of 4 frames; nothing was written." in capsys.readouterr().err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["shots"]
    assert len(no_network) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.mp4", "-o", "out.mp4"], "nothing there"),
        (["shots", "-o", "out.avi"], "the suffix '.avi'"),
        (["shots", "-o", "there.mp4"], "--force"),
        (["shots", "-o", "shots"], "input itself"),
        (["shots", "-o", "no/out.mp4"], "no folder"),
        (["shots", "-o", "out.mp4", "--output-kind", "rgba"], "without alpha"),
        (["shots", "-o", "out.mp4", "--background", "greeen"], "'greeen'"),
        (["shots", "-o", "out.mp4", "--background", "1,2,256"], "'1,2,256'"),
        (["shots", "-o", "out.mp4", "--background", "there.mp4"], "does not open as an image"),
        (
            ["shots", "-o", "out.mp4", "--output-kind", "pha", "--background", "white"],
            "Leave out --background",
        ),
        (["shots", "-o", "out.mp4", "--ratio", "1.5"], "ratio: got 1.5"),
        (["shots", "-o", "out.mp4", "--ratio", "0.1"], "ratio"),
        (["shots", "-o", "out.mp4", "--rate", "fast"], "rate: got 'fast'"),
        (["shots", "-o", "out.mp4", "--crf", "99"], "crf: got 99"),
        (["shots", "-o", "out.mp4", "--preset", "warp"], "preset: got 'warp'"),
        (["there.mp4", "-o", "out.mp4"], "does not open"),
    ],
)
def test_mistakes_are_one_message_before_any_work(
    shots: Path,
    no_network: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(shots.parent)
    Path("there.mp4").write_bytes(b"not a video" * 100)
    assert main(["matte", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rvm-trt matte: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert no_network == []


def test_backgrounds(tmp_path: Path) -> None:
    for text in ("#78ff9b", "78FF9B", "120,255,155", "120, 255, 155", "green", "Green"):
        assert parse_background(text, width=8, height=8) == (120, 255, 155)
    # Wide enough to need a cut: the middle third is what covers a square frame.
    image = np.zeros((30, 90, 3), np.uint8)
    image[:, 30:60] = (10, 200, 30)
    Image.fromarray(image).save(tmp_path / "wide.png")
    background = parse_background(str(tmp_path / "wide.png"), width=20, height=20)
    assert isinstance(background, np.ndarray)
    assert background.shape == (20, 20, 3)
    assert background.flags.c_contiguous
    assert (background[:, 4:-4] == (10, 200, 30)).all()
    with pytest.raises(OptionError, match="'mauve'"):
        parse_background("mauve", width=8, height=8)


@pytest.mark.parametrize(
    ("width", "height", "ratio"),
    [
        (1280, 720, 0.375),
        (1920, 1080, 0.25),
        (1080, 1920, 0.25),
        (3840, 2160, 0.125),
        (512, 288, 1.0),
        (320, 240, 1.0),
        (640, 480, 0.8),
    ],
)
def test_the_recommended_ratio_follows_the_size(width: int, height: int, ratio: float) -> None:
    assert matte.choose_profile(width=width, height=height).ratio == ratio
    assert matte.choose_profile(width=width, height=height, ratio=0.5).ratio == 0.5


def test_help_has_examples_and_every_suffix(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(
        description=matte.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    matte.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    text = capsys.readouterr().out
    assert "examples:" in text
    assert all(suffix in text for suffix in (".mp4", ".mkv", ".mov", ".webm", "PNG"))


@pytest.mark.usefixtures("no_network")
def test_alpha_and_foreground_are_written_in_the_same_pass(shots: Path, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("all.mkv", "alpha.mkv", "colours.mkv")]
    assert matted(str(shots), "-o", str(paths[0]), "--pha", str(paths[1]), "--fgr", str(paths[2])) == 0
    assert FakeSession.made["outputs"] == ("composite", "pha", "fgr")
    for path in paths:
        with av.open(str(path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 4


@pytest.mark.usefixtures("no_network")
def test_a_transparent_background_is_written_with_alpha(shots: Path, tmp_path: Path) -> None:
    assert matted(str(shots), "-o", str(tmp_path / "out.mov"), "--background", "transparent") == 0
    assert FakeSession.made["outputs"] == ("rgba",)


@pytest.mark.usefixtures("no_network")
def test_a_background_that_changes_is_set_for_each_frame(shots: Path, tmp_path: Path) -> None:
    assert matted(str(shots), "-o", str(tmp_path / "out.mp4"), "--background", "blur") == 0
    assert len(FakeSession.backgrounds) == 4
    assert all(picture.shape == (64, 96, 3) for picture in FakeSession.backgrounds)


@pytest.mark.usefixtures("no_network")
def test_spill_suppression_has_a_switch(shots: Path, tmp_path: Path) -> None:
    assert matted(str(shots), "-o", str(tmp_path / "a.mp4")) == 0
    assert FakeSession.made["spill_suppression"] is True
    assert matted(str(shots), "-o", str(tmp_path / "b.mp4"), "--no-spill-suppression") == 0
    assert FakeSession.made["spill_suppression"] is False


@pytest.mark.usefixtures("no_network")
def test_a_piece_is_written(shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    piece = ("--rate", "1", "--from", "0:01", "--to", "3", "--json")
    assert matted(str(shots), "-o", str(tmp_path / "out.mp4"), *piece) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shots", "shots", "-o", "out.mp4"], "a name with {name} in it"),
        (["shots", "shots", "-o", "{name}.mp4"], "for more than one input"),
        (["shots", "-o", "out.mov", "--background", "transparent", "--output-kind", "pha"], "kind 'pha'"),
        (["shots", "-o", "-", "--json"], "frames on standard output"),
        (["shots", "-o", "out.mp4", "--from", "soon"], "--from: got 'soon'"),
        (["shots", "-o", "out.mp4", "--from", "0:05", "--to", "0:02"], "--to: got '0:02' with --from 0:05"),
        (["shots", "-o", "out.mp4", "--to", "0"], "--to: got '0' with --from 0"),
        (["shots", "-o", "out.webm", "--codec", "ffv1"], "ffv1"),
        (["shots", "-o", "out.mp4", "--pha", "out.mp4"], "out.mp4"),
        (["shots", "-o", "out.mp4", "--reset-every", "0"], "reset_every: got 0"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_mistakes_in_the_newer_options_are_one_message(
    shots: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(shots.parent)
    assert matted(*arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("rvm-trt matte: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(path.name for path in shots.parent.iterdir()) == ["shots"]
