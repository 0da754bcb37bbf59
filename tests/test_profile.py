"""A profile and the sizes that follow from it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from itertools import combinations
from typing import Any

import pytest

from rvm_trt import Profile
from rvm_trt.errors import OptionError
from rvm_trt.options import Refiner, Variant
from rvm_trt.profile import automatic_ratio

# rvm.md, shapes per profile: name, low-res height and width, then r1..r4.
PAPER_SHAPES = [
    ("hd", (270, 480), [(135, 240), (68, 120), (34, 60), (17, 30)]),
    ("4k", (270, 480), [(135, 240), (68, 120), (34, 60), (17, 30)]),
    ("720p", (270, 480), [(135, 240), (68, 120), (34, 60), (17, 30)]),
    ("hd-fullbody", (432, 768), [(216, 384), (108, 192), (54, 96), (27, 48)]),
    ("4k-fullbody", (432, 768), [(216, 384), (108, 192), (54, 96), (27, 48)]),
    ("720p-fullbody", (432, 768), [(216, 384), (108, 192), (54, 96), (27, 48)]),
    ("hd-portrait", (480, 270), [(240, 135), (120, 68), (60, 34), (30, 17)]),
]
NAMES = ["720p", "hd", "4k", "dci4k"]
SUFFIXES = ["", "-portrait", "-fullbody", "-portrait-fullbody"]


@pytest.mark.parametrize(("name", "low", "states"), PAPER_SHAPES)
def test_named_profiles_have_the_sizes_of_the_paper(
    name: str, low: tuple[int, int], states: list[tuple[int, int]]
) -> None:
    profile = Profile.named(name)
    assert (profile.low_height, profile.low_width) == low
    assert [shape[2:] for shape in profile.state_shapes] == states


def test_a_profile_at_ratio_1_runs_the_network_at_frame_size() -> None:
    profile = Profile(width=512, height=288, ratio=1)
    assert not profile.uses_refiner
    assert profile.state_shapes == ((1, 16, 144, 256), (1, 20, 72, 128), (1, 40, 36, 64), (1, 64, 18, 32))


def test_states_follow_variant_and_batch() -> None:
    profile = Profile.named("hd", variant="resnet50", batch=3)
    assert [shape[:2] for shape in profile.state_shapes] == [(3, 16), (3, 32), (3, 64), (3, 128)]


@pytest.mark.parametrize(
    ("name", "size", "ratio"),
    [
        ("720p", (1280, 720), 0.375),
        ("hd", (1920, 1080), 0.25),
        ("4k", (3840, 2160), 0.125),
        ("dci4k", (4096, 2160), 0.125),
        ("720p-fullbody", (1280, 720), 0.6),
        ("hd-fullbody", (1920, 1080), 0.4),
        ("4k-portrait-fullbody", (2160, 3840), 0.2),
        ("4k-fullbody-portrait", (2160, 3840), 0.2),
    ],
)
def test_named_profiles_have_the_recommended_ratios(name: str, size: tuple[int, int], ratio: float) -> None:
    profile = Profile.named(name)
    assert ((profile.width, profile.height), profile.ratio) == (size, ratio)
    assert (profile.refiner, profile.variant, profile.batch) == (Refiner.DEEP, Variant.MOBILENETV3, 1)


@pytest.mark.parametrize(
    "name", ["", "8k", "HD", "hd-", "hd-wide", "hd-portrait-portrait", "portrait", "hd portrait"]
)
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(OptionError, match="720p, hd, 4k, dci4k") as caught:
        Profile.named(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("width", "height", "ratio"),
    [(1920, 1080, 512 / 1920), (1080, 1920, 512 / 1920), (640, 480, 0.8), (512, 288, 1.0), (320, 240, 1.0)],
)
def test_the_automatic_ratio_gives_512_pixels_on_the_long_side(width: int, height: int, ratio: float) -> None:
    assert automatic_ratio(width=width, height=height) == ratio
    assert Profile.for_size(width=width, height=height).ratio == ratio


def test_a_given_ratio_wins_over_the_automatic_one() -> None:
    profile = Profile.for_size(
        width=640, height=480, ratio=0.5, refiner="fast_guided_filter", variant="resnet50"
    )
    assert (profile.ratio, profile.refiner, profile.variant) == (0.5, Refiner.FAST, Variant.RESNET50)


@pytest.mark.parametrize(
    ("side", "ratio", "low"), [(417, 0.6, 250), (235, 0.6, 141), (561, 512 / 561, 511), (161, 0.6, 96)]
)
def test_low_resolution_sizes_are_rounded_down_in_double_precision(side: int, ratio: float, low: int) -> None:
    assert Profile(width=side, height=side, ratio=ratio).low_width == low
    assert Profile(width=side, height=side, ratio=ratio).low_height == low


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"width": 0}, "width"),
        ({"width": -160}, "width"),
        ({"width": 15}, "width"),
        ({"width": 16385}, "width"),
        ({"width": 160.0}, "width"),
        ({"width": True}, "width"),
        ({"width": "160"}, "width"),
        ({"height": 8}, "height"),
        ({"height": None}, "height"),
        ({"batch": 0}, "batch"),
        ({"batch": 17}, "batch"),
        ({"batch": 1.0}, "batch"),
        ({"ratio": 0}, "ratio"),
        ({"ratio": -0.5}, "ratio"),
        ({"ratio": 1.0001}, "ratio"),
        ({"ratio": float("nan")}, "ratio"),
        ({"ratio": float("inf")}, "ratio"),
        ({"ratio": True}, "ratio"),
        ({"ratio": 10**400}, "ratio"),
        ({"ratio": -(10**5000)}, "ratio"),
        ({"width": 10**5000}, "width"),
        ({"refiner": 10**5000}, "refiner"),
        ({"ratio": "0.5"}, "ratio"),
        ({"ratio": None}, "ratio"),
        ({"ratio": 0.1}, "ratio"),
        ({"refiner": "deep"}, "refiner"),
        ({"refiner": None}, "refiner"),
        ({"variant": "resnet18"}, "variant"),
    ],
)
def test_values_out_of_range_are_refused_by_name(change: dict[str, Any], subject: str) -> None:
    with pytest.raises(OptionError) as caught:
        Profile(**{"width": 160, "height": 96, "ratio": 0.5, **change})
    assert caught.value.subject == subject
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("size", [(0, 0), (-160, 96), (160, None), ("160", 96)])
def test_an_impossible_size_is_refused_also_without_a_ratio(size: tuple[Any, Any]) -> None:
    with pytest.raises(OptionError):
        Profile.for_size(width=size[0], height=size[1])


def test_a_network_input_under_16_pixels_is_refused_with_its_size() -> None:
    with pytest.raises(OptionError, match="network input of 20x12") as caught:
        Profile(width=160, height=96, ratio=0.125)
    assert "larger ratio" in caught.value.todo


@pytest.mark.parametrize("name", [base + suffix for base in NAMES for suffix in SUFFIXES])
def test_named_profiles_are_called_by_their_name(name: str) -> None:
    assert Profile.named(name).name == name


def test_the_names_are_those_of_every_named_profile() -> None:
    assert Profile.names() == tuple(base + suffix for base in NAMES for suffix in SUFFIXES)
    assert len({Profile.named(name) for name in Profile.names()}) == 16


def test_other_profiles_name_everything_that_differs() -> None:
    profile = Profile(width=417, height=235, ratio=0.6, refiner=Refiner.FAST)
    assert profile.name == "417x235-r0.6-fgf"
    assert replace(profile, variant=Variant.RESNET50, batch=2).name == "417x235-r0.6-resnet50-fgf-b2"


def test_different_profiles_have_different_names() -> None:
    base = Profile(width=417, height=235, ratio=0.6)
    changes: list[dict[str, Any]] = [
        {},
        {"width": 235, "height": 417},
        {"ratio": 0.6000000001},
        {"ratio": 1.0},
        {"refiner": Refiner.FAST},
        {"variant": Variant.RESNET50},
        {"batch": 2},
    ]
    profiles = [replace(base, **change) for change in changes]
    for one, other in combinations(profiles, 2):
        assert one.name != other.name, (one, other)


def test_profiles_without_refiner_still_have_different_names() -> None:
    # An engine's folder is called by the name: two profiles with one name would replace each other's engines.
    deep = Profile(width=417, height=235, ratio=1.0)
    fast = replace(deep, refiner=Refiner.FAST)
    assert deep == fast or deep.name != fast.name


def test_names_are_safe_in_a_path() -> None:
    names = [Profile(width=500, height=333, ratio=ratio).name for ratio in (1 / 3, 0.1, 1.0, 512 / 561)]
    assert all("/" not in name and " " not in name and not name.startswith(".") for name in names)


def test_json_round_trip_gives_an_equal_profile() -> None:
    profile = Profile(
        width=417, height=235, ratio=1 / 3, refiner=Refiner.FAST, variant=Variant.RESNET50, batch=4
    )
    data = profile.to_json()
    assert data["refiner"] == "fast_guided_filter"
    assert type(data["variant"]) is str
    assert Profile.from_json(data) == profile


@pytest.mark.parametrize("damage", ["missing", "extra", "text", "list", "null", "value"])
def test_damaged_json_is_refused(damage: str) -> None:
    data: Any = Profile.named("hd").to_json()
    if damage == "missing":
        del data["ratio"]
    elif damage == "extra":
        data["fps"] = 30
    elif damage == "value":
        data["width"] = "wide"
    else:
        data = {"text": "hd", "list": [1, 2], "null": None}[damage]
    with pytest.raises(OptionError):
        Profile.from_json(data)


def test_profiles_are_frozen_and_usable_as_keys() -> None:
    profile = Profile.named("hd")
    with pytest.raises(FrozenInstanceError):
        profile.width = 3  # type: ignore[misc]
    assert {profile: 1}[Profile(width=1920, height=1080, ratio=0.25)] == 1
