"""Video out: what players get, what is refused, and that nothing half is ever left."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from rvm_trt.errors import FrameError, OptionError, SessionError, VideoError
from rvm_trt.runtime.video.output import EncodeOptions, plan_output
from rvm_trt.runtime.video.pipe import Prefetch, Worker
from rvm_trt.runtime.video.sink import open_sink
from rvm_trt.runtime.video.source import Clip, open_source
from rvm_trt.runtime.video.timing import Timeline

NTSC = Fraction(30000, 1001)


def clip(**changes: Any) -> Clip:
    """A clip of numbered frames that never was a file."""
    fields: dict[str, Any] = {
        "path": Path("in.mp4"),
        "width": 160,
        "height": 96,
        "rate": NTSC,
        "time_base": 1 / NTSC,
        "frame_count": 10,
    }
    return Clip(**(fields | changes))


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def picture(video: SimpleNamespace, index: int, *, kind: str, of: Clip) -> np.ndarray[Any, Any]:
    rgb = video.numbered(index, width=of.width, height=of.height)
    alpha = rgb[..., 0]
    return {"pha": alpha, "rgba": np.dstack([rgb, alpha])}.get(kind, rgb)


def write(
    path: Path, video: SimpleNamespace, *, of: Clip, kind: str, frames: int = 10, **options: Any
) -> list[str]:
    with open_sink(path, clip=of, kind=kind, **options) as sink:
        for index in range(frames):
            sink.write(picture(video, index, kind=kind, of=of))
    return sink.notices


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mp4", "composite"),
        ("a.mkv", "fgr"),
        ("a.mov", "composite"),
        ("a.mp4", "pha"),
        ("a.webm", "composite"),
        ("a.mov", "rgba"),
    ],
)
def test_video_has_every_frame_at_the_exact_rate(
    tmp_path: Path, video: SimpleNamespace, name: str, kind: str
) -> None:
    write(tmp_path / name, video, of=clip(), kind=kind, frames=20)
    written = open_source(tmp_path / name)
    frames = list(written)
    assert [video.number(f.image) for f in frames] == list(range(20))
    assert written.rate == NTSC
    tick = Fraction(1, 1000) if name.endswith(("mkv", "webm")) else 0
    assert all(abs(f.pts * f.time_base - f.index / NTSC) <= tick for f in frames)
    expected = picture(video, 7, kind="pha" if kind == "pha" else "fgr", of=clip()).astype(int)
    got = frames[7].image[..., 0] if kind == "pha" else frames[7].image
    assert np.abs(got - expected)[20:, 8:80].mean() < 5
    assert names_in(tmp_path) == [name]


def test_h264_is_what_players_expect(tmp_path: Path, video: SimpleNamespace) -> None:
    write(tmp_path / "a.mp4", video, of=clip(pixel_aspect=Fraction(4, 3)), kind="composite")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (
            1,
            1,
            1,
            1,
        )
        assert stream.sample_aspect_ratio == Fraction(4, 3)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(
    "rgb", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (120, 255, 155), (255, 255, 255), (0, 0, 0)]
)
def test_colours_survive(tmp_path: Path, rgb: tuple[int, int, int]) -> None:
    with open_sink(tmp_path / "a.mp4", clip=clip(), options=EncodeOptions(crf=1)) as sink:
        sink.write(np.full((96, 160, 3), rgb, np.uint8))
    image = next(iter(open_source(tmp_path / "a.mp4"))).image
    assert np.abs(image.astype(int) - rgb).max() <= 3


def test_the_default_loses_less_than_veryfast_at_18(tmp_path: Path, video: SimpleNamespace) -> None:
    losses = []
    for options in (EncodeOptions(), EncodeOptions(preset="veryfast"), EncodeOptions(crf=30)):
        write(tmp_path / "a.mp4", video, of=clip(), kind="composite", options=options, overwrite=True)
        frames = list(open_source(tmp_path / "a.mp4"))
        written = [picture(video, frame.index, kind="composite", of=clip()) for frame in frames]
        errors = [f.image.astype(int) - image for f, image in zip(frames, written, strict=True)]
        losses.append(float(np.mean(np.square(errors))))
    assert losses[0] <= losses[1] < losses[2]


def test_alpha_video_spans_the_whole_range(tmp_path: Path) -> None:
    ramp = np.arange(160, dtype=np.uint8)[None].repeat(96, 0)
    ramp[:, 150:] = 255
    with open_sink(tmp_path / "a.mp4", clip=clip(), kind="pha", options=EncodeOptions(crf=1)) as sink:
        sink.write(ramp)
    image = next(iter(open_source(tmp_path / "a.mp4"))).image.astype(int)
    assert np.ptp(image, axis=-1).max() <= 1
    assert np.abs(image[..., 0] - ramp).max() <= 3


@pytest.mark.parametrize(("name", "decoder"), [("a.mov", "prores"), ("a.webm", "libvpx-vp9")])
def test_transparency_survives(tmp_path: Path, video: SimpleNamespace, name: str, decoder: str) -> None:
    write(tmp_path / name, video, of=clip(), kind="rgba", frames=3)
    with av.open(str(tmp_path / name)) as container:
        # FFmpeg's own VP9 decoder leaves alpha out; libvpx has it.
        context = av.CodecContext.create(decoder, "r")
        context.extradata = container.streams.video[0].codec_context.extradata
        context.codec_tag = container.streams.video[0].codec_context.codec_tag
        packets = [p for p in container.demux(video=0) if p.size]
        decoded = [f for p in packets for f in context.decode(p)]
    rgba = decoded[1].to_ndarray(format="rgba") if decoded else np.zeros((96, 160, 4))
    expected = picture(video, 1, kind="rgba", of=clip()).astype(int)
    assert np.abs(rgba[..., 3] - expected[..., 3])[:, :80].mean() < 4


@pytest.mark.parametrize("kind", ["composite", "pha", "rgba"])
def test_png_images_are_exact(tmp_path: Path, video: SimpleNamespace, kind: str) -> None:
    write(tmp_path / "out", video, of=clip(width=161, height=97), kind=kind, frames=12)
    names = names_in(tmp_path / "out")
    assert names == [f"{index:06d}.png" for index in range(12)]
    for index in (0, 11):
        with Image.open(tmp_path / "out" / names[index]) as image:
            assert image.mode == {"composite": "RGB", "pha": "L", "rgba": "RGBA"}[kind]
            expected = picture(video, index, kind=kind, of=clip(width=161, height=97))
            assert np.array_equal(np.asarray(image), expected)


def test_odd_sizes_get_one_more_row_and_column_and_a_notice(tmp_path: Path, video: SimpleNamespace) -> None:
    odd = clip(width=161, height=97)
    notices = write(tmp_path / "a.mp4", video, of=odd, kind="composite", options=EncodeOptions(crf=1))
    image = next(iter(open_source(tmp_path / "a.mp4"))).image.astype(int)
    assert image.shape == (98, 162, 3)
    assert np.abs(image[:, 161] - image[:, 160]).mean() < 8
    assert np.abs(image[97] - image[96]).mean() < 8
    assert any("161x97 is written as 162x98" in notice for notice in notices)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_sound_is_copied_byte_for_byte(tmp_path: Path, video: SimpleNamespace, name: str) -> None:
    source = open_source(video.write_clip(tmp_path / "in.mp4", frames=20, sound_s=1.5))
    assert write(tmp_path / name, video, of=source.clip, kind="composite", frames=20) == []
    before, after = video.sound_packets(tmp_path / "in.mp4"), video.sound_packets(tmp_path / name)
    if name == "a.mkv":
        # Matroska has no negative times: without what primes AAC, neither pictures nor sound move.
        assert before.pop(0)[0] == Fraction(-1024, 48000)
    assert [data for _, data in before] == [data for _, data in after]
    assert all(abs(a[0] - b[0]) <= Fraction(1, 2000) for a, b in zip(before, after, strict=True))
    first = next(iter(open_source(tmp_path / name)))
    assert first.pts == 0


@pytest.mark.parametrize(
    ("codec", "name"),
    [("pcm_s16le", "a.mp4"), ("flac", "a.mkv"), ("libopus", "a.webm"), ("libopus", "a.mkv")],
)
def test_other_sound_is_copied_too(tmp_path: Path, video: SimpleNamespace, codec: str, name: str) -> None:
    source = open_source(video.write_clip(tmp_path / "in.mkv", frames=8, sound_s=0.5, sound_codec=codec))
    assert source.frame_count == 8
    assert write(tmp_path / name, video, of=source.clip, kind="composite", frames=8) == []
    before, after = video.sound_packets(tmp_path / "in.mkv"), video.sound_packets(tmp_path / name)
    assert b"".join(data for _, data in before) == b"".join(data for _, data in after)


def test_sound_that_does_not_fit_is_left_out_and_said(tmp_path: Path, video: SimpleNamespace) -> None:
    source = open_source(video.write_clip(tmp_path / "in.mp4", frames=4, sound_s=0.3))
    notices = write(tmp_path / "a.webm", video, of=source.clip, kind="composite", frames=4)
    assert any("cannot hold aac" in notice for notice in notices)
    assert not open_source(tmp_path / "a.webm").has_audio
    opus = open_source(video.write_clip(tmp_path / "in.mkv", frames=4, sound_s=0.3, sound_codec="libopus"))
    notices = write(tmp_path / "a.mov", video, of=opus.clip, kind="composite", frames=4)
    assert any("mov file cannot hold opus. Write .mkv" in notice for notice in notices)
    notices = write(tmp_path / "out", video, of=source.clip, kind="pha", frames=4)
    assert any("folder of images" in notice for notice in notices)
    quiet = EncodeOptions(audio=False)
    assert write(tmp_path / "b.mp4", video, of=source.clip, kind="pha", frames=4, options=quiet) == []
    assert not open_source(tmp_path / "b.mp4").has_audio


def test_a_late_start_becomes_zero_and_gaps_stay(tmp_path: Path, video: SimpleNamespace) -> None:
    late = clip(time_base=Fraction(1, 90000), rate=Fraction(25), start=Fraction(5))
    times = [450000, 453600, 460800, 500000]
    with open_sink(tmp_path / "a.mp4", clip=late) as sink:
        for index, pts in enumerate(times):
            image = picture(video, index, kind="composite", of=late)
            sink.write(image, pts=pts, time_base=Fraction(1, 90000), duration=3600)
    frames = list(open_source(tmp_path / "a.mp4"))
    assert [f.pts * f.time_base for f in frames] == [Fraction(t - 450000, 90000) for t in times]


def test_milliseconds_become_a_constant_rate_again() -> None:
    timeline = Timeline(rate=NTSC, time_base=Fraction(1, 1000))
    exact = [index * 1001 / 30000 for index in range(300)]
    placed = [timeline.place(round(t * 1000), Fraction(1, 1000)) * timeline.time_base for t in exact]
    assert placed == [index / NTSC for index in range(300)]
    for pts, duration in ((0, 33), (33, 33), (33, 34), (67, 33)):
        assert timeline.length(pts, duration, Fraction(1, 1000)) * timeline.time_base == 1 / NTSC


def test_times_always_increase() -> None:
    timeline = Timeline(rate=Fraction(25), time_base=Fraction(1, 1000))
    placed = [timeline.place(pts, Fraction(1, 1000)) for pts in (0, 0, 39, 40, 41, 40, 500)]
    assert placed == sorted(set(placed))


def test_an_output_that_is_there_is_kept(tmp_path: Path, video: SimpleNamespace) -> None:
    (tmp_path / "a.mp4").write_bytes(b"precious")
    with pytest.raises(VideoError, match="--force"), open_sink(tmp_path / "a.mp4", clip=clip()):
        pass
    with pytest.raises(ZeroDivisionError), open_sink(tmp_path / "a.mp4", clip=clip(), overwrite=True) as sink:
        sink.write(picture(video, 0, kind="composite", of=clip()))
        raise ZeroDivisionError
    assert (tmp_path / "a.mp4").read_bytes() == b"precious"
    write(tmp_path / "a.mp4", video, of=clip(), kind="composite", overwrite=True)
    assert len(list(open_source(tmp_path / "a.mp4"))) == 10
    assert names_in(tmp_path) == ["a.mp4"]


def test_a_folder_is_replaced_only_if_it_is_ours(tmp_path: Path, video: SimpleNamespace) -> None:
    write(tmp_path / "out", video, of=clip(), kind="pha", frames=5)
    with pytest.raises(VideoError, match="--force"):
        plan_output(tmp_path / "out")
    write(tmp_path / "out", video, of=clip(), kind="pha", frames=3, overwrite=True)
    assert len(names_in(tmp_path / "out")) == 3
    (tmp_path / "out" / "thesis.docx").write_bytes(b"precious")
    with pytest.raises(VideoError, match=r"thesis\.docx"):
        plan_output(tmp_path / "out", overwrite=True)


def test_outputs_are_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "in.mp4").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "in.mp4")
    cases = {
        "a.avi": r"\.mp4, .*\.webm",
        "a.png": r"PNG images",
        "in.mp4": "input itself",
        "link.mp4": "input itself",
        "sub/../in.mp4": "input itself",
        "missing/a.mp4": "no folder",
        "folder.mp4": "a folder of that name",
        "file": "a file of that name",
        "file/a.mp4": "no folder",
        "/proc/a.mp4": "can be written to",
    }
    (tmp_path / "sub").mkdir()
    before = names_in(tmp_path)
    for name, reason in cases.items():
        with pytest.raises(VideoError, match=reason):
            plan_output(tmp_path / name, source=tmp_path / "in.mp4", overwrite=True)
    with pytest.raises(VideoError, match="without alpha"):
        plan_output(tmp_path / "a.mp4", kind="rgba")
    with pytest.raises(OptionError, match="output kind"):
        plan_output(tmp_path / "a.mp4", kind="alpha")
    assert names_in(tmp_path) == before


def test_kinds_follow_the_output(tmp_path: Path) -> None:
    assert plan_output(tmp_path / "a.mp4").kind.value == "composite"
    assert plan_output(tmp_path / "frames").kind.value == "rgba"
    assert plan_output(f"{tmp_path}/v1.2/").format.value == "png"


@pytest.mark.parametrize(
    "changes", [{"crf": 52}, {"crf": -1}, {"crf": True}, {"threads": -1}, {"preset": "warp"}, {"preset": ""}]
)
def test_bad_options_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(changes))):
        EncodeOptions(**changes)


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    for image in (
        np.zeros((96, 160), np.uint8),
        np.zeros((97, 160, 3), np.uint8),
        np.zeros((96, 160, 3), np.float32),
    ):
        with (
            pytest.raises(FrameError, match=r"expected \(96, 160, 3\) uint8"),
            open_sink(tmp_path / "a.mp4", clip=clip()) as sink,
        ):
            sink.write(image)
    assert names_in(tmp_path) == []


def test_a_finished_sink_takes_no_more(tmp_path: Path, video: SimpleNamespace) -> None:
    with open_sink(tmp_path / "a.mp4", clip=clip()) as sink:
        sink.write(picture(video, 0, kind="composite", of=clip()))
    with pytest.raises(SessionError, match="after the end"):
        sink.write(picture(video, 1, kind="composite", of=clip()))


def test_a_full_disk_is_one_message_and_leaves_nothing(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(VideoError, match="No space left on device"):
        write(tmp_path / "out", video, of=clip(), kind="rgba", frames=50)
    assert names_in(tmp_path) == []


def test_an_encoder_error_reaches_the_writer(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rvm_trt.runtime.video import encoding

    def broken(*_: Any, **__: Any) -> None:
        raise av.error.ExternalError(542398533, "Generic error in an external library")

    monkeypatch.setattr(encoding.FromRgb, "convert", broken)
    with pytest.raises(VideoError, match=r"external library.*libx264"):
        write(tmp_path / "a.mp4", video, of=clip(), kind="composite", frames=50)
    assert names_in(tmp_path) == []


def test_prefetch_forwards_errors_after_the_items_before_them() -> None:
    def items() -> Any:
        yield from range(3)
        raise KeyError("three")

    with Prefetch(items(), depth=1, name="test") as prefetch:
        reader = iter(prefetch)
        assert [next(reader) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(KeyError, match="three"):
            next(reader)


def test_prefetch_stops_while_its_queue_is_full() -> None:
    closed = threading.Event()

    def endless() -> Any:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    with Prefetch(endless(), depth=2, name="test") as prefetch:
        assert next(iter(prefetch)) == 0
    assert closed.wait(5)
    prefetch.close()


def test_worker_raises_its_error_even_when_its_queue_was_full() -> None:
    gate = threading.Event()

    def consume(item: int) -> None:
        gate.wait(5)
        raise KeyError(item)

    with Worker(consume, depth=1, name="test") as worker:
        worker.put(0)
        threading.Timer(0.1, gate.set).start()
        with pytest.raises(KeyError):
            for item in range(1, 5):
                worker.put(item)
        with pytest.raises(KeyError):
            worker.finish()
    worker.close()
