"""What ``rvm-trt profiles`` lists, for programs and for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

import pytest

from rvm_trt import Profile
from rvm_trt.cli import main

HD_STATES = [[1, 16, 135, 240], [1, 20, 68, 120], [1, 40, 34, 60], [1, 64, 17, 30]]
Listed = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def listed() -> Listed:
    """``listed(*options)``: the profiles of ``--json`` by their names, computed once."""

    @cache
    def run(*options: str) -> dict[str, dict[str, Any]]:
        with redirect_stdout(StringIO()) as out:
            assert main(["profiles", "--json", *options]) == 0
        return {profile["name"]: profile for profile in json.loads(out.getvalue())["profiles"]}

    return run


def pretend_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the standard output, captured or not, a plain terminal of 80 columns."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")


def test_every_named_profile_is_listed_with_its_facts(listed: Listed) -> None:
    profiles = listed()
    assert set(profiles) == set(Profile.names())
    facts = dict(profiles["hd"])
    macs = facts.pop("macs")
    assert facts == {
        "name": "hd",
        "width": 1920,
        "height": 1080,
        "ratio": 0.25,
        "core": "480x270",
        "low_width": 480,
        "low_height": 270,
        "states": HD_STATES,
        "fp16_state_bytes": 2 * (16 * 135 * 240 + 20 * 68 * 120 + 40 * 34 * 60 + 64 * 17 * 30),
    }
    # The published 4.5 GMACs are those of 512x288 without a filter, which adds 0.1 here.
    assert macs == pytest.approx(4.5e9 * (480 * 270) / (512 * 288) + 0.11e9, rel=0.02)


def test_profiles_of_one_core_stand_together(listed: Listed) -> None:
    profiles = listed()
    cores: dict[str, list[str]] = {}
    for name, facts in profiles.items():
        cores.setdefault(facts["core"], []).append(name)
    assert cores["480x270"] == ["720p", "hd", "4k"]
    assert cores["432x768"] == ["720p-portrait-fullbody", "hd-portrait-fullbody", "4k-portrait-fullbody"]
    assert cores["512x270"] == ["dci4k"]
    assert [name for names in cores.values() for name in names] == list(profiles)


def test_the_variant_changes_states_and_cost(listed: Listed) -> None:
    small, large = listed()["4k"], listed("--variant", "resnet50")["4k"]
    assert large["core"] == small["core"]
    assert [shape[1] for shape in large["states"]] == [16, 32, 64, 128]
    assert large["macs"] > 5 * small["macs"]


def test_the_fast_filter_costs_less(listed: Listed) -> None:
    deep, fast = listed()["hd"], listed("--refiner", "fast_guided_filter")["hd"]
    assert 0.95 * deep["macs"] < fast["macs"] < deep["macs"]


def test_a_size_is_listed_with_the_profiles_that_share_its_core(listed: Listed) -> None:
    profiles = listed("--size", "960x540", "--ratio", "0.5")
    assert list(profiles)[:4] == ["720p", "hd", "4k", "960x540"]
    assert profiles["960x540"]["core"] == "480x270"
    assert profiles["960x540"]["macs"] == profiles["hd"]["macs"]


def test_a_network_without_filter_is_another_core(listed: Listed) -> None:
    profiles = listed("--size", "480x270")
    own = profiles["480x270"]
    assert own["states"] == HD_STATES
    assert own["core"] != profiles["hd"]["core"]
    assert own["macs"] < profiles["hd"]["macs"]


def test_a_size_that_has_a_name_is_listed_once(listed: Listed) -> None:
    assert listed("--size", "1920x1080", "--ratio", "0.25") == listed()


@pytest.mark.parametrize(
    "options", [("--ratio", "0.5"), ("--size", "big"), ("--size", "64x64", "--ratio", "0.1")]
)
def test_an_impossible_size_is_one_line_and_exit_code_1(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profiles", *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("rvm-trt profiles: ")
    assert len(captured.err.splitlines()) == 1


def test_piped_text_has_one_whole_line_per_profile(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["profiles", "--size", "1920x1080"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    header, *lines = captured.out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert set(rows) == {*Profile.names(), "1920x1080"}
    states = ["16x135x240", "20x68x120", "40x34x60", "64x17x30"]
    assert rows["4k"] == ["3840x2160", "0.125", "480x270", *states, "4.08", "1.59"]
    assert {len(line) for line in lines} == {len(header)}
    column = header.index("frame")
    assert all(line[column:].startswith(rows[line.split()[0]][0]) for line in lines)


def test_a_terminal_of_80_columns_shows_names_whole_and_each_core_once(
    listed: Listed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_terminal(monkeypatch)
    assert main(["profiles"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    words = [line.split() for line in lines]
    assert [row[0] for row in words if row and row[0] in Profile.names()] == list(listed())
    assert sum("480x270" in row for row in words) == 1
    assert sum("16x135x240" in row for row in words) == 1


def test_a_terminal_without_rich_gets_the_plain_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["profiles"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(Profile.names())


@pytest.mark.parametrize("package", ["torch", "onnx"])
def test_without_the_export_extra_one_note_stands_for_the_cost(
    package: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "rvm_trt.export.macs", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["profiles"]) == 0
    captured = capsys.readouterr()
    rows = [line.split() for line in captured.out.splitlines()[1:]]
    assert len(rows) == len(Profile.names())
    assert {row[-2] for row in rows} == {"-"}
    (note,) = captured.err.splitlines()
    assert "export extra" in note
    assert package in note
    assert main(["profiles", "--json"]) == 0
    assert {facts["macs"] for facts in json.loads(capsys.readouterr().out)["profiles"]} == {None}
