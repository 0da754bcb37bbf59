"""Frames of a camera, through OpenCV and Video4Linux."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import DependencyError, VideoError

Image = npt.NDArray[np.uint8]
_DEVICE = re.compile(r"/dev/video(\d+)")
# Cameras drop a frame now and then; one that gives none for so long has gone.
_PATIENCE_S = 3.0
_READ_TIMEOUT_MS = 1000


def is_camera(text: str) -> bool:
    """Whether a name is that of a camera: ``/dev/video0``."""
    return _DEVICE.fullmatch(text) is not None


class Camera:
    """An open camera. One thread reads it; it is a context manager.

    Args:
        device: such as ``/dev/video0``.
        width, height: wanted size in pixels; the camera may give another, see the attributes.
        rate: wanted frames per second.

    Attributes:
        width, height: size of the frames.
        rate: frames per second as the camera says; 30 where it does not.

    Raises:
        VideoError: there is no such camera, or it gives no frame.
        DependencyError: OpenCV is not installed.
    """

    def __init__(self, device: str, *, width: int = 1280, height: int = 720, rate: float = 30.0) -> None:
        try:
            import cv2
        except ImportError as error:
            raise DependencyError("opencv-python-headless", extra="live", stage="camera") from error
        found = _DEVICE.fullmatch(device)
        if found is None or not Path(device).exists():
            raise self._error(device, "no such device", f"one of {_cameras()}")
        self._device = device
        self._to_rgb: Any = lambda frame: cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        self._capture: Any = cv2.VideoCapture(
            int(found[1]), cv2.CAP_V4L2, [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS]
        )
        # Compressed frames: few cameras have the bandwidth for raw ones above VGA.
        for key, value in (
            (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_FPS, rate),
            (cv2.CAP_PROP_BUFFERSIZE, 1),
        ):
            self._capture.set(key, value)
        try:
            first, _ = self.read()
        except VideoError:
            self.close()
            raise
        self.height, self.width = first.shape[:2]
        told = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate = told if 1 <= told <= 1000 else 30.0

    def read(self) -> tuple[Image, float]:
        """Returns the next frame, (H, W, 3) uint8 RGB of its own, and when it came, by `time.monotonic`.

        Raises:
            VideoError: the camera has given none for three seconds: it was unplugged, or another program has it.
        """
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            good, frame = self._capture.read()
            if good and frame is not None and frame.size:
                return np.ascontiguousarray(self._to_rgb(frame)), time.monotonic()
            time.sleep(0.01)
        raise self._error(
            self._device, f"no frame for {_PATIENCE_S:.0f} s", "a camera that is plugged in and free"
        )

    def close(self) -> None:
        """Gives the camera back. May be called twice."""
        self._capture.release()

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _error(device: str, got: str, expected: str) -> VideoError:
        return VideoError(
            f"camera {device!r}",
            got=got,
            expected=expected,
            todo="Plug it in, close other programs that use it, or choose another (rvm-trt doctor lists them).",
        )


def _cameras() -> str:
    return (
        ", ".join(sorted(str(path) for path in Path("/dev").glob("video*")))
        or "the cameras (there is none here)"
    )
