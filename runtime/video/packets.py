"""Encoded packets in a file of our own, so that an interrupted job can go on: a header, then packet after packet.

Each record is the size of a JSON text (four bytes, big-endian), the text, and the bytes whose sizes the text names.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, cast, get_args

from av.packet import Packet, PacketSideData, PktSideDataT, packet_sidedata_type_from_literal
from av.video.stream import VideoStream

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.checksum import Sum

_SIZE = struct.Struct(">I")
_LONGEST_TEXT = 1 << 20
_LATEST = 1 << 62
_SIDE_DATA = frozenset(get_args(PktSideDataT))
_FORMAT = "rvm-trt packets 1"


class PacketWriter:
    """Writes the packets of one segment. The file is whole once `finish` has returned.

    Args:
        path: where to write; what is there is replaced.
        extradata: the encoder's, which all segments must share.

    Raises:
        OSError: the file cannot be written; every method raises it too.
    """

    def __init__(self, path: Path, *, extradata: bytes | None) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._sum = Sum(0, 0)
        try:
            self._record({"format": _FORMAT, "extradata": None if extradata is None else extradata.hex()})
        except OSError:
            self._file.close()
            raise

    def append(self, packet: Packet[VideoStream]) -> None:
        """Writes a packet with its side data, in the time base of its encoder."""
        side = list(packet.iter_sidedata())
        text = {
            "pts": packet.pts,
            "duration": packet.duration,
            "keyframe": packet.is_keyframe,
            "size": packet.size,
            "side": [[item.data_type, item.data_size] for item in side],
        }
        self._record(text, [bytes(packet), *(bytes(item) for item in side)])

    def finish(self) -> Sum:
        """Closes the file and returns what it holds."""
        self._file.close()
        return self._sum

    def close(self) -> None:
        """Closes the file, whole or not. May be called twice."""
        self._file.close()

    def _record(self, text: dict[str, Any], parts: Sequence[bytes] = ()) -> None:
        line = json.dumps(text, separators=(",", ":")).encode()
        for part in (_SIZE.pack(len(line)), line, *parts):
            self._file.write(part)
            self._sum = self._sum.plus(part)


def read_packets(
    path: Path, *, time_base: Fraction, extradata: bytes | None
) -> Iterator[Packet[VideoStream]]:
    """Yields the packets of a segment as they were written, without ``dts``.

    Args:
        path: a file of `PacketWriter`.
        time_base: the encoder's unit of time in seconds.
        extradata: what the segment's encoder must have had.

    Raises:
        VideoError: the file is not one of ours, or of another encoder.
        OSError: it cannot be read.
    """
    left = path.stat().st_size
    with path.open("rb") as file:
        header, left = _text(file, left, path)
        expected = None if extradata is None else extradata.hex()
        if header.get("format") != _FORMAT or header.get("extradata") != expected:
            raise _unusable(path, "packets of another encoder")
        while left:
            text, left = _text(file, left, path)
            if not _is_packet(text, left):
                raise _unusable(path, "a packet that does not read")
            packet = _packet(text, file)
            packet.time_base = time_base
            left -= packet.size + sum(size for _, size in text["side"])
            yield packet


def as_kept(packet: Packet[VideoStream]) -> Packet[VideoStream]:
    """Returns a packet as `read_packets` would give it: without the word that no other frame needs it.

    MP4 keeps that word, and PyAV cannot set it: a job that goes on could not write it, so that no job does.
    """
    if not packet.is_disposable:
        return packet
    plain = cast("Packet[VideoStream]", Packet(packet.size))
    plain.update(bytes(packet))
    plain.pts, plain.duration, plain.is_keyframe = packet.pts, packet.duration, packet.is_keyframe
    plain.time_base = packet.time_base
    for side in packet.iter_sidedata():
        plain.set_sidedata(side)
    return plain


def _text(file: IO[bytes], left: int, path: Path) -> tuple[dict[str, Any], int]:
    head = file.read(_SIZE.size)
    size = _SIZE.unpack(head)[0] if len(head) == _SIZE.size else left
    left -= _SIZE.size + size
    if left < 0 or size > _LONGEST_TEXT:
        raise _unusable(path, "a record that is cut off")
    try:
        text = json.loads(file.read(size))
    except ValueError as error:
        raise _unusable(path, "a record that does not read") from error
    if not isinstance(text, dict):
        raise _unusable(path, "a record that does not read")
    return text, left


def _is_packet(text: dict[str, Any], left: int) -> bool:
    """Whether a text describes a packet of at most ``left`` bytes."""
    side = text.get("side")
    times = [text.get("pts"), text.get("duration")]
    if not isinstance(side, list) or not all(
        isinstance(item, list) and len(item) == 2 and item[0] in _SIDE_DATA for item in side
    ):
        return False
    sizes = [text.get("size"), *(size for _, size in side)]
    return (
        all(type(time) is int and abs(time) < _LATEST for time in times)
        and type(text.get("keyframe")) is bool
        and all(type(size) is int and size > 0 for size in sizes)
        and sum(sizes) <= left
    )


def _packet(text: dict[str, Any], file: IO[bytes]) -> Packet[VideoStream]:
    packet = cast("Packet[VideoStream]", Packet(text["size"]))
    packet.update(file.read(text["size"]))
    packet.pts, packet.duration, packet.is_keyframe = text["pts"], text["duration"], text["keyframe"]
    for kind, size in text["side"]:
        make: Any = PacketSideData  # Its type hints leave the constructor out.
        side = make(packet_sidedata_type_from_literal(kind), size)
        side.update(file.read(size))
        packet.set_sidedata(side)
    return packet


def _unusable(path: Path, got: str) -> VideoError:
    return VideoError(
        f"kept packets {str(path)!r}",
        got=got,
        expected="packets that this version wrote",
        todo="Start anew: leave out --resume, and add --force.",
    )
