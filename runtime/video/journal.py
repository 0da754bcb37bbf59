"""The journal of a job that can be gone on with: what the job is, and what of it is done.

In a hidden folder beside the first output lie ``job.json`` (what decides the bytes), and for each whole segment
``states-000000`` and ``segment-000000.json``, which is written last: a segment without it does not count. What each
output keeps lies in such a folder beside that output. Everything is written under another name first and renamed. After
a power failure, sizes and checksums tell what is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeGuard

from rvm_trt.errors import VideoError
from rvm_trt.files import atomic_file
from rvm_trt.runtime.video.checkpoint import Checkpoint, read_states, write_states
from rvm_trt.runtime.video.checksum import sum_of
from rvm_trt.runtime.video.stores import OutputStore, discard, remove

_LONGEST_JSON = 1 << 20
_KEPT_STATES = 3
_FINISHING = "finishing"
_ANEW = "Start anew: leave out --resume, and add --force (overwrite=True)."


class Journal:
    """What is kept of a job's whole segments. Made by `open_journal`.

    Attributes:
        stores: what is kept of each output, in the order of the plans.
        segment_frames: frames of a segment.
        checkpoint: where to go on; None at the beginning.
    """

    def __init__(self, stores: Sequence[OutputStore], *, segment_frames: int) -> None:
        self.stores = tuple(stores)
        self.segment_frames = segment_frames
        self.checkpoint: Checkpoint | None = None
        self._folder = stores[0].folder

    @property
    def frames(self) -> int:
        """How many frames are kept."""
        return 0 if self.checkpoint is None else self.checkpoint.frames

    def commit(self, checkpoint: Checkpoint) -> None:
        """Counts the segment that every output has just ended as whole; raises `VideoError`."""
        segment = self.stores[0].segments
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
            _write_json(self._record(segment), record)
            if segment >= _KEPT_STATES:
                self._states(segment - _KEPT_STATES).unlink(missing_ok=True)
        self.checkpoint = checkpoint

    def finishing(self) -> None:
        """Says that every output is whole, and is put in its place from now on; raises `VideoError`."""
        with self._errors():
            (self._folder / _FINISHING).touch()

    def begin(self, job: Mapping[str, str]) -> None:
        """Starts anew: removes what there is, and writes what the job is; raises `VideoError`."""
        with self._errors():
            for store in self.stores:
                for path in store.folder.iterdir():
                    remove(path) if path.is_dir() else path.unlink()
            _write_json(self._folder / "job.json", dict(job))

    def go_on(self, job: Mapping[str, str], notice: Callable[[str], None]) -> None:
        """Takes up a job after the last segment that is whole, or starts it anew where none is.

        Raises:
            VideoError: the journal is of another job, or it cannot be read.
        """
        with self._errors():
            before = _read_json(self._folder / "job.json")
            if before is None and has_segments(self._folder):
                raise VideoError(
                    f"--resume from {str(self._folder)!r}",
                    got="a journal that does not read",
                    expected="one that this version wrote",
                    todo=_ANEW,
                )
            if before is None:
                notice("There was nothing to resume: the job started at the beginning.")
                self.begin(job)
                return
            _check_same(self._folder, before, job)
            if is_finishing(self._folder):
                for store in self.stores:
                    store.reclaim()
            self._find_last(notice)
            self._trim()

    def stop(self) -> None:
        """After an error: removes what is not of whole segments, or everything where there is none."""
        for store in self.stores:
            if not self.frames:
                remove(store.folder)
                continue
            store.segments = self.frames // self.segment_frames
            with suppress(OSError):  # the error before this one is the one to tell; the next job trims again
                store.trim()

    def remove(self) -> None:
        """Removes everything: the outputs are in their places."""
        for store in reversed(self.stores):
            discard(store.folder)

    def _find_last(self, notice: Callable[[str], None]) -> None:
        written = 0
        while self._record(written).exists():
            written += 1
        whole = 0
        records = []
        while whole < written:
            record = _read_json(self._record(whole))
            if not _is_record(record) or not self._is_whole(whole, record):
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

    def _is_whole(self, segment: int, record: Mapping[str, Any]) -> bool:
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
        for path in self._folder.iterdir():
            kind, _, number = path.stem.partition("-")
            if kind in ("segment", "states") and number.isdecimal() and int(number) >= whole:
                path.unlink()

    def _record(self, segment: int) -> Path:
        return _record(self._folder, segment)

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


def _record(folder: Path, segment: int) -> Path:
    return folder / f"segment-{segment:06d}.json"


def _is_record(record: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    return (
        record is not None
        and type(record.get("next_index")) is int
        and isinstance(record.get("outputs"), list)
        and isinstance(record.get("cuts"), list)
        and all(type(cut) is int for cut in record["cuts"])
    )


def _time(text: object) -> Fraction | None:
    try:
        return Fraction(str(text))
    except (ValueError, ZeroDivisionError):
        return None


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_file(path) as file:
        file.write_text(json.dumps(values, indent=1), encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any] | None:
    """Returns the values of a JSON file; None where it is missing or holds anything else."""
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_LONGEST_JSON))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def has_segments(folder: Path) -> bool:
    """Whether a journal's folder has at least one whole segment."""
    return _record(folder, 0).exists()


def is_finishing(folder: Path) -> bool:
    """Whether the job of a journal's folder was interrupted while it put its outputs in their places."""
    return (folder / _FINISHING).exists()


@contextmanager
def told_of(output: Path) -> Iterator[None]:
    """Raises a `VideoError` of an output for an `OSError` in the block."""
    try:
        yield
    except OSError as error:
        raise VideoError(
            f"output {str(output)!r}",
            got=f"{error.strerror or error}",
            expected="to keep what is done beside it",
            todo="Check the free space and the rights of the folder.",
        ) from error
