"""An interrupted job that is resumed gives the same bytes as one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from averaging import FRAMES, SEGMENT, AveragingSession, contents, matte, names, stop_at

from rvm_trt.errors import OptionError, VideoError
from rvm_trt.runtime.video.encoding import DecodeTimes
from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.job import matte_video
from rvm_trt.runtime.video.job_options import JobOptions
from rvm_trt.runtime.video.output import EncodeOptions
from rvm_trt.runtime.video.source import Frame, Source, open_source

CASES: list[tuple[str, dict[str, Any]]] = [
    ("out.mp4", {}),
    ("out.mp4", {"preset": "medium"}),
    ("out.mp4", {"codec": "av1"}),
    ("out.mp4", {"codec": "vp9"}),
    ("out.webm", {}),
    ("out.webm", {"kind": "rgba"}),
    ("out.webm", {"kind": "rgba", "codec": "av1"}),
    ("out.mov", {"kind": "rgba"}),
    ("out.mkv", {"kind": "rgba", "codec": "ffv1"}),
    ("out", {}),
    ("out", {"codec": "exr"}),
]


@pytest.mark.parametrize(("name", "how"), CASES)
def test_the_bytes_are_those_of_one_run(tmp_path: Path, source: Path, name: str, how: dict[str, Any]) -> None:
    how = dict(how)
    kind = how.pop("kind", None)
    options = EncodeOptions(**how)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    matte(source, tmp_path / "one" / name, kind=kind, options=options)
    target = tmp_path / "two" / name
    for stop, kept in ((5, 0), (20, 16), (3, 16), (11, 24)):
        with pytest.raises(KeyboardInterrupt, match=f"{kept} of them are kept" if kept else "nothing was"):
            matte(source, target, kind=kind, options=options, before=stop_at(stop), resume=True)
        assert names(target.parent) == ([f".{name}.rvm-trt-partial"] if kept else [])
    report = matte(source, target, kind=kind, options=options, resume=True)
    assert (report.frames, report.resumed_at) == (FRAMES, 24)
    assert contents(target) == contents(tmp_path / "one" / name)
    assert names(target.parent) == [name]


class Stuttering(Source):
    """Repeats a timestamp where one segment ends and the next begins."""

    def frames_from(self, index: int) -> Iterator[Frame]:
        times = [0, 1, 2, 3, 4, 5, 6, 9, 9, 9, 9, 11, 12]
        for number, pts in list(enumerate(times))[index:]:
            image = np.full((48, 64, 3), 20 * number, np.uint8)
            yield Frame(index=number, image=image, pts=pts, time_base=Fraction(1, 25))


def test_timestamps_rise_across_the_boundary_as_in_one_run(tmp_path: Path, source: Path) -> None:
    clip = replace(open_source(source).clip, rate=Fraction(25), time_base=Fraction(1, 25), has_audio=False)
    matte(Stuttering(clip), tmp_path / "one.mp4")
    with pytest.raises(KeyboardInterrupt):
        matte(Stuttering(clip), tmp_path / "two.mp4", before=stop_at(10))
    assert matte(Stuttering(clip), tmp_path / "two.mp4", resume=True).resumed_at == SEGMENT
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    times = [frame.pts for frame in open_source(tmp_path / "one.mp4")]
    assert times == sorted(set(times))


def test_segments_are_no_other_video(tmp_path: Path, source: Path) -> None:
    pictures, times = [], []
    for name, segment in (("many.mp4", SEGMENT), ("one.mp4", 1000)):
        options = EncodeOptions(crf=10, preset="medium")
        matte(source, tmp_path / name, options=options, job={"segment_frames": segment})
        frames = list(open_source(tmp_path / name))
        pictures.append(np.stack([frame.image for frame in frames]).astype(int))
        times.append([frame.pts * frame.time_base for frame in frames])
        with av.open(str(tmp_path / name)) as container:
            keys = [packet.pts for packet in container.demux(video=0) if packet.is_keyframe]
        assert len(keys) == -(-FRAMES // segment)
    assert times[0] == times[1]
    assert np.abs(pictures[0] - pictures[1]).mean() < 2


def test_times_of_decoding_rise_and_are_never_late() -> None:
    times = DecodeTimes(delay=2, interval=40)
    shown = [0, 120, 60, 40, 200, 170, 1000, 1100, 1040, 1010]  # a gap between two segments
    decoded = [times.next(pts) for pts in shown]
    assert decoded == sorted(set(decoded))
    assert all(a <= b for a, b in zip(decoded, shown, strict=True))
    assert decoded[:3] == [-80, -40, 0]


def test_several_outputs_come_from_one_pass(tmp_path: Path, source: Path) -> None:
    also = {"pha": tmp_path / "alpha.mkv", "fgr": tmp_path / "colours"}
    report = matte(
        source, tmp_path / "out.mov", kind="rgba", also=also, options=EncodeOptions(codec="prores")
    )
    assert report.outputs == {
        "rgba": str(tmp_path / "out.mov"),
        "pha": str(tmp_path / "alpha.mkv"),
        "fgr": str(tmp_path / "colours"),
    }
    assert names(tmp_path) == ["alpha.mkv", "colours", "in.mkv", "out.mov"]
    for name, kind in (("pha.mkv", "pha"), ("fgr", "fgr")):
        matte(source, tmp_path / name, kind=kind)
    assert contents(tmp_path / "colours") == contents(tmp_path / "fgr")
    assert (tmp_path / "alpha.mkv").read_bytes() == (tmp_path / "pha.mkv").read_bytes()


def test_several_outputs_are_resumed_together(tmp_path: Path, source: Path) -> None:
    def outputs(folder: str) -> dict[str, Any]:
        (tmp_path / folder / "far").mkdir(parents=True, exist_ok=True)
        also = {"pha": tmp_path / folder / "far" / "a.mp4", "fgr": tmp_path / folder / "f"}
        return {"output": tmp_path / folder / "out.webm", "kind": "rgba", "also": also}

    matte(source, **outputs("one"))
    with pytest.raises(KeyboardInterrupt):
        matte(source, **outputs("two"), before=stop_at(13))
    assert names(tmp_path / "two" / "far") == [".a.mp4.rvm-trt-partial"]
    matte(source, **outputs("two"), resume=True)
    for name in ("out.webm", "far/a.mp4", "f"):
        assert contents(tmp_path / "two" / name) == contents(tmp_path / "one" / name)
    assert names(tmp_path / "two") == ["f", "far", "out.webm"]
    assert names(tmp_path / "two" / "far") == ["a.mp4"]


def test_where_one_output_fails_at_its_end_none_appears(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rvm_trt.runtime.video.encode import VideoWriter

    original = VideoWriter.finish

    def finish(self: VideoWriter) -> None:
        if self._plan.kind.value == "pha":
            raise VideoError("output", got="a full disk", expected="room", todo="Make some.")
        original(self)

    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "finish", finish)
        for also in ({"pha": "a.mp4", "fgr": "f.mp4"}, {"fgr": "f.mp4", "pha": "a.mp4"}):
            with pytest.raises(VideoError, match=r"a full disk.*24 of them are kept"):
                matte(
                    source,
                    tmp_path / "out.mp4",
                    also={kind: tmp_path / name for kind, name in also.items()},
                    overwrite=True,
                )
            assert not [name for name in names(tmp_path) if not name.startswith((".", "in."))]


def test_outputs_of_one_kind_or_one_place_are_refused(tmp_path: Path, source: Path) -> None:
    for also in ({"composite": tmp_path / "b.mp4"}, {"pha": tmp_path / "." / "out.mp4"}):
        with pytest.raises(OptionError, match="different kinds at different places"):
            matte(source, tmp_path / "out.mp4", also=also)
    (tmp_path / "out").mkdir()
    for output, other in (("out", "out/alpha.mp4"), ("out/alpha.mp4", "out")):
        with pytest.raises(OptionError, match="one in the other"):
            matte(source, tmp_path / output, kind="fgr", also={"pha": tmp_path / other})
    (tmp_path / "out").rmdir()
    with pytest.raises(OptionError, match="segment_frames"):
        JobOptions(segment_frames=0)
    assert names(tmp_path) == ["in.mkv"]


class CutsAt:
    """Finds cuts at given frames, and must be restored to go on counting."""

    threshold = 0.0

    def __init__(self, *cuts: int) -> None:
        self._cuts = cuts
        self._seen = 0

    def is_cut(self, image: Any) -> bool:
        assert image.shape[2] == 3
        self._seen += 1
        return self._seen - 1 in self._cuts

    def state(self) -> Any:
        return np.array([self._seen], np.float32)

    def restore(self, state: Any) -> None:
        self._seen = int(state[0])


class Wanders:
    """A background that depends on the time alone."""

    notices = ("It wanders.",)

    def image(self, frame: Any) -> tuple[int, int, int] | None:
        return (int(frame.pts * frame.time_base * 200) % 256, frame.index, 0)


def test_cuts_resets_and_backgrounds_go_on_where_they_stood(tmp_path: Path, source: Path) -> None:
    def options(*, resume: bool = False) -> JobOptions:
        return JobOptions(
            cuts=CutsAt(3, 12, 17, 25),  # type: ignore[arg-type]
            backdrop=Wanders(),  # type: ignore[arg-type]
            reset_every=10,
            segment_frames=SEGMENT,
            resume=resume,
        )

    for name in ("plain.mkv", "one.mkv", "two.mkv"):
        kind = EncodeOptions(codec="ffv1")
        session = AveragingSession(stop_at(20) if name == "two.mkv" else lambda _: None)
        job = JobOptions() if name == "plain.mkv" else options()
        try:
            report = matte_video(source, tmp_path / name, session, options=kind, job=job)
        except KeyboardInterrupt:
            again = AveragingSession()
            report = matte_video(source, tmp_path / name, again, options=kind, job=options(resume=True))
            assert again.resets == [1, 4, 9]  # frames 17, 20 and 25 of the input
        if name == "one.mkv":
            assert session.resets == [0, 3, 10, 12, 17, 20, 25]
        if name != "plain.mkv":
            assert report.cuts == (3, 12, 17, 25)
            assert "It wanders." in report.notices
    assert (tmp_path / "one.mkv").read_bytes() == (tmp_path / "two.mkv").read_bytes()
    assert (tmp_path / "one.mkv").read_bytes() != (tmp_path / "plain.mkv").read_bytes()


def test_frames_that_warm_up_are_matted_and_not_written(tmp_path: Path, video: SimpleNamespace) -> None:
    source = video.write_clip(tmp_path / "in.mp4", frames=FRAMES, width=64, height=48, rate=Fraction(10))
    written = []
    for name, inputs in (
        ("whole", InputOptions()),
        ("cold", InputOptions(start_s=1.2, warm_up_s=0)),
        ("warm", InputOptions(start_s=1.2, warm_up_s=1.2)),
        ("resumed", InputOptions(start_s=1.2, warm_up_s=1.2)),
    ):
        if name == "resumed":
            with pytest.raises(KeyboardInterrupt):
                matte(source, tmp_path / name, job={"inputs": inputs}, before=stop_at(25))
        seen: list[int] = []
        report = matte(
            source,
            tmp_path / name,
            job={"inputs": inputs},
            resume=name == "resumed",
            progress=lambda done, _, seen=seen: seen.append(done),
        )
        written.append(list(contents(tmp_path / name).values()))
        assert seen[-1] == report.frames == len(written[-1])
    whole, cold, warm, resumed = written
    assert warm == resumed == whole[12:]
    assert cold[0] != whole[12]
    assert len(cold) == FRAMES - 12
