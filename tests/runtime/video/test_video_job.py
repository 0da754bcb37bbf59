"""From file to file: what arrives, in which order, and what is left when something goes wrong."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from rvm_trt.errors import DependencyError, FrameError, SessionError, VideoError
from rvm_trt.runtime.video.job import matte_video
from rvm_trt.runtime.video.output import EncodeOptions, OutputKind
from rvm_trt.runtime.video.source import open_source

NTSC = Fraction(30000, 1001)


def numbers(path: Path, video: SimpleNamespace) -> list[int]:
    return [video.number(frame.image) for frame in open_source(path)]


@pytest.mark.parametrize("source", ["in.mp4", "in.mkv"])
@pytest.mark.parametrize("output", ["out.mp4", "out.mkv", "out.mov"])
def test_a_video_keeps_its_frames_rate_times_and_sound(
    tmp_path: Path, video: SimpleNamespace, source: str, output: str
) -> None:
    video.write_clip(tmp_path / source, frames=40, sound_s=1.4)
    seen: list[tuple[int, int | None]] = []
    report = matte_video(
        tmp_path / source,
        tmp_path / output,
        video.FakeSession(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert numbers(tmp_path / output, video) == list(range(40))
    assert open_source(tmp_path / output).rate == NTSC
    assert [done for done, _ in seen] == list(range(1, 41))
    before, after = video.sound_packets(tmp_path / source), video.sound_packets(tmp_path / output)
    if (source, output) == ("in.mp4", "out.mkv"):
        del before[0]  # what primes AAC has no place there
    assert [data for _, data in after] == [data for _, data in before]
    assert next(iter(open_source(tmp_path / output))).pts == 0
    assert (report.frames, report.skipped_frames, report.kind) == (40, 0, OutputKind.COMPOSITE)
    assert (report.width, report.height, report.rate) == (160, 96, NTSC)
    waits = report.decode_wait_ms + report.session_ms + report.encode_wait_ms
    assert 0 < waits <= report.seconds * 1000
    assert 0 < report.decode_ms <= report.seconds * 1000
    assert 0 < report.encode_ms <= report.seconds * 1000
    assert report.fps == pytest.approx(40 / report.seconds)
    assert report.to_json()["rate"] == "30000/1001"


def test_constant_rate_in_matroska_is_exact_in_mp4(tmp_path: Path, video: SimpleNamespace) -> None:
    video.write_clip(tmp_path / "in.mkv", frames=100)
    matte_video(tmp_path / "in.mkv", tmp_path / "out.mp4", video.FakeSession())
    frames = list(open_source(tmp_path / "out.mp4"))
    assert [f.pts * f.time_base for f in frames] == [f.index / NTSC for f in frames]


def test_a_varying_rate_keeps_its_times(tmp_path: Path, video: SimpleNamespace) -> None:
    times = [0, 33, 50, 120, 121, 400, 433, 900]
    video.write_clip(tmp_path / "in.mkv", frames=8, pts=times, time_base=Fraction(1, 1000))
    matte_video(tmp_path / "in.mkv", tmp_path / "out.mp4", video.FakeSession())
    written = [f.pts * f.time_base * 1000 for f in open_source(tmp_path / "out.mp4")]
    assert all(abs(a - b) <= 1 for a, b in zip(written, times, strict=True))
    assert numbers(tmp_path / "out.mp4", video) == list(range(8))


def test_rotated_video_is_written_upright(tmp_path: Path, video: SimpleNamespace) -> None:
    video.write_clip(tmp_path / "in.mp4", frames=3, rotation=-90)
    session = video.FakeSession(width=96, height=160)
    matte_video(tmp_path / "in.mp4", tmp_path / "out.mp4", session)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (96, 160, 0)
    image = next(iter(open_source(tmp_path / "out.mp4"))).image
    expected = np.rot90(video.numbered(0, width=160, height=96), -1)
    assert np.abs(image.astype(int) - expected).mean() < 8


def test_images_to_images(tmp_path: Path, video: SimpleNamespace) -> None:
    (tmp_path / "in").mkdir()
    for index in range(12):
        Image.fromarray(video.numbered(index, width=160, height=96)).save(tmp_path / "in" / f"{index}.png")
    report = matte_video(tmp_path / "in", tmp_path / "out", video.FakeSession())
    assert report.kind is OutputKind.RGBA
    for index, frame in enumerate(open_source(tmp_path / "out")):
        assert np.array_equal(frame.image, video.numbered(index, width=160, height=96))


def test_the_slowest_encoder_gets_every_borrowed_frame_whole(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from time import sleep

    from rvm_trt.runtime.video import images_out

    original = images_out.ImageWriter.encode

    def slow(self: Any, *args: Any) -> None:
        sleep(0.01)
        original(self, *args)

    monkeypatch.setattr(images_out.ImageWriter, "encode", slow)
    video.write_clip(tmp_path / "in.mp4", frames=20)
    matte_video(tmp_path / "in.mp4", tmp_path / "out", video.FakeSession())
    assert numbers(tmp_path / "out", video) == list(range(20))


def test_a_damaged_input_gives_its_good_frames_and_says_so(tmp_path: Path, video: SimpleNamespace) -> None:
    path = video.write_clip(tmp_path / "in.mp4", frames=30, options={"g": "1", "bf": "0"})
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    data[spans[10][0] + 4 : sum(spans[10])] = b"\xff" * (spans[10][1] - 4)
    path.write_bytes(data)
    report = matte_video(path, tmp_path / "out.mp4", video.FakeSession())
    assert (report.frames, report.skipped_frames) == (29, 1)
    frames = list(open_source(tmp_path / "out.mp4"))
    # The gap stays a gap, so that sound stays with the picture.
    assert frames[10].pts * frames[10].time_base == 11 / NTSC


@pytest.mark.parametrize("output", ["out.mp4", "out"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SessionError("s", got="g", expected="e", todo="t.")])
def test_an_interrupted_job_leaves_nothing_and_says_how_far_it_got(
    tmp_path: Path, video: SimpleNamespace, output: str, error: BaseException
) -> None:
    video.write_clip(tmp_path / "in.mp4", frames=60, sound_s=1)
    session = video.FakeSession(fail_at=20, error=error)
    with pytest.raises(type(error), match=r"Stopped after 19 of 60 frames; nothing was written\."):
        matte_video(tmp_path / "in.mp4", tmp_path / output, session)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.mp4"]


def test_errors_of_any_other_kind_leave_nothing_too(tmp_path: Path, video: SimpleNamespace) -> None:
    video.write_clip(tmp_path / "in.mp4", frames=60)
    session = video.FakeSession(fail_at=20, error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        matte_video(tmp_path / "in.mp4", tmp_path / "out.mp4", session)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.mp4"]


def test_an_encoder_failure_in_mid_run_stops_the_job(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rvm_trt.runtime.video import colour_out

    count = 0
    original = colour_out.FromRgb.convert

    def breaking(self: Any, frame: av.VideoFrame) -> av.VideoFrame:
        nonlocal count
        count += 1
        if count == 10:
            raise av.error.ExternalError(542398533, "Generic error in an external library")
        return original(self, frame)

    monkeypatch.setattr(colour_out.FromRgb, "convert", breaking)
    video.write_clip(tmp_path / "in.mp4", frames=60)
    with pytest.raises(VideoError, match=r"external library.* Stopped after 1[0-9] of 60 frames"):
        matte_video(tmp_path / "in.mp4", tmp_path / "out.mp4", video.FakeSession())
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.mp4"]


def test_a_size_that_changes_in_mid_run_is_one_message(tmp_path: Path, video: SimpleNamespace) -> None:
    data = b""
    for index in range(20):
        Image.new("RGB", (160, 96) if index < 10 else (96, 160)).save(tmp_path / "x.jpg")
        data += (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "in.mjpeg").write_bytes(data)
    with pytest.raises(VideoError, match="96x160 at frame 10"):
        matte_video(tmp_path / "in.mjpeg", tmp_path / "out.mp4", video.FakeSession())
    assert not (tmp_path / "out.mp4").exists()


def test_sound_in_an_unknown_code_is_left_out_and_said(tmp_path: Path, video: SimpleNamespace) -> None:
    path = video.write_clip(tmp_path / "in.mkv", frames=12, sound_s=0.4)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    report = matte_video(path, tmp_path / "out.mp4", video.FakeSession())
    assert report.frames == 12
    assert any("Sound was left out" in notice for notice in report.notices)


def test_a_session_of_another_size_is_refused(tmp_path: Path, video: SimpleNamespace) -> None:
    video.write_clip(tmp_path / "in.mp4", frames=2)
    with pytest.raises(FrameError, match="got 160x96, expected 320x180"):
        matte_video(tmp_path / "in.mp4", tmp_path / "out.mp4", video.FakeSession(width=320, height=180))


def test_a_session_that_loses_frames_is_found_out(tmp_path: Path, video: SimpleNamespace) -> None:
    class Losing(video.FakeSession):  # type: ignore[misc, name-defined]
        def run(self, frames: Any) -> Any:
            *most, _ = super().run(frames)
            return iter(most)

    video.write_clip(tmp_path / "in.mp4", frames=6)
    with pytest.raises(VideoError, match="5 mattes for 6 frames"):
        matte_video(tmp_path / "in.mp4", tmp_path / "out.mp4", Losing())


def test_existing_outputs_need_overwrite(tmp_path: Path, video: SimpleNamespace) -> None:
    video.write_clip(tmp_path / "in.mp4", frames=6)
    (tmp_path / "out.mp4").write_bytes(b"precious")
    with pytest.raises(VideoError, match="already there"):
        matte_video(tmp_path / "in.mp4", tmp_path / "out.mp4", video.FakeSession())
    matte_video(tmp_path / "in.mp4", tmp_path / "out.mp4", video.FakeSession(), overwrite=True)
    assert numbers(tmp_path / "out.mp4", video) == list(range(6))


def test_options_reach_the_encoder(tmp_path: Path, video: SimpleNamespace) -> None:
    video.write_clip(tmp_path / "in.mp4", frames=20)
    sizes = []
    for crf in (10, 40):
        options = EncodeOptions(crf=crf, preset="ultrafast", threads=1)
        matte_video(
            tmp_path / "in.mp4", tmp_path / "out.mp4", video.FakeSession(), options=options, overwrite=True
        )
        sizes.append((tmp_path / "out.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


@pytest.mark.parametrize("library", ["av", "numba"])
def test_without_its_libraries_the_extra_is_named(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    video.write_clip(tmp_path / "in.mp4", frames=2)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DependencyError, match=r"rvm-trt\[video\]"):
        open_source(tmp_path / "in.mp4")


def test_the_video_layer_needs_neither_torch_nor_onnx() -> None:
    import subprocess

    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None; "
        "import rvm_trt.runtime.video.job, rvm_trt.runtime.video.decode, rvm_trt.runtime.video.encode"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
