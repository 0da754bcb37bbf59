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
        self._layout: tuple[int, int, str] | None = None
        self._waiting: deque[Picture] = deque()

    def push(self, picture: Picture | None) -> list[Picture]:
        """Takes a frame, or None at the end, and returns the frames that are done.

        Raises:
            av.FFmpegError: libavfilter cannot read the pixel format.
        """
        if picture is None:
            return self._flushed()
        frame = picture.frame
        layout = (frame.width, frame.height, frame.format.name)
        done = [] if layout == self._layout else self._flushed()
        if self._graph is None:
            self._graph, self._layout = _graph(picture), layout
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
                done.append(_recoloured(graph.vpull(), self._waiting.popleft()))
        return done


def _recoloured(frame: av.VideoFrame, picture: Picture) -> Picture:
    # The filter is not told of colours.
    frame.colorspace, frame.color_range = picture.frame.colorspace, picture.frame.color_range
    return replace(picture, frame=frame)


def _graph(picture: Picture) -> Graph:
    graph, frame = Graph(), picture.frame
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=picture.time_base
        ),
        graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph
