"""From a file to files: reads, mattes and writes at once, each on threads of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction

from rvm_trt.errors import FrameError, RvmTrtError, VideoError
from rvm_trt.profile import Profile
from rvm_trt.runtime.video.frame_loop import FrameLoop
from rvm_trt.runtime.video.job_identity import identify
from rvm_trt.runtime.video.job_options import JobOptions, Session
from rvm_trt.runtime.video.job_report import JobReport as JobReport
from rvm_trt.runtime.video.journal import Journal
from rvm_trt.runtime.video.output import EncodeOptions, OutputKind
from rvm_trt.runtime.video.outputs import Output, can_be_kept, open_sinks, plan_outputs
from rvm_trt.runtime.video.resume import open_journal
from rvm_trt.runtime.video.sink import Sink
from rvm_trt.runtime.video.source import Source, open_source


def matte_video(
    source: str | os.PathLike[str] | Source,
    output_path: str | os.PathLike[str],
    session: Session,
    *,
    kind: str | OutputKind | None = None,
    also: Mapping[str, str | os.PathLike[str]] | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
    options: EncodeOptions | None = None,
    rate: Fraction | int | str | None = None,
    job: JobOptions | None = None,
) -> JobReport:
    """Mattes a video or a folder of images into videos or folders of images.

    The outputs have the source's frames, timestamps and sound, upright. They appear under their names together, and
    only when whole.

    Beside each output stands a hidden folder ``.NAME.rvm-trt-partial`` while the job runs. After an error, Ctrl-C or a
    kill, once the first 250 frames are done, it stays, and the same call with ``resume`` goes on from there: the
    outputs are the same, byte for byte. Standard output and live inputs keep nothing. What came to the name of an
    output while the job ran is left there: the whole job is kept then, and only put in its place by ``resume``.

    Args:
        source: what to read, see `open_source`; or a source that is open already, for which ``rate`` and the options'
            ``inputs`` mean nothing.
        output_path: what to write, see `plan_output`.
        session: what mattes; its profile must have the source's size, and its outputs the kinds. Its states are reset.
        kind: ``composite``, ``pha``, ``rgba`` or ``fgr``; by the output where None.
        also: further outputs of the same pass by kind, such as ``{"pha": "alpha.mov"}``.
        overwrite: whether something already there may be replaced, and an interrupted job's work thrown away.
        progress: called with the frames done and their expected number, after each frame.
        options: how to encode; ``threads`` holds for the decoder too.
        rate: frames per second of an image folder.
        job: how the job is run.

    Raises:
        VideoError: the input or an output is not usable, or something came to an output's name; says how many frames
            were done. Or there is no going on with an interrupted job: it was another one, or ``resume`` was not asked
            for.
        FrameError: the source's size is not the profile's.
        OptionError: two outputs have one kind or one path.
        KeyboardInterrupt: Ctrl-C, with how many frames were done.
    """
    options, job = options or EncodeOptions(), job or JobOptions()
    if not isinstance(source, Source):
        source = open_source(source, rate=rate, threads=options.threads, options=job.inputs)
    _check_size(source, session.profile)
    outputs = plan_outputs(
        output_path,
        kind=kind,
        also=also,
        clip=source.clip,
        options=options,
        overwrite=overwrite,
        resume=job.resume,
    )
    notices: list[str] = []
    start = time.perf_counter()
    with ExitStack() as stack:
        journal = _journal(stack, source, outputs, job, session.profile, overwrite, notices.append)
        loop = FrameLoop(source, session, options=job, journal=journal, progress=progress)
        stack.enter_context(_told_how_far(loop, source, journal))
        sinks: Sequence[Sink] = ()
        if journal is not None and journal.is_whole:
            journal.put()
        else:
            stores = [None] * len(outputs) if journal is None else journal.stores
            sinks = open_sinks(stack, outputs, clip=source.clip, stores=stores)
            loop.run(sinks)
            _finish(source, sinks, loop, journal)
    skipped = max(source.skipped_frames, 0 if journal is None else journal.skipped_frames)
    seconds = time.perf_counter() - start
    return _report(source, outputs, sinks, loop, job, notices, skipped_frames=skipped, seconds=seconds)


def _journal(
    stack: ExitStack,
    source: Source,
    outputs: Sequence[Output],
    job: JobOptions,
    profile: Profile,
    overwrite: bool,
    notice: Callable[[str], None],
) -> Journal | None:
    clip = source.clip
    if clip.live or clip.url is not None or not can_be_kept(outputs):
        if job.resume:
            raise VideoError(
                "--resume",
                got="an input that is read once, or standard output",
                expected="a file or a folder of images on both ends",
                todo="Leave out --resume, or use a file.",
            )
        return None
    return stack.enter_context(
        open_journal(
            [output.plan for output in outputs],
            identify(source, outputs, job, profile),
            resume=job.resume,
            overwrite=overwrite,
            notice=notice,
            segment_frames=job.segment_frames,
        )
    )


def _finish(source: Source, sinks: Sequence[Sink], loop: FrameLoop, journal: Journal | None) -> None:
    """Completes every output, so that from here on they only get their names."""
    if not any(sink.frames for sink in sinks) and not (journal and journal.frames):
        raise VideoError(
            f"input {str(source.clip.path)!r}",
            got="no frames",
            expected="at least one",
            todo="Check the file.",
        )
    for sink in sinks:
        sink.finish()
    if journal is not None:
        journal.finish(frames=loop.done, cuts=loop.cuts, skipped_frames=source.skipped_frames)


def _report(
    source: Source,
    outputs: Sequence[Output],
    sinks: Sequence[Sink],
    loop: FrameLoop,
    job: JobOptions,
    notices: Sequence[str],
    *,
    skipped_frames: int,
    seconds: float,
) -> JobReport:
    told = [*source.notices, *(() if job.backdrop is None else job.backdrop.notices), *notices]
    told += [text for sink in sinks for text in sink.notices]
    plans = [output.plan for output in outputs]
    written = sinks[0].frames if sinks else 0
    return JobReport(
        output=plans[0].path,
        kind=plans[0].kind,
        outputs={plan.kind.value: str(plan.path) for plan in plans},
        frames=loop.done,
        skipped_frames=skipped_frames,
        width=source.width,
        height=source.height,
        rate=source.rate,
        cuts=tuple(loop.cuts),
        resumed_at=loop.done - written or None,
        seconds=seconds,
        fps=written / seconds,
        decode_wait_ms=loop.decode_wait_s * 1e3,
        session_ms=loop.session_s * 1e3,
        encode_wait_ms=loop.encode_wait_s * 1e3,
        decode_ms=loop.decode_s * 1e3,
        encode_ms=sum(sink.busy_s for sink in sinks) * 1e3,
        notices=tuple(dict.fromkeys(told)),
        warnings=source.warnings,
    )


@contextmanager
def _told_how_far(loop: FrameLoop, source: Source, journal: Journal | None) -> Iterator[None]:
    try:
        yield
    except (RvmTrtError, KeyboardInterrupt) as error:
        total = source.frame_count or "an unknown number of"
        kept = "nothing was written."
        if journal is not None and journal.frames and journal.is_there:
            kept = f"{journal.frames} of them are kept: the same command with --resume goes on."
        # The same exception, so that its type and its fields stay; only what it prints is longer.
        error.args = (f"{error} Stopped after {loop.done} of {total} frames; {kept}".strip(),)
        raise


def _check_size(source: Source, profile: Profile) -> None:
    if (source.width, source.height) != (profile.width, profile.height):
        raise FrameError(
            f"input {str(source.clip.path)!r}",
            got=f"{source.width}x{source.height}",
            expected=f"{profile.width}x{profile.height} for profile {profile.name!r}",
            todo=f"Build an engine for {source.width}x{source.height}, or resize the video.",
        )
