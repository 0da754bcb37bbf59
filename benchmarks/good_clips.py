"""Short clips with sound in several containers, whole: what broken ones are made from."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream

WIDTH, HEIGHT, FRAMES = 96, 64, 40
# Suffix → (FFmpeg's container, video codec, sound codec, container options)
KINDS = {
    ".mp4": ("mp4", "libx264", "aac", {}),
    "-fast.mp4": ("mp4", "libx264", "aac", {"movflags": "+faststart"}),
    ".mov": ("mov", "mpeg4", "pcm_s16le", {}),
    ".mkv": ("matroska", "libx264", "aac", {}),
    ".webm": ("webm", "libvpx-vp9", "libopus", {}),
    ".ts": ("mpegts", "mpeg2video", "mp2", {}),
    ".avi": ("avi", "mjpeg", "pcm_s16le", {}),
}


def write_good_clip(
    path: Path, suffix: str, *, frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT, first: int = 0
) -> Path:
    """Writes a short clip of moving shapes with a tone and returns its path."""
    kind, codec, sound, options = KINDS[suffix]
    rate = Fraction(25)
    with av.open(str(path), "w", format=kind, container_options=options) as container:
        video = container.add_stream(codec, rate=rate, width=width, height=height)
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.gop_size = 10
        audio = container.add_stream(sound, rate=48000)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(first + index, width, height), format="rgb24")
            frame.pts = index
            frame.time_base = 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        write_tone(container, audio, seconds=frames / 25)
    return path


def write_tone(container: av.container.OutputContainer, audio: AudioStream, *, seconds: float) -> None:
    """Encodes a tone into a container and ends the stream."""
    step = 960
    for start in range(0, int(seconds * 48000), step):
        wave = (8000 * np.sin(np.arange(start, start + step) * 2 * np.pi * 440 / 48000)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(audio.encode(frame))
    container.mux(audio.encode(None))


def picture(index: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Returns frame ``index`` of a bright disc that swings over a gradient, (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    inside = (x - width / 2 - 10 * np.sin(index / 5)) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2
    image = np.stack([x * 2 % 256, y * 3 % 256, (x + y + index) % 256], axis=-1).astype(np.uint8)
    image[inside] = (230, 180, 150)
    return image
