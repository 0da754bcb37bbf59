"""The size of a frame that a check or a measurement is given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import FrameError
from rvm_trt.profile import Profile


def require_size(frame: npt.NDArray[np.uint8], profile: Profile, *, subject: str) -> None:
    """Raises `FrameError` unless a frame is (H, W, 3) uint8 of the profile's size."""
    expected = (profile.height, profile.width, 3)
    if frame.shape != expected or frame.dtype != np.uint8:
        raise FrameError(
            subject,
            got=f"{frame.shape} {frame.dtype}",
            expected=f"{expected} uint8 for profile {profile.name!r}",
            todo="Resize the frame, or choose a profile of its size.",
        )
