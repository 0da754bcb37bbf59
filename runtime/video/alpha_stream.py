"""Alpha as a second stream of packets beside the colours', for codecs that have none."""

from __future__ import annotations

from collections import deque
from typing import Any

import av
from av.packet import Packet, PacketSideData
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from rvm_trt.runtime.video.colour_out import plane
from rvm_trt.runtime.video.planar import PLANAR

# AV_PKT_DATA_MATROSKA_BLOCKADDITIONAL: the block's number as eight bytes, then its data. Number 1 is alpha.
_BLOCK_ADDITIONAL = 15
_ALPHA_BLOCK = (1).to_bytes(8, "big")
# AV1's temporal delimiter, which Matroska leaves out of its blocks.
_DELIMITER = b"\x12\x00"
_NEUTRAL = 128


class AlphaStream:
    """Encodes the alpha of RGBA frames as luma, and puts each packet into that of the frame's colours.

    Matroska and WebM keep it as BlockAdditional 1 with AlphaMode 1, which is how VP8 and VP9 carry alpha. For AV1
    nothing is standardised: browsers and editors show the colours alone. FFmpeg's demuxer hands the alpha over as side
    data of each packet, which any AV1 decoder decodes, and the library Mediabunny plays it. Where alpha must be seen
    everywhere, use VP9.

    Args:
        context: an open encoder for 4:2:0, full range, otherwise set as the colours' is, so that it gives a packet per
            frame in the same order.
    """

    def __init__(self, context: VideoCodecContext) -> None:
        self._context = context
        self._colours: deque[Packet[VideoStream]] = deque()
        self._alphas: deque[bytes] = deque()

    def join(
        self, frame: av.VideoFrame | None, colours: list[Packet[VideoStream]]
    ) -> list[Packet[VideoStream]]:
        """Returns the packets of colours that are complete with their alpha, in order.

        Args:
            frame: the RGBA frame whose colours were encoded, with its ``pts`` and ``time_base``; None at the end.
            colours: what the colours' encoder gave for it.

        Raises:
            av.FFmpegError: the encoder failed.
        """
        self._colours.extend(colours)
        luma = None if frame is None else _luma_of_alpha(frame)
        self._alphas.extend(bytes(packet).removeprefix(_DELIMITER) for packet in self._context.encode(luma))
        joined = []
        while self._colours and self._alphas:
            packet = self._colours.popleft()
            _attach(packet, _ALPHA_BLOCK + self._alphas.popleft())
            joined.append(packet)
        return joined


def _luma_of_alpha(frame: av.VideoFrame) -> av.VideoFrame:
    grey = av.VideoFrame(frame.width, frame.height, PLANAR)
    plane(grey, 0)[...] = plane(frame, 0)[..., 3]
    plane(grey, 1)[...] = _NEUTRAL
    plane(grey, 2)[...] = _NEUTRAL
    grey.pts, grey.time_base, grey.duration = frame.pts, frame.time_base, frame.duration
    return grey


def _attach(packet: Packet[VideoStream], data: bytes) -> None:
    make: Any = PacketSideData  # Its type hints leave the constructor out.
    side = make(_BLOCK_ADDITIONAL, len(data))
    side.update(data)
    packet.set_sidedata(side)
