"""Times on the command line."""

from __future__ import annotations

import pytest

from rvm_trt.commands.time_text import parse_time
from rvm_trt.errors import OptionError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("12.5", 12.5),
        (".5", 0.5),
        ("1:30", 90),
        ("0:01:30.5", 90.5),
        ("90:00", 5400),
        ("2:00:00", 7200),
    ],
)
def test_a_time_in_each_form(text: str, seconds: float) -> None:
    assert parse_time(text, subject="--from") == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:99:00", "1:2:3:4", "ten", "1e3", "nan", "1,5"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"--to: got .*as 1:30"):
        parse_time(text, subject="--to")
