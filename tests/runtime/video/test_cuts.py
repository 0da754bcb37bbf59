"""Cuts between shots are found; motion, fades and flashes are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.errors import FrameError
from rvm_trt.runtime.video.cuts import CutDetector

Image = npt.NDArray[np.uint8]
SIZE = (90, 160)


def scene(seed: int) -> Image:
    """A picture of large soft shapes, larger than a frame."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(20, 235, (8, 12, 3)).astype(np.float32)
    rows, columns = np.linspace(0, 6.99, 2 * SIZE[0]), np.linspace(0, 10.99, 2 * SIZE[1])
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = coarse[top][:, left] * (1 - right) + coarse[top][:, left + 1] * right
    lower = coarse[top + 1][:, left] * (1 - right) + coarse[top + 1][:, left + 1] * right
    return (upper * (1 - down) + lower * down).astype(np.uint8)


def shot(seed: int, *, frames: int = 12, speed: int = 2, noise: int = 4) -> Iterator[Image]:
    """A camera that moves over a scene, with noise."""
    picture, generator = scene(seed), np.random.default_rng(1000 + seed)
    for index in range(frames):
        part = picture[index : index + SIZE[0], speed * index : speed * index + SIZE[1]].astype(int)
        yield (part + generator.integers(-noise, noise + 1, part.shape)).clip(0, 255).astype(np.uint8)


def cuts(frames: Iterable[Image], detector: CutDetector | None = None) -> list[int]:
    detector = detector or CutDetector()
    return [index for index, frame in enumerate(frames) if detector.is_cut(frame)]


def test_every_cut_is_found_where_it_is() -> None:
    assert cuts(chain(shot(1), shot(2), shot(3, frames=5), shot(4))) == [12, 24, 29]


def test_cuts_right_behind_each_other_are_found() -> None:
    assert cuts(chain(shot(1), shot(2, frames=1), shot(3, frames=1), shot(4))) == [12, 13, 14]


@pytest.mark.parametrize(("speed", "frames"), [(0, 12), (2, 12), (8, 12), (24, 6)])
def test_a_moving_camera_is_no_cut(speed: int, frames: int) -> None:
    assert cuts(shot(5, speed=speed, frames=frames)) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_whip_pan_out_of_a_still_shot_is_no_cut(seed: int) -> None:
    pan = list(shot(seed, speed=24, frames=6))
    assert cuts([pan[0]] * 8 + pan) == []


def shaken(seed: int, *, frames: int = 12) -> list[Image]:
    """A hand that cannot hold the camera still."""
    picture, places = scene(seed), np.random.default_rng(1).integers(40, 48, (frames, 2))
    return [picture[top : top + SIZE[0], left : left + SIZE[1]] for top, left in places]


def test_a_cut_from_a_shaking_camera_is_found() -> None:
    assert cuts(shaken(1) + shaken(2)) == [12]


def test_the_shot_before_says_nothing_of_the_next() -> None:
    dim = [(frame // 6) for frame in chain(shot(2, frames=2), shot(3))]
    assert cuts([*shaken(1), *dim]) == [12, 14]


def test_what_changes_all_the_time_is_no_cut() -> None:
    crowd = [(0.55 * scene(1) + 0.45 * scene(10 + index)).astype(np.uint8) for index in range(12)]
    assert cuts(crowd) == []


def test_a_fade_to_black_and_a_flash_are_no_cuts() -> None:
    frames = list(shot(6, frames=24))
    faded = [(frame * max(0.1, 1 - index / 20)).astype(np.uint8) for index, frame in enumerate(frames)]
    assert cuts(faded) == []
    flash = [*frames[:8], (frames[8] * 0.5 + 127).astype(np.uint8), *frames[9:]]
    assert cuts(flash) == []


@pytest.mark.parametrize("darker", [3, 8])
def test_a_cut_between_dark_shots_is_found(darker: int) -> None:
    dark = [(frame // darker) for frame in chain(shot(1), shot(2))]
    assert cuts(dark) == [12]


def test_noise_and_black_are_no_cuts() -> None:
    generator = np.random.default_rng(2)
    black = [generator.integers(0, 8, (*SIZE, 3), np.uint8) for _ in range(12)]
    assert cuts(black) == []
    assert cuts([np.zeros((*SIZE, 3), np.uint8)] * 12) == []
    assert cuts(shot(4, noise=60)) == []


def test_a_cut_to_black_and_the_picture_after_it_are_found() -> None:
    assert cuts([*shot(1), *[np.zeros((*SIZE, 3), np.uint8)] * 3, *shot(2)]) == [12, 15]


def test_a_higher_threshold_finds_less() -> None:
    frames = list(chain(shot(1), shot(2)))
    assert cuts(frames, CutDetector(threshold=1.9)) == []


def test_a_video_that_changes_its_size_is_no_cut() -> None:
    frames = list(shot(3))
    assert cuts([*frames[:6], *(frame.repeat(2, 0).repeat(2, 1) for frame in frames[6:])]) == []


def test_a_restored_detector_goes_on_as_the_first_would_have() -> None:
    frames = list(chain(shot(7, frames=9), shot(8, frames=9)))
    expected = cuts(frames)
    for stop in (0, 1, 5, 9):
        first = CutDetector()
        found = cuts(frames[:stop], first)
        second = CutDetector()
        second.restore(first.state())
        assert found + [stop + index for index in cuts(frames[stop:], second)] == expected


def test_a_foreign_state_is_refused_and_changes_nothing() -> None:
    detector = CutDetector()
    frames = list(chain(shot(1, frames=3), shot(2, frames=3)))
    cuts(frames[:3], detector)
    with pytest.raises(FrameError, match=r"cut detector: got shape \(7,\)"):
        detector.restore(np.zeros(7, np.float32))
    assert cuts(frames[3:], detector) == [0]
