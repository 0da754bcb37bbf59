"""What decides the bytes of a job, in words, so that only the same job is gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from rvm_trt.files import sha256_file
from rvm_trt.profile import Profile
from rvm_trt.runtime.bands import available_threads
from rvm_trt.runtime.video.job_options import JobOptions
from rvm_trt.runtime.video.output_place import real
from rvm_trt.runtime.video.outputs import Output
from rvm_trt.runtime.video.source import Source

_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16
_READ_WHOLE = 4 * _SAMPLES * _SAMPLE_BYTES


def identify(
    source: Source, outputs: Sequence[Output], options: JobOptions, profile: Profile
) -> dict[str, str]:
    """Returns what decides the bytes of a job, by name.

    The input is known by its contents: a video of up to 16 MiB by a digest of all; a longer one by its size, its time
    of change and a digest of 64 samples of 64 KiB; images by their names, sizes and times of change.

    Raises:
        OSError: the input cannot be read.
    """
    clip = source.clip
    words = {
        "version": metadata.version("rvm-trt"),
        "encoders": f"PyAV {metadata.version('av')}",
        "input": _digest(source),
        "rate": f"{clip.rate}",
        "profile": f"{profile}",
        "segment frames": f"{options.segment_frames}",
        "cut detection": "no" if options.cuts is None else f"from {options.cuts.threshold:g} on",
        "backdrop": "none" if options.backdrop is None else type(options.backdrop).__name__,
        "reset every": f"{options.reset_every}",
    }
    words |= {f"input {name}": f"{value}" for name, value in asdict(options.inputs).items()}
    for output in outputs:
        kind = output.plan.kind.value
        words[f"{kind} output"] = f"{real(output.plan.path)}"
        words |= {f"{kind} {name}": f"{value}" for name, value in asdict(output.options).items()}
        # Encoders share their work in other ways with other numbers of threads.
        words[f"{kind} threads"] = f"{output.options.threads or available_threads()}"
    return words | dict(options.facts)


def _digest(source: Source) -> str:
    files = source.files
    if files == (source.clip.path,):
        return _sampled(source.clip.path)
    digest = hashlib.sha256()
    for file in files:
        facts = file.stat()
        digest.update(f"{file.name!r} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return f"{len(files)} images {digest.hexdigest()[:16]}"


def _sampled(path: Path) -> str:
    facts = path.stat()
    if facts.st_size <= _READ_WHOLE:
        return f"{facts.st_size} bytes {sha256_file(path)[:16]}"
    digest = hashlib.sha256(f"{facts.st_mtime_ns}".encode())
    with path.open("rb") as file:
        for sample in range(_SAMPLES):
            file.seek((facts.st_size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return f"{facts.st_size} bytes {digest.hexdigest()[:16]}"
