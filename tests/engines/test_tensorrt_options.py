"""Options of TensorRT's builder: how they are written, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rvm_trt.engines.tensorrt_options import TensorRtOptions, parse_targets
from rvm_trt.errors import OptionError


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("89,120", ("sm_89", "sm_120")),
        ("8.9, 12.0", ("sm_89", "sm_120")),
        ("sm_75", ("sm_75",)),
        ("SM86", ("sm_86",)),
    ],
)
def test_targets_are_written_in_three_ways(text: str, targets: tuple[str, ...]) -> None:
    assert parse_targets(text) == targets


@pytest.mark.parametrize("text", ["", "89,", "ada", "8.9.0", "1", "sm_90a", "89 120"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"^targets: got .* expected compute capabilities such as 'sm_89'"):
        parse_targets(text)


@pytest.mark.parametrize(
    "option",
    [
        {"targets": ()},
        {"targets": ("89",)},
        {"workspace_bytes": 0},
        {"workspace_bytes": 1.5},
        {"optimization_level": 6},
        {"optimization_level": True},
        {"max_aux_streams": -1},
        {"hardware_compatibility": "turing"},
    ],
)
def test_options_out_of_range_are_refused_when_made(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(OptionError, match=f"^{name}: got "):
        TensorRtOptions(**option)


def test_targets_are_ordered_and_single() -> None:
    options = TensorRtOptions(targets=("sm_120", "sm_86", "sm_120", "sm_89"))
    assert options.targets == ("sm_86", "sm_89", "sm_120")


def test_json_holds_what_changes_the_plan() -> None:
    plain = TensorRtOptions()
    aside = TensorRtOptions(timing_cache=Path("somewhere"), tactic_log=True)
    assert plain.to_json() == aside.to_json()
    for option in (
        {"targets": ("sm_75",)},
        {"workspace_bytes": 1 << 30},
        {"optimization_level": 4},
        {"hardware_compatibility": "ampere_plus"},
        {"max_aux_streams": 0},
    ):
        assert TensorRtOptions(**option).to_json() != plain.to_json()
