"""Live matting: the newest frame is matted, what came in the meantime is dropped, so that nothing ever piles up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
_KEPT_LATENCIES = 10_000


class Pictures(Protocol):
    """What gives frames at its own pace, such as `rvm_trt.runtime.video.camera.Camera`."""

    def read(self) -> tuple[Image, float]:
        """Waits for the next frame and returns it with its time by `time.monotonic`."""


class Session(Protocol):
    """What mattes a frame at once, such as `rvm_trt.MattingSession`."""

    def process(self, frame: object) -> Any:
        """Returns the matte of one frame."""


@dataclass(frozen=True, kw_only=True)
class LiveReport:
    """How it went.

    Attributes:
        frames: frames shown.
        dropped: frames that came while another was matted, and were never shown.
        seconds: from the first frame to the last.
        fps: frames shown per second.
        latency_p50_ms, latency_p95_ms, latency_max_ms: from the camera's frame to the end of ``show``, of the latest
            10,000 frames.
    """

    frames: int
    dropped: int
    seconds: float
    fps: float
    latency_p50_ms: float
    latency_p95_ms: float
    latency_max_ms: float

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)


class Newest:
    """A place for one frame between two threads: a newer one replaces it.

    Attributes:
        dropped: how many were replaced before anybody took them.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._item: tuple[Image, float] | None = None
        self._changed = threading.Condition()
        self._ended = False

    def put(self, item: tuple[Image, float]) -> bool:
        """Leaves a frame for the other thread; False once that has ended."""
        with self._changed:
            self.dropped += self._item is not None and not self._ended
            self._item = item
            self._changed.notify_all()
            return not self._ended

    def take(self) -> tuple[Image, float] | None:
        """Waits for a frame and takes it; None once the other thread has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._ended)
            item, self._item = self._item, None
            return item

    def end(self) -> None:
        """Wakes the other thread: nothing more comes, or is wanted."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def matte_live(
    pictures: Pictures,
    session: Session,
    show: Callable[[Any], None],
    *,
    seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LiveReport:
    """Mattes frames as they come until ``seconds`` are over, ``show`` raises, or Ctrl-C.

    A frame waits at most for the one that is being matted, so that the delay never grows beyond two frames' work.

    Args:
        pictures: read on a thread of its own.
        session: mattes on the caller's thread.
        show: called with each matte, which is valid during the call.
        seconds: how long; None for ever.
        progress: called with the frames shown and dropped, after each.

    Raises:
        VideoError: the camera has gone.
        KeyboardInterrupt: never: it is the way to end.
    """
    newest, clock = Newest(), _Clock()
    with ThreadPoolExecutor(1, thread_name_prefix="rvm-trt-camera") as threads:
        reading = threads.submit(_read, pictures, newest)
        try:
            while (item := newest.take()) is not None:
                image, came = item
                show(session.process(image))
                clock.note(came)
                if progress is not None:
                    progress(clock.frames, newest.dropped)
                if seconds is not None and clock.seconds >= seconds:
                    break
        except KeyboardInterrupt:
            pass
        finally:
            newest.end()
    reading.result()
    return clock.report(newest.dropped)


def _read(pictures: Pictures, newest: Newest) -> None:
    try:
        while newest.put(pictures.read()):
            pass
    finally:
        newest.end()


class _Clock:
    def __init__(self) -> None:
        self.frames = 0
        self._start = self._last = 0.0
        self._latencies = np.zeros(_KEPT_LATENCIES)

    @property
    def seconds(self) -> float:
        return self._last - self._start

    def note(self, came: float) -> None:
        self._last = time.monotonic()
        if self.frames == 0:
            self._start = self._last
        self._latencies[self.frames % _KEPT_LATENCIES] = self._last - came
        self.frames += 1

    def report(self, dropped: int) -> LiveReport:
        kept = 1e3 * self._latencies[: self.frames] if self.frames else np.zeros(1)
        return LiveReport(
            frames=self.frames,
            dropped=dropped,
            seconds=self.seconds,
            fps=(self.frames - 1) / self.seconds if self.seconds else 0.0,
            latency_p50_ms=float(np.percentile(kept, 50)),
            latency_p95_ms=float(np.percentile(kept, 95)),
            latency_max_ms=float(kept.max()),
        )
