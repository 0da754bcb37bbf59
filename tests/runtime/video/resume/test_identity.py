"""Whatever changes the bytes of a job is compared before it is gone on with, and told in words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from averaging import contents, matte, stop_at
from PIL import Image

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.cuts import CutDetector
from rvm_trt.runtime.video.input_options import Gaps, InputOptions
from rvm_trt.runtime.video.output import EncodeOptions
from rvm_trt.runtime.video.stores import partial_folder


def interrupted(source: Path, output: Path, **arguments: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        matte(source, output, before=stop_at(12), **arguments)


@pytest.fixture(params=["png", "exr"])
def shots(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder of thirty images, and a file of another kind."""
    folder, rng = tmp_path / "shots", np.random.default_rng(1)
    folder.mkdir()
    for number in range(30):
        image = rng.integers(0, 255, (48, 64, 3), np.uint8)
        if request.param == "png":
            Image.fromarray(image).save(folder / f"{number:06d}.png")
        else:
            channels = {name: image[..., i].astype(np.float32) / 255 for i, name in enumerate("RGB")}
            OpenEXR.File({"type": OpenEXR.scanlineimage}, channels).write(str(folder / f"{number:06d}.exr"))
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.parametrize("pattern", [False, True])
def test_every_image_counts(shots: Path, tmp_path: Path, pattern: bool) -> None:
    suffix = next(path.suffix for path in sorted(shots.iterdir()))
    given, output = shots / f"######{suffix}" if pattern else shots, tmp_path / "out.mp4"
    interrupted(given, output)
    kept = contents(partial_folder(output))
    changed = shots / f"000020{suffix}"
    data, times = changed.read_bytes(), changed.stat()
    for harm in (
        lambda: changed.write_bytes((shots / f"000021{suffix}").read_bytes()),
        lambda: os.utime(changed, ns=(0, 0)),
        lambda: (shots / f"000030{suffix}").write_bytes(data),
    ):
        harm()
        with pytest.raises(VideoError, match=r"got input 3[01] images .*expected input 30 images"):
            matte(given, output, resume=True)
        (shots / f"000030{suffix}").unlink(missing_ok=True)
        changed.write_bytes(data)
        os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert contents(partial_folder(output)) == kept
    (shots / "notes.txt").write_text("changed")
    assert matte(given, output, resume=True).resumed_at == 8


def test_one_image_is_known_without_its_neighbours(tmp_path: Path) -> None:
    path, rng = tmp_path / "moving.png", np.random.default_rng(1)
    pictures = [Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)) for _ in range(20)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    interrupted(path, tmp_path / "out.mp4")
    pictures[0].save(tmp_path / "neighbour.png")
    assert matte(path, tmp_path / "out.mp4", resume=True).resumed_at == 8


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            {"cuts": CutDetector()},
            {"cuts": CutDetector(threshold=0.4)},
            "got cut detection from 0.4 on, expected cut detection from 0.25 on",
        ),
        ({"cuts": CutDetector()}, {}, "got cut detection no, expected cut detection from"),
        ({"reset_every": 3}, {"reset_every": 4}, "got reset every 4, expected reset every 3"),
        ({}, {"inputs": InputOptions(gaps=Gaps.HOLD)}, "got input gaps .*HOLD, expected input gaps .*REFUSE"),
        ({}, {"inputs": InputOptions(stop_s=0.9)}, "got .*input stop_s 0.9, expected .*input stop_s None"),
    ],
)
def test_how_it_is_run_counts(
    source: Path, tmp_path: Path, before: dict[str, Any], after: dict[str, Any], words: str
) -> None:
    interrupted(source, tmp_path / "out.mp4", job=before)
    with pytest.raises(VideoError, match=words):
        matte(source, tmp_path / "out.mp4", resume=True, job=after)


def test_the_number_of_threads_counts_however_it_was_given(source: Path, tmp_path: Path) -> None:
    from rvm_trt.runtime.bands import available_threads

    interrupted(source, tmp_path / "out.mp4")
    with pytest.raises(VideoError, match="got composite threads 7"):
        matte(source, tmp_path / "out.mp4", resume=True, options=EncodeOptions(threads=7))
    same = EncodeOptions(threads=available_threads())
    assert matte(source, tmp_path / "out.mp4", resume=True, options=same).resumed_at == 8


def test_a_long_input_is_known_by_its_time_too(source: Path, tmp_path: Path) -> None:
    with source.open("ab") as file:  # what follows the last cluster is skipped
        file.truncate(40 << 20)
    interrupted(source, tmp_path / "out.mp4")
    times = source.stat()
    with source.open("r+b") as file:
        file.seek((20 << 20) + (100 << 10))  # between two samples
        file.write(b"\1")
    with pytest.raises(VideoError, match="got input "):
        matte(source, tmp_path / "out.mp4", resume=True)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert matte(source, tmp_path / "out.mp4", resume=True).resumed_at == 8
