"""Files that others made: bounded in size, depth and digits, and quoted without what steers a terminal."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rvm_trt.untrusted import MAX_DEPTH, parse_json, read_bounded, shown


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, max_bytes=5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_bounded(path, max_bytes=4)


@pytest.mark.timeout(20)
def test_pipes_devices_and_folders_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path, words in (
        (tmp_path / "pipe", "regular"),
        (tmp_path / "link", "regular"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(OSError, match=words):
            read_bounded(path, max_bytes=100)


def test_json_is_parsed_as_it_is() -> None:
    value = {"a": [1, -2.5, None, True, "ä"], "b": {"c": (1 << 63) - 1}}
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 400, 990, 1000, 100_000])
@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
def test_json_that_nests_too_deep_is_refused(levels: int, brackets: str) -> None:
    opening, closing = brackets[:-1], brackets[-1]
    with pytest.raises(ValueError, match="deep"):
        parse_json((opening * levels + "0" + closing * levels).encode())


def test_json_may_nest_up_to_the_bound() -> None:
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None


@pytest.mark.parametrize("digits", ["9223372036854775808", "-9223372036854775808", "9" * 400, "9" * 5000])
def test_integers_of_more_than_64_bits_are_refused(digits: str) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        parse_json(f"[{digits}]".encode())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\xfd", b"[1,]", b"nul"])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(content)


def test_quoted_text_is_short_and_plain() -> None:
    assert shown("decoder.conv é") == "decoder.conv é"
    assert shown("x" * 500, limit=10) == "x" * 10 + "…"
    for text in ("\x1b[2J", "a\nb", "\ud800", "\u202e"):
        quoted = shown(text)
        assert quoted.isprintable()
        assert quoted.encode("ascii").decode("unicode_escape") == text
