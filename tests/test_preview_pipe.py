"""``rvm-trt preview -``: Ctrl-C ends it at once while its input gives nothing.

The command runs in a process of its own, with its own standard input, and is killed where it does not end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import av
import numpy as np

_LONGEST_S = 20.0  # for each step; far more than any of them takes
# Stand-ins for engine and network, and a line on standard output when the reader waits for more.
_PROGRAM = """
import select, signal, sys
from types import SimpleNamespace
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests were started with
class Session:
    def __init__(self, engine, **_):
        self.profile = engine.profile
    def process(self, frame):
        return SimpleNamespace(pha=frame[..., 0], composite=frame)
    def state(self):
        return ()
    def restore(self, _):
        pass
    reset = close = lambda self: None
    set_background = restore
class Select:
    def select(self, reading, writing, errors, timeout):
        if not select.select(reading, writing, errors, 0)[0]:
            print("waiting", flush=True)
        return select.select(reading, writing, errors, timeout)
import rvm_trt.engines.provision, rvm_trt.runtime.preview.child, rvm_trt.runtime.session
import rvm_trt.runtime.video.streams
rvm_trt.runtime.video.streams.select = Select()
rvm_trt.runtime.preview.child.run_child = lambda *_, **__: None
rvm_trt.engines.provision.provide_engine = lambda profile, **_: SimpleNamespace(
    profile=profile, path=SimpleNamespace(name="engine"))
rvm_trt.runtime.session.MattingSession = Session
from rvm_trt.entry import main
sys.argv = ["rvm-trt", "preview", "-", "--precision", "fp32", "--threads", "1"]
sys.exit(main())
"""


@contextmanager
def previewed(given: bytes) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[str], str]]]:
    """Yields a preview whose input gives that and then nothing, and what waits for a line with a word in it."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    descriptor, seen = process.stdout.fileno(), bytearray()
    os.set_blocking(descriptor, False)

    def line_with(word: str) -> str:
        return asyncio.run(asyncio.wait_for(_line(descriptor, seen, word.encode()), _LONGEST_S))

    try:
        process.stdin.write(given)  # less than a pipe holds
        process.stdin.flush()
        yield process, line_with
    finally:
        process.kill()
        process.wait(_LONGEST_S)
        process.stdout.close()
        process.stdin.close()


async def _line(descriptor: int, seen: bytearray, word: bytes) -> str:
    while True:
        *lines, rest = bytes(seen).split(b"\n")
        for number, line in enumerate(lines):
            if word in line:
                seen[:] = b"\n".join([*lines[number + 1 :], rest])
                return line.decode()
        try:
            chunk = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            await asyncio.sleep(0.01)
            continue
        assert chunk, f"it ended, and said: {bytes(seen).decode()}"
        seen += chunk


def clip(path: Path) -> bytes:
    """A Matroska stream of a few small frames, each for itself."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=100)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for grey in range(6):
            image = np.full((48, 64, 3), 20 * grey, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_ctrl_c_ends_it_while_its_input_gives_nothing(tmp_path: Path) -> None:
    with previewed(clip(tmp_path / "clip.mkv")) as (process, line_with):
        address = line_with("http://").split()[1]

        async def watch_until_it_waits() -> None:
            headers = {"Origin": address.rstrip("/")}
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(f"{address}stream", headers=headers) as page,
            ):
                while b'"frame": null' in (await page.receive_bytes(timeout=_LONGEST_S)):
                    await page.send_str('{"do": "drawn"}')
                await asyncio.to_thread(line_with, "waiting")  # the reader, with all that was given behind it
                process.send_signal(signal.SIGINT)
                await page.close()

        asyncio.run(watch_until_it_waits())
        assert process.wait(_LONGEST_S) == 0


def test_ctrl_c_ends_it_before_its_input_gave_anything() -> None:
    with previewed(b"") as (process, line_with):
        line_with("waiting")
        process.send_signal(signal.SIGINT)
        assert line_with("interrupted") == "rvm-trt preview: interrupted"
        assert process.wait(_LONGEST_S) == 130


def test_ctrl_c_ends_it_where_nobody_watches(tmp_path: Path) -> None:
    with previewed(clip(tmp_path / "clip.mkv")) as (process, line_with):
        line_with("http://")
        process.send_signal(signal.SIGINT)
        assert process.wait(_LONGEST_S) == 0
