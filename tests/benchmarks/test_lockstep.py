"""Mattes are compared frame by frame, each entrant over as many as it is asked for, and pictures are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

from rvm_trt.benchmarks.entrants import BACKGROUND, BASELINE
from rvm_trt.benchmarks.interleave import Field
from rvm_trt.benchmarks.lockstep import MIDDLE, WORST, Lockstep

Image = npt.NDArray[np.uint8]
HEIGHT, WIDTH = 12, 16
WORST_FRAME = 3


class FakeField:
    """Entrants whose alpha is the frame's first channel and a little more; most on one frame."""

    def __init__(self, errors: Mapping[str, int], dies: Mapping[str, int] | None = None) -> None:
        self.workers = dict.fromkeys(errors)
        self.failures: dict[str, str] = {}
        self.asked: list[str] = []
        self._errors = errors
        self._dies = dict(dies or {})

    def ask(self, name: str, request: dict[str, Any], *, timeout_s: float) -> dict[str, Any] | None:
        assert timeout_s > 0
        self.asked.append(name)
        if self._dies.get(name) == self.asked.count(name):
            del self.workers[name]
            return None
        paths = request["matte"]
        frame = np.load(paths["frame"])
        error = self._errors[name] * (2 if frame[0, 0, 2] == WORST_FRAME else 1)
        pha, fgr = (np.lib.format.open_memmap(paths[kind], "r+") for kind in ("pha", "fgr"))
        assert (pha.dtype, fgr.dtype) == (np.uint16, np.uint8)
        pha[:] = frame[..., 0].astype(np.uint16) * 257 + error * 257
        fgr[:] = frame
        return {}


def footage(count: int) -> Iterator[Image]:
    for index in range(count):
        frame = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
        frame[..., 2] = index
        yield frame


def compare(field: FakeField, counts: dict[str, int], folder: Path, watched: str | None = "one") -> Any:
    lockstep = Lockstep(counts, watched=watched, folder=folder, pictures=folder / "frames", prefix="hd")
    return lockstep.run(cast(Field, field), footage(20))


def test_each_entrant_is_compared_over_its_own_number_of_frames(tmp_path: Path) -> None:
    field = FakeField({BASELINE: 0, "one": 1, "two": 2})
    accuracy = compare(field, {BASELINE: 6, "one": 6, "two": 2}, tmp_path)
    assert [field.asked.count(name) for name in (BASELINE, "one", "two")] == [6, 6, 2]
    assert set(accuracy.errors) == {"one", "two"}
    one = accuracy.errors["one"]
    assert (one["reference"], one["frames"], one["worst_frame"]) == (BASELINE, 6, WORST_FRAME)
    expected = [1e3 / 255] * 6
    expected[WORST_FRAME] *= 2
    assert one["drift_mad_e3"] == pytest.approx(expected, abs=1e-3)
    assert accuracy.errors["two"]["mad_e3"] == pytest.approx(2e3 / 255, abs=1e-3)


def test_the_worst_and_the_middle_frame_are_kept_as_pictures(tmp_path: Path) -> None:
    accuracy = compare(FakeField({BASELINE: 0, "one": 1}), {"one": 10}, tmp_path)
    found = {picture["why"]: picture for picture in accuracy.pictures}
    assert {why: picture["frame"] for why, picture in found.items()} == {WORST: WORST_FRAME, MIDDLE: 5}
    worst = found[WORST]
    with Pillow.open(tmp_path / worst["alpha"]) as alpha:
        assert alpha.size == (WIDTH, HEIGHT)
        assert np.asarray(alpha.convert("L"))[0, 0] == 102
    with Pillow.open(tmp_path / worst["reference_composite"]) as composite:
        share = 100 / 255
        wanted = [100 * share + BACKGROUND[0] * (1 - share), 100 * share + BACKGROUND[1] * (1 - share)]
        assert np.asarray(composite)[4, 4, :2] == pytest.approx(wanted, abs=6)  # lossy


def test_who_leaves_the_field_has_no_figures_and_the_others_go_on(tmp_path: Path) -> None:
    field = FakeField({BASELINE: 0, "one": 1, "two": 2}, dies={"two": 2})
    accuracy = compare(field, {"one": 4, "two": 4}, tmp_path)
    assert set(accuracy.errors) == {"one"}
    assert accuracy.errors["one"]["frames"] == 4


def test_pictures_are_small(tmp_path: Path) -> None:

    lockstep = Lockstep({"one": 1}, watched="one", folder=tmp_path, pictures=tmp_path / "frames", prefix="4k")
    frames = iter([np.full((1080, 1920, 3), 9, np.uint8)])
    accuracy = lockstep.run(cast(Field, FakeField({BASELINE: 0, "one": 1})), frames)
    with Pillow.open(tmp_path / accuracy.pictures[0]["source"]) as source:
        assert source.size == (960, 540)


def test_without_frames_nothing_is_asked(tmp_path: Path) -> None:
    field = FakeField({BASELINE: 0, "one": 1})
    accuracy = compare(field, {"one": 0}, tmp_path, watched=None)
    assert (field.asked, accuracy.errors, accuracy.pictures) == ([], {}, [])
