"""Where a frame becomes a picture: the session in use, what stands behind it, and how long it takes."""

from __future__ import annotations

import time

import numpy as np

from rvm_trt.runtime.preview.clock import Meter
from rvm_trt.runtime.preview.parts import Background, Picture, Session
from rvm_trt.runtime.video.cuts import CutDetector
from rvm_trt.runtime.video.source import Frame


class Stage:
    """Mattes frames one by one. Belongs to one thread, but its attributes may be read from any.

    Args:
        session: what mattes at first.

    Attributes:
        session: what mattes now.
        picture: the latest picture; None before the first.
        meter: how fast they come.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.picture: Picture | None = None
        self.meter = Meter()
        self._cuts = CutDetector()
        self._behind: Background | None = None  # what the session was last given

    def forget(self) -> None:
        """Makes the next frame the first of a video."""
        self.session.reset()
        self._cuts = CutDetector()

    def show(self, frame: Frame, background: Background) -> None:
        """Mattes the next frame; one after a cut as the first of a video.

        Raises:
            RvmTrtError: the session does not take the frame or the background.
        """
        self._look_for_cut(frame)
        self._matte(frame, background)

    def warm_up(self, frame: Frame) -> None:
        """Has the session see the next frame, as `show` does, and shows nothing."""
        self._look_for_cut(frame)
        self.session.process(frame.image)

    def show_again(self, background: Background) -> None:
        """Mattes the frame of the picture once more; what follows is as if that had not been."""
        assert self.picture is not None
        state = self.session.state()
        self._matte(self.picture.frame, background)
        self.session.restore(state)
        self.meter.pause()

    def change(self, session: Session) -> Session:
        """Takes another session, and returns the one before."""
        old, self.session = self.session, session
        self._behind = None
        self.meter.restart()
        return old

    def _look_for_cut(self, frame: Frame) -> None:
        if self._cuts.is_cut(frame.image):
            self.session.reset()

    def _matte(self, frame: Frame, background: Background) -> None:
        start = time.perf_counter()
        self._dress(frame, background)
        matte = self.session.process(frame.image)
        end = time.perf_counter()
        self.picture = Picture(
            serial=0 if self.picture is None else self.picture.serial + 1,
            frame=frame,
            alpha=np.array(matte.pha),  # borrowed, so copied
            composite=np.array(matte.composite),
        )
        self.meter.add(now=end, took_s=end - start)

    def _dress(self, frame: Frame, background: Background) -> None:
        if isinstance(background, (tuple, np.ndarray)):
            if background is not self._behind:
                self.session.set_background(background)
        else:
            image = background.image(frame)
            if image is not None:
                self.session.set_background(image)
        self._behind = background
