"""Weights come from the file given, the cache, the release or the web model, and are fetched once."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weight_sources import BIN, Npm, Release, left_in

from rvm_trt.commands import weights as command
from rvm_trt.errors import CheckpointError, OptionError, WeightsError
from rvm_trt.export.checkpoint import load_checkpoint
from rvm_trt.files import sha256_file
from rvm_trt.options import Refiner


def test_the_release_is_fetched_once_and_recorded(
    fetch: Callable[..., Any], cache: Path, release: Release, npm: Npm, official: bytes
) -> None:
    release.content = official
    told: list[tuple[str, int, int | None]] = []
    weights = fetch(progress=lambda *step: told.append(step))
    assert weights.path.read_bytes() == official
    assert weights.sha256 == sha256_file(weights.path)
    assert (weights.licence, weights.refiner, weights.note) == ("GPL-3.0", Refiner.DEEP, None)
    assert weights.origin == f"{release.url}/rvm_mobilenetv3.pth"
    assert told[-1] == ("Downloading rvm_mobilenetv3.pth", len(official), len(official))
    assert fetch() == weights
    assert (release.requests, npm.runs) == (1, 0)
    record = json.loads((cache / "rvm_mobilenetv3.json").read_text())
    assert (record["origin"], record["sha256"]) == (weights.origin, weights.sha256)
    assert left_in(cache) == {"rvm_mobilenetv3.pth", "rvm_mobilenetv3.json"}


def test_without_a_release_the_web_model_is_converted(
    fetch: Callable[..., Any], cache: Path, release: Release, npm: Npm, web: Any
) -> None:
    weights = fetch()
    assert weights.refiner is Refiner.FAST
    assert all(words in weights.note for words in ("HTTP status 404", release.url, "fast guided filter"))
    assert "a-package@1" in weights.origin
    assert weights.licence == "GPL-3.0 (weights, from the original project); MIT (npm package)"
    loaded = load_checkpoint(weights.path).state_dict
    assert all(np.array_equal(loaded[key].numpy(), value) for key, value in web.expected.items())
    record = json.loads((cache / "rvm_mobilenetv3_web8.json").read_text())
    assert record["converted_from"][BIN] == hashlib.sha256(web.weights).hexdigest()
    assert left_in(cache) == {"rvm_mobilenetv3_web8.pth", "rvm_mobilenetv3_web8.json"}
    again = fetch()
    assert (again.path, again.sha256) == (weights.path, weights.sha256)
    assert (release.requests, npm.runs) == (1, 1)


def test_refresh_fetches_again(fetch: Callable[..., Any], release: Release, official: bytes) -> None:
    first = fetch()
    release.content = official
    assert fetch() == fetch(source="web")
    refreshed = fetch(refresh=True)
    assert refreshed.path.name == "rvm_mobilenetv3.pth"
    assert fetch() == refreshed != first


def test_all_failures_are_listed_together(fetch: Callable[..., Any], cache: Path, npm: Npm) -> None:
    npm.behave("echo npm error code ENOTFOUND >&2; exit 1")
    with pytest.raises(WeightsError) as caught:
        fetch()
    words = ("HTTP status 404", "rvm_mobilenetv3.pth", "exit code 1", "ENOTFOUND", "--checkpoint PATH")
    assert all(word in str(caught.value) for word in words)
    assert left_in(cache) == set()


def test_resnet50_has_no_web_model(fetch: Callable[..., Any], npm: Npm) -> None:
    with pytest.raises(WeightsError, match="mobilenetv3 only"):
        fetch(variant="resnet50", source="web")
    with pytest.raises(WeightsError, match=r"rvm_resnet50\.pth: got HTTP status 404"):
        fetch(variant="resnet50")
    assert npm.runs == 0


@pytest.mark.parametrize("name", ["rvm_mobilenetv3.pth", "rvm_mobilenetv3.json"])
def test_an_altered_cache_is_refused_until_refreshed(
    fetch: Callable[..., Any], cache: Path, release: Release, official: bytes, name: str
) -> None:
    release.content = official
    weights = fetch()
    content = bytearray((cache / name).read_bytes())
    content[0] ^= 1
    (cache / name).write_bytes(content)
    with pytest.raises(WeightsError, match="--refresh") as caught:
        fetch()
    assert name in str(caught.value)
    assert fetch(refresh=True).sha256 == weights.sha256
    assert fetch().sha256 == weights.sha256


def test_a_checkpoint_without_its_record_is_fetched_again(
    fetch: Callable[..., Any], cache: Path, release: Release, official: bytes
) -> None:
    release.content = official
    fetch()
    (cache / "rvm_mobilenetv3.json").unlink()
    assert fetch().path.read_bytes() == official
    assert release.requests == 2


def test_a_failed_refresh_leaves_the_cache_as_it_was(
    fetch: Callable[..., Any], release: Release, official: bytes
) -> None:
    release.content = official
    weights = fetch()
    release.content = official[:1000]
    with pytest.raises(WeightsError):
        fetch(refresh=True, source="official")
    assert fetch() == weights


def test_what_a_killed_process_left_is_cleared(
    fetch: Callable[..., Any], cache: Path, release: Release, official: bytes
) -> None:
    (cache / ".npm-abc").mkdir(parents=True)
    (cache / ".npm-abc" / "archive.tgz").write_bytes(b"half")
    (cache / ".rvm_mobilenetv3-abc.pth").write_bytes(b"half")
    release.content = official
    fetch()
    assert left_in(cache) == {"rvm_mobilenetv3.pth", "rvm_mobilenetv3.json"}


def test_two_at_once_fetch_once(fetch: Callable[..., Any], cache: Path, npm: Npm) -> None:
    npm.behave(f'sleep 0.5; cp "{npm.archive}" "$2/archive.tgz"')
    found: list[Any] = []
    told: list[str] = []
    calls = [
        threading.Thread(
            target=lambda: found.append(fetch(source="web", progress=lambda what, *_: told.append(what)))
        )
        for _ in range(2)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert len(found) == 2
    assert found[0] == found[1]
    assert npm.runs == 1
    assert any(what.startswith("Waiting") for what in told)
    assert left_in(cache) == {"rvm_mobilenetv3_web8.pth", "rvm_mobilenetv3_web8.json"}


def test_a_given_checkpoint_is_used_as_it_is(
    fetch: Callable[..., Any], cache: Path, release: Release, npm: Npm, tmp_path: Path, official: bytes
) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(official)
    weights = fetch(checkpoint=path)
    assert (weights.path, weights.sha256, weights.note) == (path, sha256_file(path), None)
    with pytest.raises(WeightsError, match="--variant mobilenetv3"):
        fetch(checkpoint=path, variant="resnet50")
    path.write_bytes(official[:-100])
    with pytest.raises(CheckpointError, match=r"mine\.pth"):
        fetch(checkpoint=path)
    assert (release.requests, npm.runs, cache.exists()) == (0, 0, False)


@pytest.mark.parametrize("options", [{"source": "elsewhere"}, {"variant": "resnet18"}])
def test_unknown_options_are_refused(fetch: Callable[..., Any], options: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="expected one of"):
        fetch(**options)


def run_command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_the_command_prints_what_was_found(
    fetch: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = fetch(source="web")
    assert run_command("--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["path"] == str(weights.path)
    assert (printed["sha256"], printed["refiner"]) == (weights.sha256, "fast_guided_filter")
    assert run_command("--checkpoint", str(weights.path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"sha256   {weights.sha256}" in lines
    assert lines[-1].startswith("note ")
    assert os.fspath(weights.path) in lines[0]
