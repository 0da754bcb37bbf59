"""A camera as a source: frames as they come, until it is told to end."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from rvm_trt.errors import OptionError, VideoError
from rvm_trt.runtime.video.camera import Camera
from rvm_trt.runtime.video.input_options import InputOptions
from rvm_trt.runtime.video.source import Clip, Frame, Source

_MICROSECOND = Fraction(1, 1_000_000)


class CameraSource(Source):
    """Frames of a camera with the times at which they came. Open from here to the end of its iteration.

    Args:
        device: such as ``/dev/video0``.
        options: it cannot start later; ``stop_s`` ends it.

    Raises:
        VideoError: there is no such camera, or it gives no frame.
        OptionError: ``start_s`` is given.
        DependencyError: OpenCV is not installed.
    """

    def __init__(self, device: str, *, options: InputOptions) -> None:
        if options.start_s is not None:
            raise OptionError(
                "--from", got="a camera", expected="a file", todo="Leave it out: a camera starts now."
            )
        self._camera = Camera(device)
        self._stop_s = options.stop_s
        self._ended = False
        self._started = False
        super().__init__(
            Clip(
                path=Path(device),
                width=self._camera.width,
                height=self._camera.height,
                rate=Fraction(self._camera.rate).limit_denominator(1001),
                time_base=_MICROSECOND,
                frame_count=None,
                live=True,
            )
        )

    def frames_from(self, index: int) -> Iterator[Frame]:
        """Yields frames from now on. A camera that goes away ends them, with a warning.

        Raises:
            VideoError: it gives no frame at all, or was read before.
        """
        if self._started or index:
            raise VideoError(
                f"camera {str(self.clip.path)!r}",
                got="a second reading",
                expected="one",
                todo="Open it again.",
            )
        self._started = True
        return self._frames()

    def close(self) -> None:
        """Ends the iteration behind the frame that it waits for."""
        self._ended = True  # and no more: a signal may come in between, on the same thread
        if not self._started:
            self._camera.close()

    def _frames(self) -> Iterator[Frame]:
        first: float | None = None
        number = 0
        with self._camera:
            while not self._ended:
                try:
                    image, came = self._camera.read()
                except VideoError as error:
                    if not number:
                        raise
                    self.warnings = (_gone(self.clip.path, error, number),)
                    return
                first = came if first is None else first
                if self._stop_s is not None and came - first >= self._stop_s:
                    return
                yield Frame(
                    index=number, image=image, pts=round((came - first) * 1_000_000), time_base=_MICROSECOND
                )
                number += 1


def _gone(device: Path, error: VideoError, frames: int) -> str:
    return f"The camera {device} went away ({error.got}): what came until then is kept, {frames} frames."
