"""Raw frames on standard output."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.output import EncodeOptions, plan_output
from rvm_trt.runtime.video.sink import open_sink
from rvm_trt.runtime.video.source import Clip

WIDTH, HEIGHT, FRAMES = 145, 47, 4


def clip(**changes: Any) -> Clip:
    fields: dict[str, Any] = {
        "path": Path("in.mp4"),
        "width": WIDTH,
        "height": HEIGHT,
        "rate": Fraction(25),
        "time_base": Fraction(1, 25),
        "frame_count": FRAMES,
    }
    return Clip(**(fields | changes))


def pictures(video: SimpleNamespace, kind: str, *, depth: int = 8) -> list[npt.NDArray[Any]]:
    frames = [video.numbered(index, width=WIDTH, height=HEIGHT) for index in range(FRAMES)]
    images = [
        {"pha": rgb[..., 0], "rgba": np.dstack([rgb, rgb[..., 1]])}.get(kind, rgb).astype(np.uint16)
        for rgb in frames
    ]
    return [image * np.uint16(257) if depth == 16 else image.astype(np.uint8) for image in images]


@contextmanager
def standard_output(descriptor: int) -> Iterator[None]:
    """Puts a descriptor in the place of standard output, and closes it at the end."""
    saved = os.dup(1)
    os.dup2(descriptor, 1)
    os.close(descriptor)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def piped(images: list[npt.NDArray[Any]], kind: str | None, *, depth: int = 8, **options: Any) -> bytes:
    """What a slow reader gets at the other end of a short pipe, which another program has set not to block."""
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(theirs, False)
    got: list[bytes] = []
    with os.fdopen(ours, "rb") as pipe, standard_output(theirs):
        reader = threading.Timer(0.02, lambda: got.append(pipe.read()))
        reader.start()
        try:
            with open_sink(
                "-", clip=clip(), kind=kind, options=EncodeOptions(**options), depth=depth
            ) as sink:
                for image in images:
                    sink.write(image)
        finally:
            os.close(1)
            reader.join()
    return got[0]


@pytest.mark.parametrize(
    ("kind", "depth"), [("rgba", 8), (None, 8), ("composite", 8), ("pha", 8), ("rgba", 16), ("pha", 16)]
)
def test_packed_pixels_are_exact(video: SimpleNamespace, kind: str | None, depth: int) -> None:
    images = pictures(video, kind or "rgba", depth=depth)
    assert piped(images, kind, depth=depth) == b"".join(image.tobytes() for image in images)


def test_premultiplied_pixels(video: SimpleNamespace) -> None:
    images = pictures(video, "rgba")
    got = np.frombuffer(piped(images, "rgba", premultiplied=True), np.uint8).reshape(FRAMES, HEIGHT, WIDTH, 4)
    expected = np.stack(images).astype(float)
    expected[..., :3] *= expected[..., 3:] / 255
    assert np.array_equal(got, np.rint(expected))


@pytest.mark.parametrize("raw_format", ["yuva420p", "yuva444p"])
def test_planes_with_alpha(video: SimpleNamespace, raw_format: str) -> None:
    images = pictures(video, "rgba")
    data = np.frombuffer(piped(images, "rgba", raw_format=raw_format), np.uint8).reshape(FRAMES, -1)
    chroma = ((HEIGHT + 1) // 2) * ((WIDTH + 1) // 2) if raw_format == "yuva420p" else HEIGHT * WIDTH
    assert data.shape[1] == 2 * (HEIGHT * WIDTH + chroma)
    for frame, image in zip(data, images, strict=True):
        luma = frame[: HEIGHT * WIDTH].reshape(HEIGHT, WIDTH)
        expected = 16 + image[..., :3] @ np.array([0.2126, 0.7152, 0.0722]) * 219 / 255
        assert np.abs(luma - expected).max() <= 1
        assert np.array_equal(frame[-HEIGHT * WIDTH :], image[..., 3].ravel())


def test_a_reader_that_stops_is_one_message(video: SimpleNamespace) -> None:
    ours, theirs = os.pipe()
    with standard_output(theirs):
        os.close(ours)
        with (
            pytest.raises(VideoError, match=r"pipe that its reader closed after 0 whole frames"),
            open_sink("-", clip=clip(), kind="rgba") as sink,
        ):
            for image in pictures(video, "rgba"):
                sink.write(image)


def test_a_terminal_is_refused() -> None:
    ours, theirs = os.openpty()
    try:
        with standard_output(theirs), pytest.raises(VideoError, match="a terminal on standard output"):
            plan_output("-")
    finally:
        os.close(ours)


def test_a_full_device_is_one_message(video: SimpleNamespace) -> None:
    with (
        standard_output(os.open("/dev/full", os.O_WRONLY)),
        pytest.raises(VideoError, match="No space left on device"),
        open_sink("-", clip=clip(), kind="rgba") as sink,
    ):
        sink.write(pictures(video, "rgba")[0])


def test_the_notices_say_how_to_read_the_frames_and_that_sound_is_left_out(video: SimpleNamespace) -> None:
    ours, theirs = os.pipe()
    with (
        os.fdopen(ours, "rb"),
        standard_output(theirs),
        open_sink("-", clip=clip(has_audio=True), kind="rgba") as sink,
    ):
        sink.write(pictures(video, "rgba")[0])
        assert any("-pixel_format rgba -video_size 145x47 -framerate 25" in text for text in sink.notices)
        assert any("Sound" in text for text in sink.notices)


def test_an_interruption_does_not_wait_for_a_reader_that_does_not_read() -> None:
    code = """
from fractions import Fraction
from pathlib import Path
import numpy as np
from rvm_trt.runtime.video.sink import open_sink
from rvm_trt.runtime.video.source import Clip
clip = Clip(path=Path("in.mp4"), width=640, height=480, rate=Fraction(25), time_base=Fraction(1, 25), frame_count=9)
with open_sink("-", clip=clip, kind="rgba") as sink:
    for _ in range(3):  # of which the first is being written then, and is more than a pipe holds
        sink.write(np.zeros((480, 640, 4), np.uint8))
    raise KeyboardInterrupt
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            process.wait(60)
        finally:
            process.kill()
        assert process.stderr is not None
        assert process.stderr.read().endswith("KeyboardInterrupt\n")
