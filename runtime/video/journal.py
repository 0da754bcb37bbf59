"""The journal of a job that can be gone on with: what the job is, and what of it is done.

In a hidden folder beside the first output lie ``job.json`` (what decides the bytes), and for each whole segment
``states-000000`` and ``segment-000000.json``, which is written last: a segment without it does not count. What each
output keeps lies in such a folder beside that output, with the same ``segment-000000.json``, so that no other job takes
it for nothing. Everything is written under another name first and renamed. After a power failure, sizes and checksums
tell what is whole. Once every output is whole ``finishing.json`` says so, and what they are known by when they have
their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from rvm_trt.errors import VideoError
from rvm_trt.files import atomic_file, clear_dir
from rvm_trt.runtime.video.checkpoint import Checkpoint, read_states, write_states
from rvm_trt.runtime.video.checksum import sum_of
from rvm_trt.runtime.video.journal_files import (
    FINISHING,
    has_segments,
    is_after,
    is_of_this_boot,
    is_record,
    read_finished,
    read_json,
    record_file,
    this_boot,
    told_of,
    write_json,
)
from rvm_trt.runtime.video.placing import check_free, put, seal_of
from rvm_trt.runtime.video.stores import OutputStore, discard, remove

_KEPT_STATES = 3
_FRACTION = re.compile(r"-?\d{1,40}(/[1-9]\d{0,39})?")
_ANEW = "Start anew: leave out --resume, and add --force (overwrite=True)."


class Journal:
    """What is kept of a job's whole segments. Made by `open_journal`.

    Attributes:
        stores: what is kept of each output, in the order of the plans.
        segment_frames: frames of a segment.
        checkpoint: where to go on; None at the beginning.
        is_whole: whether every output is whole, and only has to be put in its place.
        skipped_frames: of a job that is whole, pieces of the input that did not decode.
    """

    def __init__(self, stores: Sequence[OutputStore], *, segment_frames: int) -> None:
        self.stores = tuple(stores)
        self.segment_frames = segment_frames
        self.checkpoint: Checkpoint | None = None
        self.is_whole = False
        self.skipped_frames = 0
        self._folder = stores[0].folder

    @property
    def frames(self) -> int:
        """How many frames are kept."""
        return 0 if self.checkpoint is None else self.checkpoint.frames

    @property
    def is_there(self) -> bool:
        """Whether everything that is kept is still in its folders: nobody has removed them."""
        return all(store.folder.is_dir() and not store.folder.is_symlink() for store in self.stores)

    def commit(self, checkpoint: Checkpoint) -> None:
        """Counts the segment that every output has just ended as whole; raises `VideoError`."""
        segment = self.stores[0].segments
        self._check_folders()
        with self._errors():
            with atomic_file(self._states(segment)) as file:
                write_states(file, checkpoint.states, checkpoint.detector)
            record = {
                "next_index": checkpoint.next_index,
                "last_time": str(checkpoint.last_time),
                "cuts": checkpoint.cuts[0 if self.checkpoint is None else len(self.checkpoint.cuts) :],
                "states": sum_of(self._states(segment))._asdict(),
                "outputs": [store.record() for store in self.stores],
            }
            # The first folder's counts, and so comes last; the others say by it that what they hold is somebody's work.
            for store in reversed(self.stores):
                write_json(record_file(store.folder, segment), record)
            if segment >= _KEPT_STATES:
                self._states(segment - _KEPT_STATES).unlink(missing_ok=True)
        self.checkpoint = checkpoint

    def finish(self, *, frames: int, cuts: Sequence[int], skipped_frames: int) -> None:
        """Says that every output is whole: from now on they are only put in their places, by this job or the next.

        Raises:
            VideoError: something came to the place of one of them, the disk is full, or a folder is another one now.
        """
        self._check_folders()
        with self._errors():
            seals = [seal_of(store.written) for store in self.stores]
            counts = {"frames": frames, "cuts": [*cuts], "skipped_frames": skipped_frames}
            write_json(self._folder / FINISHING, {**counts, "outputs": seals, "boot": this_boot()})
        self._know_whole(frames, cuts, skipped_frames)
        for store in self.stores:
            check_free(store.plan)

    def put(self) -> None:
        """Puts the whole outputs of an interrupted job in their places; raises `VideoError`."""
        record = read_finished(self._folder)
        assert record is not None
        for store, seal in zip(self.stores, record["outputs"], strict=True):
            if not store.is_put(seal):
                put(store.written, store.plan)

    def begin(self, job: Mapping[str, str]) -> None:
        """Starts anew: removes what there is, and writes what the job is; raises `VideoError`."""
        with self._errors():
            for store in self.stores:
                clear_dir(store.folder)
            write_json(self._folder / "job.json", dict(job))

    def go_on(self, job: Mapping[str, str], notice: Callable[[str], None]) -> None:
        """Takes up a job after the last segment that is whole, or starts it anew where none is.

        Raises:
            VideoError: the journal is of another job, or it cannot be read.
        """
        with self._errors():
            before = read_json(self._folder / "job.json")
            if before is None and has_segments(self._folder):
                raise VideoError(
                    f"--resume from {str(self._folder)!r}",
                    got="a journal that does not read, or what a job has kept whose first output was another",
                    expected="what an interrupted job of this version has kept, with its outputs in the same order",
                    todo=_ANEW,
                )
            if before is None:
                notice("There was nothing to resume: the job started at the beginning.")
                self.begin(job)
                return
            _check_same(self._folder, before, job)
            if self._is_finished():
                return
            self._find_last(notice)
            self._trim()

    def stop(self) -> None:
        """After an error: removes what is not of whole segments, or everything where there is none."""
        for store in self.stores:
            store.close()
            if self.is_whole or store.folder.is_symlink():
                continue
            if not self.frames:
                remove(store.folder)
                continue
            store.segments = self.frames // self.segment_frames
            with suppress(OSError):  # the error before this one is the one to tell; the next job trims again
                store.trim()

    def remove(self) -> None:
        """Removes everything: the outputs are in their places."""
        for store in reversed(self.stores):
            store.close()
            discard(store.folder)

    def _is_finished(self) -> bool:
        """Whether all outputs of the job are whole; otherwise takes back those that were put in their places."""
        record = read_finished(self._folder)
        if record is None:
            return False
        seals = record["outputs"]
        pairs = list(zip(self.stores, seals, strict=False))
        is_known = is_of_this_boot(record) and len(seals) == len(self.stores)
        if is_known and all(
            store.is_put(seal) or (seal is not None and seal_of(store.written) == seal)
            for store, seal in pairs
        ):
            self._know_whole(record["frames"], record["cuts"], record["skipped_frames"])
            return True
        for store, seal in pairs:
            store.reclaim(seal)
        (self._folder / FINISHING).unlink()
        return False

    def _know_whole(self, frames: int, cuts: Sequence[int], skipped_frames: int) -> None:
        self.is_whole = True
        self.skipped_frames = skipped_frames
        self.checkpoint = Checkpoint(
            frames=frames, next_index=frames, cuts=tuple(cuts), states=(), detector=None
        )

    def _check_folders(self) -> None:
        for store in self.stores:
            store.check()

    def _find_last(self, notice: Callable[[str], None]) -> None:
        written = 0
        while self._record(written).exists():
            written += 1
        whole = 0
        records = []
        while whole < written:
            record = read_json(self._record(whole))
            if not is_record(record) or not self._is_segment_whole(whole, record):
                break
            records.append(record)
            whole += 1
        while whole and not self._has_states(whole - 1, records[whole - 1]):
            whole -= 1
        for store in self.stores:
            store.segments = whole
        if whole:
            self.checkpoint = self._checkpoint(records[:whole])
        if whole < written:
            notice(
                f"{(written - whole) * self.segment_frames} frames that the interrupted job had kept are damaged and "
                "were made again."
            )
        if not written:
            notice("The interrupted job had not kept any frames yet: it started at the beginning.")

    def _is_segment_whole(self, segment: int, record: Mapping[str, Any]) -> bool:
        outputs = record["outputs"]
        return len(outputs) == len(self.stores) and all(
            store.is_whole(segment, kept) for store, kept in zip(self.stores, outputs, strict=True)
        )

    def _has_states(self, segment: int, record: Mapping[str, Any]) -> bool:
        file = self._states(segment)
        return file.is_file() and sum_of(file)._asdict() == record["states"]

    def _checkpoint(self, records: Sequence[Mapping[str, Any]]) -> Checkpoint:
        states, detector = read_states(self._states(len(records) - 1))
        return Checkpoint(
            frames=len(records) * self.segment_frames,
            next_index=records[-1]["next_index"],
            cuts=tuple(cut for record in records for cut in record["cuts"]),
            states=states,
            detector=detector,
            last_time=_time(records[-1].get("last_time")),
        )

    def _trim(self) -> None:
        whole = self.stores[0].segments
        for store in self.stores:
            store.trim()
            clear_dir(store.folder, keep=lambda name: not is_after(name, whole))

    def _record(self, segment: int) -> Path:
        return record_file(self._folder, segment)

    def _states(self, segment: int) -> Path:
        return self._folder / f"states-{segment:06d}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with told_of(self.stores[0].plan.path):
            yield


def _check_same(folder: Path, before: Mapping[str, Any], job: Mapping[str, str]) -> None:
    names = [name for name in {**before, **job} if before.get(name) != job.get(name)]
    if names:
        raise VideoError(
            f"--resume from {str(folder)!r}",
            got=", ".join(f"{name} {job.get(name, 'none')}" for name in names),
            expected=", ".join(f"{name} {before.get(name, 'none')}" for name in names)
            + " as in the interrupted job",
            todo=f"Give what was given then. {_ANEW}",
        )


def _time(text: object) -> Fraction | None:
    return Fraction(text) if isinstance(text, str) and _FRACTION.fullmatch(text) else None
