"""What is told and what is left where a job cannot go on, or not from where it stopped."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from averaging import FRAMES, contents, matte, names, stop_at

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.checkpoint import read_states, write_states
from rvm_trt.runtime.video.output import EncodeOptions
from rvm_trt.runtime.video.packets import read_packets
from rvm_trt.runtime.video.stores import partial_folder


@pytest.fixture
def interrupted(tmp_path: Path, source: Path) -> Path:
    """The output of a job that was interrupted with two whole segments."""
    output = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        matte(source, output, before=stop_at(20))
    return output


@pytest.fixture
def expected(tmp_path: Path, source: Path) -> dict[str, bytes]:
    matte(source, tmp_path / "whole.mp4")
    return {"out.mp4": (tmp_path / "whole.mp4").read_bytes()}


def test_without_resume_what_is_done_is_not_thrown_away(source: Path, interrupted: Path) -> None:
    with pytest.raises(VideoError, match=r"what an interrupted job has done.*--resume.*--force"):
        matte(source, interrupted)
    report = matte(source, interrupted, overwrite=True)
    assert report.resumed_at is None
    assert names(interrupted.parent) == ["in.mkv", "out.mp4"]


@pytest.mark.parametrize("name", ["alpha.mkv", "alpha"])
def test_what_is_done_of_a_further_output_is_not_thrown_away_by_another_job(
    source: Path, tmp_path: Path, name: str
) -> None:
    output, alpha = tmp_path / "out.mp4", tmp_path / name
    with pytest.raises(KeyboardInterrupt):
        matte(source, output, also={"pha": alpha}, before=stop_at(20))
    with pytest.raises(VideoError, match=r"what an interrupted job has done.*--resume.*--force"):
        matte(source, alpha, kind="pha")
    with pytest.raises(VideoError, match=r"whose first output was another.*--force"):
        matte(source, alpha, kind="pha", resume=True)
    assert matte(source, output, also={"pha": alpha}, resume=True).resumed_at == 16
    assert names(tmp_path) == sorted([name, "in.mkv", "out.mp4"])


def test_with_nothing_there_a_job_begins_and_says_so(source: Path, tmp_path: Path) -> None:
    report = matte(source, tmp_path / "out.mp4", resume=True)
    assert report.resumed_at is None
    assert any("nothing to resume" in notice for notice in report.notices)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": EncodeOptions(crf=30)}, r"got composite crf 30, expected composite crf None"),
        ({"job": {"reset_every": 5}}, "got reset every 5, expected reset every None"),
        ({"job": {"facts": {"engine": "b7"}}}, "got engine b7, expected engine none"),
        ({"job": {"segment_frames": 9}}, "segment frames 9"),
        ({"also": {"pha": "a.mp4"}}, "pha output"),
    ],
)
def test_another_job_is_refused_and_named(
    source: Path, interrupted: Path, changes: dict[str, Any], reason: str
) -> None:
    if "also" in changes:
        changes = {"also": {"pha": interrupted.with_name("a.mp4")}}
    before = contents(partial_folder(interrupted))
    with pytest.raises(VideoError, match=reason):
        matte(source, interrupted, resume=True, **changes)
    assert contents(partial_folder(interrupted)) == before
    assert names(interrupted.parent) == [partial_folder(interrupted).name, "in.mkv"]


def test_another_input_is_refused(source: Path, interrupted: Path) -> None:
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 1
    source.write_bytes(data)
    with pytest.raises(VideoError, match="got input "):
        matte(source, interrupted, resume=True)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)


def _garbage(file: Path) -> None:
    file.write_bytes(b"[" * 100_000)


@pytest.mark.parametrize(
    ("file", "harm", "left"),
    [
        ("packets-000001", _cut, 8),
        ("packets-000001", _flip, 8),
        ("packets-000001", Path.unlink, 8),
        ("states-000001", _flip, 8),
        ("states-000001", Path.unlink, 8),
        ("segment-000001.json", _garbage, 8),
        ("segment-000001.json", _cut, 8),
        ("packets-000000", _flip, None),
    ],
)
def test_a_damaged_segment_is_made_again(
    source: Path, interrupted: Path, expected: dict[str, bytes], file: str, harm: Any, left: int | None
) -> None:
    harm(partial_folder(interrupted) / file)
    report = matte(source, interrupted, resume=True)
    assert report.resumed_at == left
    assert any("are damaged and were made again" in notice for notice in report.notices)
    assert contents(interrupted) == expected


@pytest.mark.parametrize("harm", [_garbage, _cut, Path.unlink])
def test_a_damaged_journal_is_one_error(source: Path, interrupted: Path, harm: Any) -> None:
    harm(partial_folder(interrupted) / "job.json")
    with pytest.raises(VideoError, match=r"a journal that does not read.*--force"):
        matte(source, interrupted, resume=True)
    assert matte(source, interrupted, overwrite=True).frames == FRAMES


def test_a_segment_that_is_missing_from_an_output_is_made_again(tmp_path: Path, source: Path) -> None:
    matte(source, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        matte(source, tmp_path / "out", before=stop_at(20))
    kept = tmp_path / ".out.rvm-trt-partial" / "images"
    assert names(kept) == [f"{number:06d}.png" for number in range(16)]
    (kept / "000009.png").unlink()
    report = matte(source, tmp_path / "out", resume=True)
    assert report.resumed_at == 8
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_two_jobs_on_one_output_are_one_error(source: Path, tmp_path: Path) -> None:
    seen = []

    def meanwhile(taken: int) -> None:
        if taken in (2, 12):
            for output, also in (("out.mp4", {}), ("b.mp4", {"pha": tmp_path / "a.mkv"})):
                with pytest.raises(VideoError, match="another job that writes it") as error:
                    matte(source, tmp_path / output, also=also, resume=taken == 12, overwrite=True)
                seen.append(error.value.subject)

    matte(source, tmp_path / "out.mp4", also={"pha": tmp_path / "a.mkv"}, before=meanwhile)
    assert len(seen) == 4
    assert names(tmp_path) == ["a.mkv", "in.mkv", "out.mp4"]


def test_a_full_disk_leaves_what_can_be_gone_on_with(
    source: Path, tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rvm_trt.runtime.video import journal, packets

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    output = tmp_path / "out.mp4"
    for number, place in enumerate(("append", "commit", "append")):

        def before(taken: int, place: str = place, number: int = number) -> None:
            if taken == 11 - 8 * bool(number):
                if place == "append":
                    monkeypatch.setattr(packets.PacketWriter, "append", full)
                else:
                    monkeypatch.setattr(journal, "write_states", full)

        with pytest.raises(VideoError, match=r"No space left on device.* 8 of them are kept"):
            matte(source, output, before=before, resume=bool(number))
        monkeypatch.undo()
        assert "out.mp4" not in names(tmp_path)
    assert matte(source, output, resume=True).resumed_at == 8
    assert contents(output) == expected


def test_a_job_on_standard_output_cannot_be_resumed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rvm_trt.runtime.video.output.check_standard_output", lambda: None)
    with pytest.raises(VideoError, match=r"--resume: got .* standard output"):
        matte(source, Path("-"), resume=True)


@pytest.mark.parametrize("name", ["ä" * 100 + ".mp4", "x" * 250 + ".mp4", "weiß 漢字.mp4", "folder 漢字"])
def test_long_and_foreign_names(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        matte(source, tmp_path / name, before=stop_at(12))
    matte(source, tmp_path / name, resume=True)
    assert names(tmp_path) == sorted([name, "in.mkv"])


def test_a_foreign_file_in_its_place_is_one_error(source: Path, tmp_path: Path) -> None:
    partial_folder(tmp_path / "out.mp4").write_text("mine")
    with pytest.raises(VideoError, match="to keep what is done beside it"):
        matte(source, tmp_path / "out.mp4")
    assert partial_folder(tmp_path / "out.mp4").read_text() == "mine"


def test_states_are_kept_to_the_bit(tmp_path: Path) -> None:
    states = (np.float32([[np.pi, -0.0, 1e-40]]), np.zeros((0, 3), np.float32))
    write_states(tmp_path / "s", states, np.float32([7]))
    again, detector = read_states(tmp_path / "s")
    assert all(a.tobytes() == b.tobytes() and a.shape == b.shape for a, b in zip(states, again, strict=True))
    assert detector is not None
    assert detector.tolist() == [7]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        b'{"format": "rvm-trt states 1", "shapes": [[-1, -4]], "detector": false}\n1234123412341234',
        b'{"format": "rvm-trt states 1", "shapes": [[99999999999]], "detector": false}\n',
        b'{"format": "rvm-trt states 1", "shapes": [], "detector": true}\n',
        b'{"format": "other", "shapes": [], "detector": false}\n',
    ],
)
def test_states_of_others_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s").write_bytes(data)
    with pytest.raises(VideoError, match="does not read"):
        read_states(tmp_path / "s")


def test_damaged_packets_are_refused_or_read_and_never_worse(tmp_path: Path, interrupted: Path) -> None:
    data = (partial_folder(interrupted) / "packets-000000").read_bytes()
    header = data[4 : 4 + int.from_bytes(data[:4], "big")]
    extradata = bytes.fromhex(json.loads(header)["extradata"])
    refused = 0
    for offset in range(0, 700, 11):
        broken = bytearray(data)
        broken[offset] ^= 1 << offset % 8
        (tmp_path / "p").write_bytes(broken)
        try:
            list(read_packets(tmp_path / "p", time_base=Fraction(1, 1000), extradata=extradata))
        except VideoError as error:
            assert error.subject.startswith("kept packets")
            refused += 1
    assert refused > 15
    with pytest.raises(VideoError, match="another encoder"):
        list(read_packets(tmp_path / "p", time_base=Fraction(1, 1000), extradata=b"other"))
