"""What comes to the place of a job's output, or of its folder, while it runs stays, and so does the job's work."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from averaging import FRAMES, SEGMENT, contents, matte, names, stop_at

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.sink import open_sink
from rvm_trt.runtime.video.source import open_source
from rvm_trt.runtime.video.stores import partial_folder


def _file(path: Path) -> None:
    path.write_text("mine")


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "mine").write_text("mine")


def _link(path: Path) -> None:
    path.symlink_to("nowhere")


def at(number: int, work: Callable[[], object]) -> Callable[[int], None]:
    """Returns what works at a frame."""
    return lambda taken: work() if taken == number else None  # type: ignore[return-value]


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def standing(path: Path) -> object:
    if path.is_symlink():
        return str(path.readlink())
    return contents(path) if path.is_dir() else path.read_bytes()


@pytest.mark.parametrize("come", [_file, _folder, _link])
@pytest.mark.parametrize("name", ["out.mp4", "out"])
def test_what_comes_to_an_output_stays_and_the_job_is_kept_whole(
    source: Path, tmp_path: Path, name: str, come: Callable[[Path], None]
) -> None:
    matte(source, tmp_path / f"whole-{name}")
    output, also = tmp_path / name, {"pha": tmp_path / "alpha.mkv"}
    with pytest.raises(
        VideoError, match=r"came there while.*--resume.*--force --resume.*30 of them are kept"
    ):
        matte(source, output, also=also, before=at(27, lambda: come(output)))
    there = standing(output)
    assert "alpha.mkv" not in names(tmp_path)
    with pytest.raises(VideoError, match=r"already there.* Add --force --resume|of that name|other files"):
        matte(source, output, also=also, resume=True)
    assert standing(output) == there
    output.rename(tmp_path / "moved")
    report = matte(source, output, also=also, resume=True, before=stop_at(0))  # nothing is matted again
    assert (report.frames, report.resumed_at) == (FRAMES, FRAMES)
    assert contents(output) == {
        key.replace("whole-", ""): value for key, value in contents(tmp_path / f"whole-{name}").items()
    }
    assert standing(tmp_path / "moved") == there
    assert not [entry for entry in names(tmp_path) if entry.endswith("-partial")]


def test_a_folder_that_somebody_takes_away_ends_the_job(source: Path, tmp_path: Path) -> None:
    folder = partial_folder(tmp_path / "out.mp4")
    with pytest.raises(VideoError, match=r"no folder any more .* nothing was written\.$"):
        matte(source, tmp_path / "out.mp4", before=at(20, lambda: folder.rename(tmp_path / "away")))
    assert names(tmp_path) == ["away", "in.mkv"]


@pytest.mark.parametrize("name", ["out.mp4", "out"])
def test_after_a_power_failure_only_checked_segments_are_trusted(
    source: Path, tmp_path: Path, name: str
) -> None:
    output = tmp_path / name
    with pytest.raises(VideoError, match="came there while"):
        matte(source, output, before=at(5, lambda: _file(output)))
    output.unlink()
    record = partial_folder(output) / "finishing.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot": "another"}))
    assert matte(source, output, resume=True).resumed_at == 24
    matte(source, tmp_path / f"whole-{name}")
    assert list(contents(output).values()) == list(contents(tmp_path / f"whole-{name}").values())


def test_with_force_and_resume_it_is_replaced(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    matte(source, tmp_path / "whole.mp4")
    with pytest.raises(VideoError, match="came there while"):
        matte(source, output, before=at(5, lambda: _file(output)))
    matte(source, output, resume=True, overwrite=True)
    assert output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert names(tmp_path) == ["in.mkv", "out.mp4", "whole.mp4"]


def test_with_force_a_folder_of_other_files_stays_all_the_same(source: Path, tmp_path: Path) -> None:
    for name in ("out", "out.mp4"):
        output = tmp_path / name
        with pytest.raises(VideoError, match="came there while"):
            matte(source, output, overwrite=True, before=at(5, lambda output=output: _folder(output)))  # type: ignore[misc]
        assert contents(output) == {"mine": b"mine"}


def test_a_job_that_was_interrupted_between_two_outputs_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, also = tmp_path / "out.mp4", {"pha": tmp_path / "alpha", "fgr": tmp_path / "f.mkv"}

    def interrupted(path: Path, _: Any) -> None:
        assert path == output
        raise KeyboardInterrupt

    original = Path.hardlink_to
    for harm, resumed_at in ((lambda: None, FRAMES), ((partial_folder(output) / "output.mp4").unlink, 24)):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(
                Path,
                "hardlink_to",
                lambda path, to: original(path, to) if path.suffix == ".mkv" else interrupted(path, to),
            )
            matte(source, output, also=also)
        placed = [contents(tmp_path / name) for name in ("alpha", "f.mkv")]
        for entry in ("alpha", "f.mkv"):
            assert entry in names(tmp_path)
        harm()
        report = matte(source, output, also=also, resume=True)
        assert (report.resumed_at, report.frames) == (resumed_at, FRAMES)
        assert [contents(tmp_path / name) for name in ("alpha", "f.mkv")] == placed
        assert names(tmp_path) == ["alpha", "f.mkv", "in.mkv", "out.mp4"]
        matte(source, tmp_path / "whole.mp4", overwrite=True)
        assert contents(output) == {"out.mp4": (tmp_path / "whole.mp4").read_bytes()}
        for entry in ("alpha", "f.mkv", "out.mp4", "whole.mp4"):
            remove(tmp_path / entry)


def test_what_replaced_an_output_that_was_put_in_its_place_stays(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, also = tmp_path / "out.mp4", {"pha": tmp_path / "alpha"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "hardlink_to", lambda *_: stop_at(0)(0))
        matte(source, output, also=also)
    (tmp_path / "alpha").rename(tmp_path / "taken away")
    _file(tmp_path / "alpha")
    with pytest.raises(VideoError, match="a file of that name"):
        matte(source, output, also=also, resume=True)
    assert (tmp_path / "alpha").read_text() == "mine"


@pytest.mark.parametrize("name", ["alpha.mkv", "alpha"])
def test_an_output_in_its_place_that_was_changed_since_stays(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    output, placed = tmp_path / "out.mp4", tmp_path / name
    original = Path.hardlink_to
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            Path,
            "hardlink_to",
            lambda path, to: stop_at(0)(0) if path == output else original(path, to),
        )
        matte(source, output, also={"pha": placed})
    changed = placed / "000000.png" if placed.is_dir() else placed
    with changed.open("ab") as file:
        file.write(b"mine")
    there = standing(placed)
    with pytest.raises(VideoError, match=r"already there.* Add --force --resume"):
        matte(source, output, also={"pha": placed}, resume=True)
    assert standing(placed) == there
    matte(source, output, also={"pha": placed}, resume=True, overwrite=True)
    assert standing(placed) != there
    assert names(tmp_path) == [name, "in.mkv", "out.mp4"]


@pytest.mark.parametrize("name", ["out.mkv", "out"])
def test_an_output_that_nothing_keeps_gets_a_free_name(source: Path, tmp_path: Path, name: str) -> None:
    clip, image = open_source(source), next(iter(open_source(source))).image
    _file(tmp_path / name.replace("out", "out-1"))
    with (
        pytest.raises(VideoError, match=r"came there while .* What was written is .*out-2"),
        open_sink(tmp_path / name, clip=clip.clip, kind="composite") as sink,
    ):
        sink.write(image)
        _file(tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"
    assert len(list(open_source(tmp_path / name.replace("out", "out-2")))) == 1
    assert not [entry for entry in names(tmp_path) if entry.startswith(".")]


@pytest.mark.parametrize("name", ["out.mkv", "out"])
def test_with_force_it_replaces_no_folder_of_other_files(source: Path, tmp_path: Path, name: str) -> None:
    clip = open_source(source)
    with (
        pytest.raises(VideoError, match=r"came there while .* What was written is .*out-1"),
        open_sink(tmp_path / name, clip=clip.clip, kind="composite", overwrite=True) as sink,
    ):
        sink.write(next(iter(clip)).image)
        _folder(tmp_path / name)
    assert contents(tmp_path / name) == {"mine": b"mine"}


@pytest.mark.parametrize("when", ["before", "after an interruption", "meanwhile"])
@pytest.mark.parametrize("name", ["out.mp4", "out"])
def test_a_link_in_place_of_the_folder_of_a_job_is_not_followed(
    source: Path, tmp_path: Path, name: str, when: str
) -> None:
    documents, output = tmp_path / "documents", tmp_path / name
    documents.mkdir()
    for precious in ("packets-000001", "output.mp4", "segment-000000.json", "letter"):
        (documents / precious).write_text("precious")
    (documents / "images").mkdir()
    (documents / "images" / "letter").write_text("precious")
    folder = partial_folder(output)

    def link() -> None:
        if folder.exists():
            folder.rename(tmp_path / "away")
        folder.symlink_to(documents)

    if when == "after an interruption":
        with pytest.raises(KeyboardInterrupt):
            matte(source, output, before=stop_at(20))
    if when != "meanwhile":
        link()
    for how in ({"resume": True}, {"overwrite": True}, {}):
        # At a segment's first frame nothing is being written, which would find no folder for a moment.
        before = at(SEGMENT, link) if when == "meanwhile" and not folder.is_symlink() else stop_at(29)
        with pytest.raises(VideoError, match=r"a link .*Remove the link"):
            matte(source, output, before=before, **how)  # type: ignore[arg-type]
    kept = [path.read_bytes() for path in documents.rglob("*") if path.is_file()]
    assert kept.count(b"precious") == 5
    assert name not in names(tmp_path)


def test_a_link_in_place_of_kept_images_is_not_followed(source: Path, tmp_path: Path) -> None:
    matte(source, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        matte(source, tmp_path / "out", before=stop_at(20))
    images = partial_folder(tmp_path / "out") / "images"
    images.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "letter").write_text("precious")
    images.symlink_to(tmp_path / "elsewhere")
    report = matte(source, tmp_path / "out", resume=True)
    assert report.resumed_at is None
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert "letter" in names(tmp_path / "elsewhere")


def test_an_output_is_on_the_disk_before_its_job_is_forgotten(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as it can be shown without a power failure: the whole file is waited for while its journal stands."""
    output = tmp_path / "out.mp4"
    folder, stored = partial_folder(output), []
    sync = os.fsync

    def seen(number: int) -> None:
        sync(number)
        if folder.exists() and not output.exists():
            stored.append((os.fstat(number).st_ino, os.fstat(number).st_size))

    monkeypatch.setattr(os, "fsync", seen)
    matte(source, output)
    assert (output.stat().st_ino, output.stat().st_size) in stored
