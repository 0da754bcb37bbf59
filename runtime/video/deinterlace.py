"""Interlaced frames into whole ones, one for one, with libavfilter's bwdif."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import replace

import av
from av.filter import Graph

from rvm_trt.runtime.video.picture import Picture


class Deinterlacer:
    """Deinterlaces the frames that are marked as such, by their own field order; others pass unchanged.

    As many frames come out as go in, with the same times, one frame late.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._layout: dict[str, str] | None = None
        self._waiting: deque[Picture] = deque()

    def push(self, picture: Picture | None) -> list[Picture]:
        """Takes a frame, or None at the end, and returns the frames that are done.

        Raises:
            av.FFmpegError: libavfilter cannot read the pixel format.
        """
        if picture is None:
            return self._flushed()
        frame = picture.frame
        layout = _layout(picture)
        done = [] if layout == self._layout else self._flushed()
        if self._graph is None:
            self._graph, self._layout = _graph(layout), layout
        self._waiting.append(picture)
        frame.pts = picture.pts
        self._graph.vpush(frame)
        return done + self._pulled(self._graph)

    def _flushed(self) -> list[Picture]:
        graph, self._graph = self._graph, None
        if graph is None:
            return []
        graph.vpush(None)
        return self._pulled(graph)

    def _pulled(self, graph: Graph) -> list[Picture]:
        done = []
        with suppress(av.BlockingIOError, av.EOFError):  # "give me more", and "that was all"
            while True:
                frame = graph.vpull()
                done.append(replace(self._waiting.popleft(), frame=frame))
        return done


def _layout(picture: Picture) -> dict[str, str]:
    # With the colours: formats that bwdif does not know, as NV12, are converted before it, and would lose them.
    frame = picture.frame
    return {
        "video_size": f"{frame.width}x{frame.height}",
        "pix_fmt": frame.format.name,
        "time_base": str(picture.time_base),
        "colorspace": str(int(frame.colorspace)),
        "range": str(int(frame.color_range)),
    }


def _graph(layout: dict[str, str]) -> Graph:
    graph = Graph()
    nodes = [
        graph.add("buffer", **layout),
        graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph
