"""The frames of a source, wound to any place, read ahead on a thread of their own."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.pipe import Prefetch
from rvm_trt.runtime.video.source import Frame, Source

_READ_AHEAD = 2


class Reel:
    """Reads a source from one place after another. Belongs to one thread; use it with ``with``.

    Args:
        source: what to read.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._prefetch: Prefetch[Frame] | None = None
        self._frames: Iterator[Frame] = iter(())

    @property
    def is_open(self) -> bool:
        """Whether it is wound to a place."""
        return self._prefetch is not None

    def wind(self, index: int) -> None:
        """Goes to a frame: it is the next that `read` gives."""
        self.close()
        self._prefetch = Prefetch(
            self._source.frames_from(index), depth=_READ_AHEAD, name="rvm-trt-preview-decode"
        )
        self._frames = iter(self._prefetch)

    def read(self) -> Frame | None:
        """Returns the next frame, or None at the end.

        Raises:
            VideoError: the source cannot be read any further.
        """
        return next(self._frames, None)

    def first(self) -> Frame:
        """Winds to the beginning and returns the first frame.

        Raises:
            VideoError: there is none.
        """
        self.wind(0)
        frame = self.read()
        if frame is None:
            raise VideoError(
                f"input {str(self._source.clip.path)!r}",
                got="no frames",
                expected="at least one",
                todo="Check the file.",
            )
        return frame

    def close(self) -> None:
        """Closes the source and ends the thread. May be called twice."""
        if self._prefetch is not None:
            self._prefetch.close()
        self._prefetch, self._frames = None, iter(())

    def __enter__(self) -> Reel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
