"""Profiles with one network share the files of their engines, and nothing that is damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from disk_engines import ODD, WIDE, Reached, build, contents

from rvm_trt import Engine, Profile
from rvm_trt.engines.manifest import NAME
from rvm_trt.files import sha256_file
from rvm_trt.options import Refiner

pytest.importorskip("tensorrt_rtx")

Exported = Callable[..., Path]


@pytest.mark.usefixtures("no_builder")
def test_profiles_with_one_network_share_their_files(
    whole: Engine, exported: Exported, tmp_path: Path
) -> None:
    assert (WIDE.low_width, WIDE.low_height) == (ODD.low_width, ODD.low_height)
    folder = copied(whole, tmp_path)
    shared = build(exported(WIDE), folder)
    assert shared.path == folder / "193x117-r0.5-core-fp16-tensorrt-rtx"
    assert shared.profile == WIDE
    assert shared.manifest.onnx_sha256 == sha256_file(exported(WIDE))
    assert shared.manifest.files == whole.manifest.files
    assert Engine.load(shared.path) == shared
    for name in shared.manifest.files:
        assert (shared.path / name).samefile(folder / whole.path.name / name), name
    assert build(exported(WIDE), folder) == shared


def test_a_shared_engine_is_the_one_that_would_be_built(
    whole: Engine, exported: Exported, tmp_path: Path
) -> None:
    shared = build(exported(WIDE), copied(whole, tmp_path / "beside"))
    assert contents(build(exported(WIDE), tmp_path / "alone").path) == contents(shared.path)


@pytest.mark.usefixtures("no_builder")
def test_files_are_copied_where_they_cannot_be_linked(
    whole: Engine, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError("no links here")

    folder = copied(whole, tmp_path)
    monkeypatch.setattr("os.link", refused)
    shared = build(exported(WIDE), folder)
    assert Engine.load(shared.path).manifest.files == whole.manifest.files
    assert not shared.file("engine.plan").samefile(folder / whole.path.name / "engine.plan")


@pytest.mark.parametrize("damage", ["engine.plan", "network.onnx", NAME])
@pytest.mark.usefixtures("no_builder")
def test_a_damaged_neighbour_is_not_shared(
    damage: str, whole: Engine, exported: Exported, tmp_path: Path
) -> None:
    folder = copied(whole, tmp_path)
    path = folder / whole.path.name / damage
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(Reached):
        build(exported(WIDE), folder)


@pytest.mark.parametrize(
    ("profile", "graph"),
    [
        (replace(ODD, batch=2), "core"),
        (replace(ODD, refiner=Refiner.FAST), "core"),
        (ODD, "full"),
    ],
    ids=["batch", "refiner", "graph"],
)
@pytest.mark.usefixtures("no_builder")
def test_other_networks_do_not_share(
    profile: Profile, graph: str, whole: Engine, exported: Exported, tmp_path: Path
) -> None:
    with pytest.raises(Reached):
        build(exported(profile, graph), copied(whole, tmp_path))


@pytest.mark.usefixtures("no_builder")
def test_force_shares_nothing(whole: Engine, exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(Reached):
        build(exported(WIDE), copied(whole, tmp_path), force=True)


def copied(engine: Engine, folder: Path) -> Path:
    """Returns a folder of engines with a copy of this one."""
    target = folder / engine.path.name
    target.mkdir(parents=True)
    for path in engine.path.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return folder
