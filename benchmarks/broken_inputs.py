"""Inputs that are broken in several hundred ways, each made from a good clip by a named rule and a seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
from PIL import Image

from rvm_trt.benchmarks.good_clips import HEIGHT, KINDS, WIDTH, picture, write_good_clip, write_tone

_POSITIONS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)


@dataclass(frozen=True, kw_only=True)
class BrokenInput:
    """One input.

    Attributes:
        name: unique, from kind, rule and seed.
        group: the row of the table it belongs to.
        make: writes it into a folder and returns what to pass as INPUT.
    """

    name: str
    group: str
    make: Callable[[Path], Path]


def broken_inputs(folder: Path) -> Iterator[BrokenInput]:
    """Yields every input; the good clips that they come from are written into ``folder`` first."""
    clips = {suffix: write_good_clip(folder / f"good{suffix}", suffix) for suffix in KINDS}
    for suffix, clip in clips.items():
        yield from _damaged(suffix, clip.read_bytes())
    yield from _containers(clips)
    yield from _names(clips)
    yield from _sizes()
    yield from _folders()
    yield from _no_video(clips)


def _damaged(suffix: str, content: bytes) -> Iterator[BrokenInput]:
    def case(
        group: str, rule: str, change: Callable[[bytes, random.Random], bytes], seed: int
    ) -> BrokenInput:
        def make(folder: Path) -> Path:
            path = folder / f"input{suffix}"
            path.write_bytes(change(content, random.Random(seed)))
            return path

        return BrokenInput(name=f"{rule}{suffix}", group=group, make=make)

    for share in _POSITIONS:
        yield case("truncated", f"cut at {share:.1%} ", partial(_cut_off, share=share), 0)
    for count in (1, 8, 64, 512):
        for seed in range(6):
            yield case(
                "bit flips anywhere",
                f"{count} flips, seed {seed} ",
                partial(_flipped, count=count),
                seed,
            )
    for seed in range(4):
        yield case(
            "bit flips in the header",
            f"16 flips in the first 256 bytes, seed {seed} ",
            lambda data, rng: _flipped(data[:256], rng, count=16) + data[256:],
            seed,
        )
    for seed in range(4):
        yield case("zeros in the middle", f"4 KiB of zeros, seed {seed} ", _zeroed, seed)
    for seed in range(2):
        yield case("pieces removed", f"1 KiB removed, seed {seed} ", _holed, seed)


def _cut_off(data: bytes, _: random.Random, *, share: float) -> bytes:
    return data[: int(len(data) * share)]


def _flipped(data: bytes, rng: random.Random, *, count: int) -> bytes:
    changed = bytearray(data)
    for _ in range(count):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _zeroed(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) // 4, 3 * len(data) // 4)
    return data[:start] + bytes(min(4096, len(data) - start)) + data[start + 4096 :]


def _holed(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) // 4, 3 * len(data) // 4)
    return data[:start] + data[start + 1024 :]


def _written(name: str, group: str, content: bytes, *, file: str) -> BrokenInput:
    def make(folder: Path) -> Path:
        path = folder / file
        path.write_bytes(content)
        return path

    return BrokenInput(name=name, group=group, make=make)


def _containers(clips: dict[str, Path]) -> Iterator[BrokenInput]:
    mp4, mkv, avi = (clips[suffix].read_bytes() for suffix in (".mp4", ".mkv", ".avi"))
    index = mp4.rfind(b"moov") - 4
    yield _written("mp4 without its index", "missing index", mp4[:index], file="input.mp4")
    yield _written("mp4 with the index alone", "missing index", mp4[index:], file="input.mp4")
    cues = mkv.find(b"\x1c\x53\xbb\x6b")
    yield _written("mkv without cues", "missing index", mkv[:cues] if cues > 0 else mkv, file="input.mkv")
    yield _written("avi without idx1", "missing index", avi[: avi.rfind(b"idx1")], file="input.avi")
    for suffix, wrong in (
        (".mp4", ".mkv"),
        (".mkv", ".mp4"),
        (".webm", ".avi"),
        (".ts", ".mp4"),
        (".avi", ".webm"),
        (".mov", ".ts"),
        (".mp4", ".png"),
        (".mkv", ".jpg"),
        (".mp4", ".txt"),
        (".mp4", ""),
    ):
        yield _written(
            f"{suffix} called {wrong or 'nothing'}",
            "wrong extension",
            clips[suffix].read_bytes(),
            file=f"input{wrong}",
        )
    yield BrokenInput(
        name="two sizes in one transport stream", group="size changes in mid-stream", make=_two_sizes
    )
    yield _written(
        "two clips, one after the other", "size changes in mid-stream", mkv + mkv, file="input.mkv"
    )


def _two_sizes(folder: Path) -> Path:
    parts = [
        write_good_clip(folder / "a.ts", ".ts", frames=12),
        write_good_clip(folder / "b.ts", ".ts", frames=12, width=128, height=96),
    ]
    path = folder / "input.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def _names(clips: dict[str, Path]) -> Iterator[BrokenInput]:
    content = clips[".mp4"].read_bytes()
    names = (
        "späte Aufnahme – 影片 🎬.mp4",
        "a" * 251 + ".mp4",
        "with space and 'quotes\".mp4",
        "line\nbreak.mp4",
        "concat:x|y.mp4",
        "100%d.mp4",
        "%s%n.mp4",
        "-dash.mp4",
        "..mp4",
        "[brackets]*?.mp4",
        "back\\slash.mp4",
        "\udcff\udcfe.mp4",
    )
    for number, name in enumerate(names):
        yield _written(f"name {number}: {name[:24]!r}", "unusual names", content, file=name)


def _sizes() -> Iterator[BrokenInput]:
    for width, height in ((1, 1), (2, 2), (3, 5), (1, 64), (16, 16), (20000, 2), (8193, 8193)):
        yield BrokenInput(
            name=f"an image of {width}x{height}",
            group="tiny and huge sizes",
            make=partial(_image, size=(width, height)),
        )
    for width, height in ((65535, 65535), (0, 0), (1, 1), (100000, 2), (2147483647, 2)):
        header = f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\nFRAME\n".encode()
        yield _written(
            f"y4m that claims {width}x{height}", "tiny and huge sizes", header + bytes(600), file="input.y4m"
        )
    png = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 60000, 60000, 8, 2, 0, 0, 0) + bytes(4)
    )
    yield _written("png that claims 60000x60000", "tiny and huge sizes", png, file="input.png")


def _image(folder: Path, *, size: tuple[int, int]) -> Path:
    path = folder / "input.png"
    Image.new("RGB", size, (90, 120, 40)).save(path)
    return path


def _folders() -> Iterator[BrokenInput]:
    def folder_of(name: str, fill: Callable[[Path], object]) -> BrokenInput:
        def make(folder: Path) -> Path:
            path = folder / "images"
            path.mkdir()
            for index in range(6):
                Image.fromarray(picture(index, WIDTH, HEIGHT)).save(path / f"{index:03d}.png")
            fill(path)
            return path

        return BrokenInput(name=name, group="folders of images", make=make)

    yield BrokenInput(name="an empty folder", group="folders of images", make=lambda folder: folder)
    yield folder_of("one image cut off", lambda f: _cut(f / "003.png"))
    yield folder_of("one image of no bytes", lambda f: _cut(f / "003.png", 0))
    yield folder_of("one image of another size", lambda f: Image.new("RGB", (8, 8)).save(f / "003.png"))
    yield folder_of("a number missing", lambda f: (f / "003.png").unlink())
    yield folder_of("one image that is text", lambda f: (f / "003.png").write_text("not an image"))
    yield folder_of("a folder called like an image", lambda f: (f / "900.png").mkdir())
    yield folder_of("a link to nowhere", lambda f: (f / "900.png").symlink_to("nowhere"))


def _cut(path: Path, size: int = 60) -> None:
    path.write_bytes(path.read_bytes()[:size])


def _no_video(clips: dict[str, Path]) -> Iterator[BrokenInput]:
    yield _written("no bytes", "no video in it", b"", file="input.mp4")
    yield _written("text", "no video in it", b"hello\n" * 200, file="input.mp4")
    yield _written("a script", "no video in it", b"#!/bin/sh\nexit 0\n", file="input.sh")
    for seed in range(6):
        noise = random.Random(seed).randbytes(20000)
        yield _written(f"noise, seed {seed}", "no video in it", noise, file="input.mkv")
    yield BrokenInput(name="sound alone", group="no video in it", make=_sound_alone)
    yield BrokenInput(name="headers without a frame", group="no video in it", make=_no_frames)
    yield BrokenInput(
        name="a path that is not there", group="no video in it", make=lambda f: f / "missing.mp4"
    )
    for device in ("/dev/null", "/dev/zero", "/dev/full"):
        yield BrokenInput(
            name=device,
            group="devices and links",
            make=partial(_device, path=device),
        )
    yield BrokenInput(name="a link to itself", group="devices and links", make=_loop)
    yield BrokenInput(
        name="a link to a clip",
        group="devices and links",
        make=lambda f: _linked(f, clips[".mp4"]),
    )


def _device(_: Path, *, path: str) -> Path:
    return Path(path)


def _sound_alone(folder: Path) -> Path:
    path = folder / "input.mkv"
    with av.open(str(path), "w") as container:
        write_tone(container, container.add_stream("aac", rate=48000), seconds=1)
    return path


def _no_frames(folder: Path) -> Path:
    path = folder / "input.mp4"
    with av.open(str(path), "w") as container:
        container.add_stream("mpeg4", rate=25, width=WIDTH, height=HEIGHT)
        container.start_encoding()
    return path


def _loop(folder: Path) -> Path:
    path = folder / "input.mp4"
    path.symlink_to(path)
    return path


def _linked(folder: Path, clip: Path) -> Path:
    path = folder / "input.mp4"
    path.symlink_to(clip)
    return path
