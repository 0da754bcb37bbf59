"""Time in a preview: when a frame is due, and how fast frames come."""

from __future__ import annotations

from collections import deque
from statistics import median

# A frame that is later than this moves all that follow; less is caught up.
_SLACK_S = 0.1
# Timestamps that jump ahead, as in damaged files, do not stop the show.
_LONGEST_WAIT_S = 2.0
_RECENT = 30
_WINDOW_S = 1.0


class Clock:
    """Says when frames are due, by their timestamps. What is late is not caught up with in a rush."""

    def __init__(self) -> None:
        self._zero: float | None = None  # the time now at which a frame of time 0 was due

    def restart(self) -> None:
        """Makes the next frame due at once, whatever its timestamp."""
        self._zero = None

    def wait_s(self, time_s: float, *, now: float) -> float:
        """Returns the seconds until a frame is due, 0 where it is.

        Args:
            time_s: the frame's time in the clip.
            now: seconds of any steady clock.
        """
        if self._zero is None or now > self._zero + time_s + _SLACK_S:
            self._zero = now - time_s
        if self._zero + time_s > now + _LONGEST_WAIT_S:
            self._zero = now + _LONGEST_WAIT_S - time_s
        return max(0.0, self._zero + time_s - now)


class Meter:
    """Counts frames per second and the time that a frame takes. Its attributes may be read from any thread.

    Attributes:
        fps: frames per second over the last second; 0 until there are two.
        frame_ms: median time of the latest frames in milliseconds; 0 before the first.
    """

    def __init__(self) -> None:
        self.fps = self.frame_ms = 0.0
        self._ends: deque[float] = deque()
        self._took_s: deque[float] = deque(maxlen=_RECENT)

    def add(self, *, now: float, took_s: float) -> None:
        """Notes a frame that is done now."""
        self._ends.append(now)
        self._took_s.append(took_s)
        while now - self._ends[0] > _WINDOW_S:
            self._ends.popleft()
        spent_s = now - self._ends[0]
        self.fps = (len(self._ends) - 1) / spent_s if spent_s else 0.0
        self.frame_ms = 1e3 * median(self._took_s)

    def pause(self) -> None:
        """Forgets the pace, not the time of a frame: what follows a pause is counted anew."""
        self._ends.clear()
        self.fps = 0.0

    def restart(self) -> None:
        """Forgets everything."""
        self.pause()
        self._took_s.clear()
        self.frame_ms = 0.0
