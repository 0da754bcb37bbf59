"""Clips made on the spot, whose frames carry their number in a way that survives lossy coding."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.profile import Profile

BLOCK = 16
BITS = 8


def numbered(index: int, *, width: int, height: int) -> npt.NDArray[np.uint8]:
    """A gradient that moves, with ``index`` as black and white blocks along the top."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([(x + 3 * index) % 256, (y * 2) % 256, (x + y) % 256], axis=-1).astype(np.uint8)
    for bit in range(BITS):
        image[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 if index >> bit & 1 else 0
    return image


def number(image: npt.NDArray[np.uint8]) -> int:
    """The number that `numbered` put into an image, grey or RGB."""
    centres = [image[BLOCK // 2, bit * BLOCK + BLOCK // 2].mean() > 128 for bit in range(BITS)]
    return sum(1 << bit for bit, white in enumerate(centres) if white)


def write_clip(
    path: Path,
    *,
    frames: int = 12,
    width: int = 160,
    height: int = 96,
    rate: Fraction = Fraction(30000, 1001),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    time_base: Fraction | None = None,
    pts: Sequence[int] | None = None,
    durations: Sequence[int] | None = None,
    sound_s: float = 0,
    sound_codec: str = "aac",
    rotation: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes a clip of numbered frames and returns its path. Durations are in the unit of ``pts``."""
    time_base = time_base or 1 / rate
    length_at = dict(zip(pts or range(frames), durations or (), strict=False))

    def lasting(packets: Any) -> Any:
        for packet in packets if durations else ():
            length = length_at[round(packet.pts * packet.time_base / time_base)]
            packet.duration = round(length * time_base / packet.time_base)
        return packets

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, time_base=time_base, width=width, height=height)
        stream.pix_fmt = pix_fmt
        stream.options.update({"crf": "10"} | (options or {}) if codec == "libx264" else options or {})
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream(sound_codec, rate=48000) if sound_s else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered(index, width=width, height=height), format="rgb24")
            frame.pts, frame.time_base = (pts[index] if pts else index), time_base
            container.mux(lasting(stream.encode(frame)))
        container.mux(lasting(stream.encode(None)))
        if sound is not None:
            container.mux([packet for frame in _tone(sound, sound_s) for packet in sound.encode(frame)])
            container.mux(sound.encode(None))
    return path


def _tone(stream: Any, seconds: float) -> Iterator[av.AudioFrame]:
    step = 1024
    for start in range(0, int(seconds * 48000), step):
        wave = 0.2 * np.sin(np.arange(start, start + step) * 2 * np.pi * 440 / 48000)
        frame = av.AudioFrame.from_ndarray(
            np.stack([wave, wave]).astype(np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        yield from _resampled(frame, stream)


def _resampled(frame: av.AudioFrame, stream: Any) -> list[av.AudioFrame]:
    return av.AudioResampler(format=stream.format, layout="stereo", rate=48000).resample(frame)


def sound_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time in seconds and bytes of every sound packet of a file."""
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(container.streams.audio)
            if packet.size and packet.pts is not None
        ]


@dataclass
class FakeSession:
    """Answers with the frame itself, one frame late, in buffers that it overwrites at the next answer."""

    width: int = 160
    height: int = 96
    fail_at: int | None = None
    error: BaseException | None = None

    @property
    def profile(self) -> Profile:
        return Profile(width=self.width, height=self.height, ratio=1.0)

    def reset(self) -> None:
        """It remembers nothing."""

    def run(self, frames: Any) -> Iterator[Any]:
        buffer = np.empty((self.height, self.width, 4), np.uint8)
        previous = None
        for index, frame in enumerate(frames):
            assert frame.shape == (self.height, self.width, 3)
            assert frame.dtype == np.uint8
            assert frame.flags.c_contiguous
            if index == self.fail_at and self.error is not None:
                raise self.error
            if previous is not None:
                yield self._matte(buffer, previous)
            previous = frame
        if previous is not None:
            yield self._matte(buffer, previous)

    def _matte(self, buffer: npt.NDArray[np.uint8], frame: npt.NDArray[np.uint8]) -> Any:
        buffer[..., :3] = frame
        buffer[..., 3] = frame[..., 0]
        rgb = buffer[..., :3].copy()
        return SimpleNamespace(composite=rgb, fgr=rgb, pha=buffer[..., 3], rgba=buffer)


@pytest.fixture
def video() -> SimpleNamespace:
    """The helpers above; test folders are no packages that could be imported from."""
    return SimpleNamespace(
        numbered=numbered,
        number=number,
        write_clip=write_clip,
        sound_packets=sound_packets,
        FakeSession=FakeSession,
    )


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Every test must leave the threads as it found them."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
