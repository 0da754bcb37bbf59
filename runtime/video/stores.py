"""What an interrupted job keeps of one output: the packets of its whole segments, or their images."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvm_trt.errors import VideoError
from rvm_trt.files import clear_dir
from rvm_trt.runtime.video.checksum import Sum, sum_of
from rvm_trt.runtime.video.output import OutputPlan
from rvm_trt.runtime.video.output_place import partial_folder as partial_folder
from rvm_trt.runtime.video.placing import put, seal_of, sizes

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

    from rvm_trt.runtime.video.packets import PacketWriter

SEGMENT_FRAMES = 250


class OutputStore(ABC):
    """What is kept of one output. A segment counts once the journal says so.

    Attributes:
        plan: the output.
        folder: where all is kept.
        segment_frames: frames of a segment.
        segments: how many segments are whole.

    Args:
        plan: the output.
        segment_frames: frames of a segment.
    """

    def __init__(self, plan: OutputPlan, *, segment_frames: int) -> None:
        self.plan = plan
        self.folder = partial_folder(plan.path)
        self.segment_frames = segment_frames
        self.segments = 0

    @property
    def frames(self) -> int:
        """How many frames the whole segments hold."""
        return self.segments * self.segment_frames

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Counts the segment that was just written as whole, and returns what it holds, as plain JSON values."""

    @abstractmethod
    def is_whole(self, segment: int, record: object) -> bool:
        """Whether a segment still holds what its record says."""

    @abstractmethod
    def trim(self) -> None:
        """Removes everything that is not of a whole segment; raises `OSError`."""

    def close(self) -> None:
        """Closes what is open. May be called twice."""
        return

    @abstractmethod
    def reclaim(self, seal: object) -> None:
        """Takes back what a job that was interrupted has put in its place; raises `OSError`."""

    @abstractmethod
    def place(self) -> AbstractContextManager[Path]:
        """Gives where the output is to be written, and puts it in its place at the end of the block."""

    @property
    @abstractmethod
    def written(self) -> Path:
        """What becomes the output, in the folder."""

    def is_put(self, seal: object) -> bool:
        """Whether the output of a seal is in its place. Then it is there alone: a rename may stop between two names."""
        if seal is None or seal_of(self.plan.path) != seal:
            return False
        if seal_of(self.written) == seal:
            self.written.unlink()
        return True

    def check(self, *, made: bool = True) -> None:
        """Raises `VideoError` where the folder has gone, or a link is in its place: what that points to is not ours.

        Args:
            made: whether the folder was made already.
        """
        is_link = self.folder.is_symlink()
        if is_link or (made and not self.folder.is_dir()):
            raise VideoError(
                f"output {str(self.plan.path)!r}",
                got=f"{'a link' if is_link else 'no folder any more at'} {str(self.folder)!r}",
                expected="to keep what is done in a folder of that name",
                todo="Remove the link." if is_link else "Leave it alone until the job has ended.",
            )


class PacketFiles(OutputStore):
    """Keeps the packets of a video, a file for each segment. See `encode.PacketStore`."""

    def __init__(self, plan: OutputPlan, *, segment_frames: int) -> None:
        super().__init__(plan, segment_frames=segment_frames)
        self._writer: PacketWriter | None = None
        self._written = Sum(0, 0)

    def packets(self, *, time_base: Fraction, extradata: bytes | None) -> Iterator[Packet[VideoStream]]:
        """Yields the packets of the whole segments in order; raises `VideoError` where they are of another encoder."""
        from rvm_trt.runtime.video.packets import read_packets

        for segment in range(self.segments):
            yield from read_packets(self._file(segment), time_base=time_base, extradata=extradata)

    def append(self, packet: Packet[VideoStream], *, extradata: bytes | None) -> None:
        """Keeps a packet of the segment under way; raises `OSError`."""
        if self._writer is None:
            from rvm_trt.runtime.video.packets import PacketWriter

            self.check()
            self._writer = PacketWriter(self._file(self.segments), extradata=extradata)
        self._writer.append(packet)

    def end_segment(self) -> None:
        """Completes the file of the segment under way; raises `OSError`."""
        assert self._writer is not None
        self._written = self._writer.finish()
        self._writer = None

    def record(self) -> dict[str, Any]:
        """Size and CRC-32 of the segment's file."""
        self.segments += 1
        return self._written._asdict()

    def is_whole(self, segment: int, record: object) -> bool:
        """Whether the segment's file has the size and the CRC-32 of its record."""
        file = self._file(segment)
        return file.is_file() and sum_of(file)._asdict() == record

    def trim(self) -> None:
        """Removes the file under way, and the output as far as it was written."""
        self.close()
        whole = {self._file(segment).name for segment in range(self.segments)}
        clear_dir(self.folder, keep=lambda name: not name.startswith(("packets-", "output")) or name in whole)

    def close(self) -> None:
        """Closes the file under way, which nobody wants any more."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError):  # the disk may be full
                writer.close()

    def reclaim(self, seal: object) -> None:
        """Removes the output from its place: the packets are still here."""
        if self.is_put(seal):
            self.plan.path.unlink()

    @contextmanager
    def place(self) -> Iterator[Path]:
        """Yields a file in the folder, which becomes the output at the end."""
        yield self.written
        put(self.written, self.plan)

    @property
    def written(self) -> Path:
        """The file that becomes the output."""
        return self.folder / f"output{self.plan.path.suffix}"

    def _file(self, segment: int) -> Path:
        return self.folder / f"packets-{segment:06d}"


class ImageFiles(OutputStore):
    """Keeps numbered images, in the folder that becomes the output."""

    def record(self) -> dict[str, Any]:
        """Number and size in bytes of the segment's images."""
        self.segments += 1
        return self._count(self.segments - 1)

    def is_whole(self, segment: int, record: object) -> bool:
        """Whether the segment's images have the number and the size of its record."""
        return not self.written.is_symlink() and self._count(segment) == record

    def trim(self) -> None:
        """Removes the images of the segment under way."""
        if self.written.is_symlink():
            self.written.unlink()
        elif self.written.exists():
            clear_dir(self.written, keep=self._is_kept)

    def reclaim(self, seal: object) -> None:
        """Takes the images back from where the output was put."""
        if self.is_put(seal) and not self.written.exists():
            self.plan.path.replace(self.written)

    @contextmanager
    def place(self) -> Iterator[Path]:
        """Yields the folder of the images, which becomes the output at the end."""
        self.written.mkdir(exist_ok=True)
        yield self.written
        put(self.written, self.plan)

    @property
    def written(self) -> Path:
        """The folder that becomes the output."""
        return self.folder / "images"

    def _is_kept(self, name: str) -> bool:
        stem = name.partition(".")[0]
        return stem.isdecimal() and int(stem) < self.frames

    def _count(self, segment: int) -> dict[str, Any]:
        numbers = range(segment * self.segment_frames, (segment + 1) * self.segment_frames)
        return sizes(self.written / f"{number:06d}.{self.plan.format.value}" for number in numbers)


def make_store(plan: OutputPlan, *, segment_frames: int) -> PacketFiles | ImageFiles:
    """Returns the store for an output that is a video or a folder of images; makes nothing yet."""
    kind = ImageFiles if plan.format.is_folder else PacketFiles
    return kind(plan, segment_frames=segment_frames)


def remove(folder: Path) -> None:
    """Removes a folder and what is in it, if it is there; of a link, the link alone."""
    with suppress(OSError):  # what cannot be removed is nothing that anybody counts on
        folder.unlink() if folder.is_symlink() else shutil.rmtree(folder, ignore_errors=True)


def discard(folder: Path) -> None:
    """Removes a job's folder so that a kill meanwhile leaves all of it or nothing: it gets another name first."""
    old = discarded(folder)
    remove(old)
    with suppress(OSError):  # then what is left is found, and is as good as new
        folder.replace(old)
    remove(old)


def discarded(folder: Path) -> Path:
    """Returns the name under which `discard` removes a folder; what a kill left there is nobody's."""
    return folder.with_name(f"{folder.name}-old")
