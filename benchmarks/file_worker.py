"""One run from file to file: ``python -m rvm_trt.benchmarks.file_worker SETTINGS SOURCE TARGET``.

SETTINGS is the JSON of `entrants.Settings`. The process says ``{"ready": true}`` when everything is loaded and
compiled; a line on standard input starts the run, and its `Run` is the answer.

Ours is what ``rvm-trt matte --threads N`` does. The others are the loop that users of the original write: PyAV decodes
a frame, the network mattes it, PyAV encodes it, with the same encoder, options and thread counts. Decoder and encoder
have threads of their own there too. PyAV converts colours in its default way, which is faster than an exact one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvm_trt.benchmarks.child import UnavailableError
from rvm_trt.benchmarks.entrants import BACKGROUND, OURS, Settings, make_entrant
from rvm_trt.benchmarks.worker import open_protocol
from rvm_trt.errors import RvmTrtError

if TYPE_CHECKING:
    from rvm_trt.benchmarks.entrants import Entrant


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run.

    Attributes:
        frames: written.
        seconds: wall time, from opening the source to the closed target.
        cpu_s: processor time of the process in that time.
        busy_s: part → seconds of work; parts may overlap.
    """

    frames: int
    seconds: float
    cpu_s: float
    busy_s: dict[str, float]


Parts = dict[str, float]
Matte = Callable[[], tuple[int, Parts]]


@contextmanager
def prepared(settings: Settings, source: Path, target: Path) -> Iterator[Callable[[], Run]]:
    """Yields a call that mattes a video file into an ``.mp4`` file, with all that it needs loaded.

    Raises:
        UnavailableError: the entrant cannot run on this machine.
        RvmTrtError: the checkpoint or the engine does not load.
    """
    if settings.entrant.startswith(OURS):
        with _session(settings, source, target) as matte:
            yield lambda: _timed(matte)
    else:
        with make_entrant(settings) as entrant:
            yield lambda: _timed(lambda: _loop(entrant, settings.threads, source, target))


def main() -> int:
    """Serves one run."""
    answers = open_protocol()
    settings = Settings.from_json(json.loads(sys.argv[1]))

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        with prepared(settings, Path(sys.argv[2]), Path(sys.argv[3])) as run:
            answer({"ready": True})
            if sys.stdin.readline():
                answer(asdict(run()))
    except UnavailableError as error:
        answer({"unavailable": error.got})
        return 1
    except RvmTrtError as error:
        answer({"error": str(error)})
        return 1
    return 0


def _timed(matte: Matte) -> Run:
    start, cpu_start = time.perf_counter(), time.process_time()
    frames, busy_s = matte()
    return Run(
        frames=frames,
        seconds=time.perf_counter() - start,
        cpu_s=time.process_time() - cpu_start,
        busy_s=busy_s,
    )


@contextmanager
def _session(settings: Settings, source: Path, target: Path) -> Iterator[Matte]:
    from rvm_trt.runtime.session import MattingSession
    from rvm_trt.runtime.video.job import matte_video
    from rvm_trt.runtime.video.output import EncodeOptions
    from rvm_trt.runtime.video.planar import compile_kernels

    assert settings.engine is not None, "a session needs an engine"
    options = EncodeOptions(threads=settings.threads)
    compile_kernels()  # once per installation: what it costs is told as loading
    with MattingSession(
        settings.engine, outputs=("composite",), background=BACKGROUND, threads=settings.threads
    ) as session:

        def matte() -> tuple[int, Parts]:
            report = matte_video(source, target, session, options=options, overwrite=True)
            parts_ms = {"decode": report.decode_ms, "matte": report.session_ms, "encode": report.encode_ms}
            return report.frames, {name: value / 1e3 for name, value in parts_ms.items()}

        yield matte


def _loop(entrant: Entrant, threads: int, source: Path, target: Path) -> tuple[int, Parts]:
    import av

    from rvm_trt.runtime.video.codecs import Codec
    from rvm_trt.runtime.video.output import EncodeOptions, OutputFormat, OutputKind

    codec = Codec.choose(OutputFormat.MP4, OutputKind.COMPOSITE, EncodeOptions())
    clock, frames = _Clock(), 0
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        pictures = reader.streams.video[0]
        pictures.thread_type = "AUTO"
        pictures.codec_context.thread_count = threads
        stream = writer.add_stream(
            codec.name,
            rate=pictures.average_rate,
            options=codec.options,
            width=pictures.width,
            height=pictures.height,
        )
        stream.codec_context.pix_fmt = codec.pixel_format
        stream.codec_context.thread_count = threads
        decoder = reader.decode(pictures)
        while True:
            with clock.running("decode"):
                frame = next(decoder, None)
                image = None if frame is None else frame.to_ndarray(format="rgb24")
            if image is None:
                break
            with clock.running("matte"):
                composite = entrant.composite(image)
            with clock.running("encode"):
                writer.mux(stream.encode(av.VideoFrame.from_ndarray(composite, format="rgb24")))
            frames += 1
        with clock.running("encode"):
            writer.mux(stream.encode(None))
    return frames, clock.seconds


class _Clock:
    def __init__(self) -> None:
        self.seconds: Parts = {}

    @contextmanager
    def running(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
