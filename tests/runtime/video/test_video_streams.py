"""Standard input and the network: read once, bounded waits, and clean ends."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rvm_trt.errors import OptionError, VideoError
from rvm_trt.runtime.video import container
from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.source import open_source


@contextmanager
def _piped(data: bytes, monkeypatch: pytest.MonkeyPatch, *, ends: bool = True) -> Iterator[None]:
    """Standard input as a pipe with data; it stays open after them where ``ends`` is false."""
    out, into = os.pipe()
    left = threading.Event()

    def feed() -> None:
        with os.fdopen(into, "wb") as file:
            try:
                file.write(data)
                file.flush()
            except BrokenPipeError:
                return
            if not ends:
                left.wait()

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        with os.fdopen(out, "rb") as reading:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(reading))
            yield
    finally:
        left.set()
        thread.join()


def _clip(folder: Path, video: SimpleNamespace, name: str, **more: Any) -> bytes:
    path: Path = video.write_clip(folder / name, frames=12, width=128, height=48, **more)
    return path.read_bytes()


def test_frames_from_standard_input_last_until_the_next(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [0, 40, 101, 140, 300, 341, 380, 500]
    path = video.write_clip(tmp_path / "a.mp4", frames=8, pts=times, time_base=Fraction(1, 1000))
    with path.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        frames = list(open_source("-"))
    ends = [(f.pts + f.duration) * f.time_base * 1000 for f in frames]
    assert ends[:-1] == times[1:]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("a.mkv", {"sound_s": 0.5}),
        ("a.ts", {}),
        ("a.y4m", {"codec": "wrapped_avframe"}),
        ("a.nut", {"codec": "ffv1"}),
        ("a.264", {}),
    ],
)
def test_a_video_comes_from_standard_input(
    tmp_path: Path,
    video: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    more: dict[str, Any],
) -> None:
    with _piped(_clip(tmp_path, video, name, **more), monkeypatch):
        source = open_source("-")
        assert (source.clip.live, source.has_audio) == (True, False)
        frames = list(source)
        assert [video.number(f.image) for f in frames] == list(range(12))
        assert frames[0].pts * frames[0].time_base == source.clip.start
        assert any("Sound" in notice for notice in source.notices) == bool(more.get("sound_s"))
        with pytest.raises(VideoError, match="read once"):
            list(source)


def test_a_file_as_standard_input_may_have_its_index_at_the_end(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _clip(tmp_path, video, "a.mp4")
    with (tmp_path / "a.mp4").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert [video.number(f.image) for f in open_source("-")] == list(range(12))


def test_what_cannot_be_streamed_says_what_can(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = {"width": 640, "height": 480, "codec": "prores_ks", "pix_fmt": "yuv422p10le"}
    data = video.write_clip(tmp_path / "a.mov", frames=6, **large).read_bytes()
    with (
        _piped(data, monkeypatch),
        pytest.raises(VideoError, match=r"standard input.*faststart"),
    ):
        open_source("-")


@pytest.mark.parametrize(
    ("data", "message"), [(b"", r"nothing \(0 bytes\)"), (b"nonsense " * 1000, "a stream that does not open")]
)
def test_no_video_on_standard_input_is_refused(
    monkeypatch: pytest.MonkeyPatch, data: bytes, message: str
) -> None:
    with _piped(data, monkeypatch), pytest.raises(VideoError, match=f"standard input: got {message}"):
        open_source("-")


def test_a_terminal_and_no_input_at_all_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    master, terminal = os.openpty()
    with os.fdopen(master, "rb"), os.fdopen(terminal, encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdin", file)
        with pytest.raises(VideoError, match="got a terminal"):
            open_source("-")
    for nothing in (None, io.StringIO()):
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(VideoError, match="got no video"):
            open_source("-")


def test_a_wait_for_standard_input_can_be_ended(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than FFmpeg wants to see before it opens a stream, without an end.
    data = _clip(tmp_path, video, "a.y4m", codec="wrapped_avframe")
    with _piped(data, monkeypatch, ends=False):
        source = open_source("-")
        frames = iter(source)
        numbers = [video.number(next(frames).image) for _ in range(3)]
        closer = threading.Timer(0.1, source.close)
        closer.start()
        numbers += [video.number(frame.image) for frame in frames]
        closer.join()
    assert numbers == list(range(len(numbers)))


def test_a_later_start_needs_an_input_that_can_be_searched(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _clip(tmp_path, video, "a.mkv")
    with _piped(data, monkeypatch), pytest.raises(VideoError, match="a start at 1 s"):
        open_source("-", options=InputOptions(start_s=1))
    with _piped(data, monkeypatch):
        source = open_source("-", options=InputOptions(stop_s=0.2))
        assert [video.number(f.image) for f in source] == list(range(6))
    with pytest.raises(OptionError, match="rate"):
        open_source("-", rate=25)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class _Live(BaseHTTPRequestHandler):
    """Sends data without saying how many, and then waits."""

    def __init__(self, data: bytes, done: threading.Event, *args: Any) -> None:
        self._data, self._done = data, done
        super().__init__(*args)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        self.wfile.write(self._data)
        self._done.wait(20)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _serving(handler: Callable[..., Any]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_file_behind_http_is_read_like_a_file(tmp_path: Path, video: SimpleNamespace) -> None:
    _clip(tmp_path, video, "a.mkv", sound_s=0.5)
    with _serving(partial(_Quiet, directory=str(tmp_path))) as address:
        source = open_source(f"{address}/a.mkv")
        assert (source.clip.live, source.has_audio) == (False, True)
        assert source.clip.url == f"{address}/a.mkv"
        for _ in range(2):
            assert [video.number(f.image) for f in source] == list(range(12))
        part = open_source(f"{address}/a.mkv", options=InputOptions(start_s=0.2, warm_up_s=0))
        assert [video.number(f.image) for f in part] == list(range(6, 12))
        with pytest.raises(VideoError, match=r"none\.mkv.*does not open"):
            open_source(f"{address}/none.mkv")


@pytest.mark.parametrize("stalls", [False, True])
def test_a_stream_that_stops_gives_what_came(
    tmp_path: Path, video: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, stalls: bool
) -> None:
    monkeypatch.setattr(container, "READ_TIMEOUT_S", 0.3)
    monkeypatch.setattr(container, "OPEN_TIMEOUT_S", 0.6)
    done = threading.Event()
    if not stalls:
        done.set()
    data = video.write_clip(
        tmp_path / "a.ts", frames=60, width=128, height=48, options={"g": "10", "bf": "0"}
    ).read_bytes()
    with _serving(partial(_Live, data, done)) as address:
        source = open_source(f"{address}/live.ts")
        assert source.clip.live
        numbers = [video.number(f.image) for f in source]
        done.set()
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 55
    assert source.notices[-1] == "The stream ended."
    assert any("no data" in notice for notice in source.notices) == stalls


@pytest.mark.parametrize("scheme", ["rtsp", "http", "udp"])
def test_an_address_that_does_not_answer_is_one_error_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr(container, "OPEN_TIMEOUT_S", 0.2)
    with pytest.raises(VideoError, match=r"(refused|no answer in time)") as caught:
        open_source(f"{scheme}://user:secret@127.0.0.1:9/live")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["ftp://a/b.mp4", "file:///etc/passwd", "concat://a", "gopher://a", "://a"])
def test_other_schemes_are_refused(name: str) -> None:
    with pytest.raises(VideoError, match="expected one of http, https, rtsp"):
        open_source(name)


def test_a_playlist_cannot_leave_the_machine(tmp_path: Path) -> None:
    with _serving(partial(_Quiet, directory=str(tmp_path))) as address:
        (tmp_path / "a.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{address}/a.ts\n#EXT-X-ENDLIST\n")
        with pytest.raises(VideoError, match=r"a\.m3u8"):
            open_source(tmp_path / "a.m3u8")
