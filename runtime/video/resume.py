"""Opening the journal of a job, to begin it or to go on with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rvm_trt.errors import VideoError
from rvm_trt.files import locked_dir
from rvm_trt.runtime.video.journal import Journal
from rvm_trt.runtime.video.journal_files import has_segments, read_finished, told_of
from rvm_trt.runtime.video.output import OutputPlan
from rvm_trt.runtime.video.stores import SEGMENT_FRAMES, OutputStore, discarded, make_store, remove


@contextmanager
def open_journal(
    plans: Sequence[OutputPlan],
    job: Mapping[str, str],
    *,
    resume: bool,
    overwrite: bool,
    notice: Callable[[str], None],
    segment_frames: int = SEGMENT_FRAMES,
) -> Iterator[Journal]:
    """Opens the journal of a job; use it with ``with``. Nobody else can work on the same outputs within the block.

    At the end of the block everything kept is removed. After an error, Ctrl-C or a kill the whole segments stay, so
    that the same job can be resumed; without any, nothing stays (after a kill, a folder that the next job removes).

    Args:
        plans: the outputs, which must be videos or folders of images.
        job: what decides the bytes, in words: all must be as they were for a job to be resumed.
        resume: whether to go on with an interrupted job, if there is one.
        overwrite: whether what an interrupted job kept may be thrown away.
        notice: called with each remark for the user.
        segment_frames: frames of a segment.

    Raises:
        VideoError: another job writes the same output; an interrupted job's work would be lost; the journal is of
            another job; the disk is full.
    """
    stores = [make_store(plan, segment_frames=segment_frames) for plan in plans]
    with ExitStack() as locks:
        for store in stores:
            _lock(locks, store)
        journal = Journal(stores, segment_frames=segment_frames)
        if resume:
            journal.go_on(job, notice)
        else:
            if not overwrite:
                _check_worthless(stores)
            journal.begin(job)
        try:
            yield journal
        except BaseException:
            journal.stop()
            raise
        journal.remove()


def _lock(locks: ExitStack, store: OutputStore) -> None:
    store.check(made=False)
    with told_of(store.plan.path):
        mine = locks.enter_context(locked_dir(store.folder))
    if mine:
        locks.callback(_remove_empty, store.folder)
        remove(discarded(store.folder))
    else:
        raise VideoError(
            f"output {str(store.plan.path)!r}",
            got="another job that writes it",
            expected="one job for each output",
            todo="Wait until the other one is done, or choose another output path.",
        )


def _check_worthless(stores: Sequence[OutputStore]) -> None:
    for store in stores:
        if has_segments(store.folder) or read_finished(store.folder) is not None:
            raise VideoError(
                f"output {str(store.plan.path)!r}",
                got="what an interrupted job has done of it",
                expected="a word on what becomes of that",
                todo="Add --resume to go on with it, or --force (overwrite=True) to start anew.",
            )


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds something, or is gone
        folder.rmdir()
