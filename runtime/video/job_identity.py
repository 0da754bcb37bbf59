"""What decides the bytes of a job, in words, so that only the same job is gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from rvm_trt.profile import Profile
from rvm_trt.runtime.video.job_options import JobOptions
from rvm_trt.runtime.video.outputs import Output
from rvm_trt.runtime.video.source import IMAGE_SUFFIXES, Source

_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16


def identify(
    source: Source, outputs: Sequence[Output], options: JobOptions, profile: Profile
) -> dict[str, str]:
    """Returns what decides the bytes of a job, by name.

    The input is known by its contents: a video by its size and a digest of 64 samples of 64 KiB, images by their names,
    sizes and times of change.

    Raises:
        OSError: the input cannot be read.
    """
    clip = source.clip
    words = {
        "version": metadata.version("rvm-trt"),
        "encoders": f"PyAV {metadata.version('av')}",
        "input": _digest(clip.path),
        "rate": f"{clip.rate}",
        "profile": f"{profile}",
        "segment frames": f"{options.segment_frames}",
        "cut detection": "no" if options.cuts is None else "yes",
        "backdrop": "none" if options.backdrop is None else type(options.backdrop).__name__,
        "reset every": f"{options.reset_every}",
    }
    words |= {f"input {name}": f"{value}" for name, value in asdict(options.inputs).items()}
    for output in outputs:
        kind = output.plan.kind.value
        words[f"{kind} output"] = f"{output.plan.path.resolve()}"
        words |= {f"{kind} {name}": f"{value}" for name, value in asdict(output.options).items()}
    return words | dict(options.facts)


def _digest(path: Path) -> str:
    if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        return _sampled(path)
    folder = path if path.is_dir() else path.parent
    digest = hashlib.sha256(path.name.encode(errors="surrogateescape"))
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in IMAGE_SUFFIXES:
            facts = file.stat()
            digest.update(f"{file.name!r} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return f"images {digest.hexdigest()[:16]}"


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for sample in range(_SAMPLES):
            file.seek(max(size - _SAMPLE_BYTES, 0) * sample // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return f"{size} bytes {digest.hexdigest()[:16]}"
