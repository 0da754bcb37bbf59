"""Numbered images: patterns such as ``shot.%04d.png``, and numbers that are missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from rvm_trt.errors import VideoError
from rvm_trt.runtime.video.input_options import Gaps

_PLACE = re.compile(r"%(?:0?(?P<width>\d+))?d|(?P<hashes>#+)")
_MOST_HELD = 10_000
_RUNS_NAMED = 8


def is_pattern(path: Path) -> bool:
    """Whether a file name has a place for a number, as ``%04d`` or ``####``."""
    return _PLACE.search(path.name) is not None


def matching(pattern: Path) -> list[Path]:
    """Returns the files that a pattern stands for, by number; none where its folder is missing."""
    place = _PLACE.search(pattern.name)
    if place is None or not pattern.parent.is_dir():
        return []
    width = int(place["width"] or 0) or len(place["hashes"] or "") or 1
    before, after = re.escape(pattern.name[: place.start()]), re.escape(pattern.name[place.end() :])
    # A number that outgrows its width goes on without zeros.
    name = re.compile(f"{before}([0-9]{{{width}}}|[1-9][0-9]{{{width},}}){after}")
    found = [
        (int(match[1]), file) for file in pattern.parent.iterdir() if (match := name.fullmatch(file.name))
    ]
    return [file for _, file in sorted(found)]


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Returns a sort key by which ``2.png`` comes before ``10.png``."""
    parts = re.split(r"([0-9]+)", name.lower())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def numbers_of(files: Sequence[Path]) -> list[int] | None:
    """Returns the numbers of files whose names differ in one number alone; None where they are no sequence."""
    keys = [natural_key(file.name) for file in files]
    if len({len(key) for key in keys}) != 1:
        return None
    differing = [index for index, parts in enumerate(zip(*keys, strict=True)) if len(set(parts)) > 1]
    if len(differing) != 1 or any(key[differing[0]][0] for key in keys):
        return None
    numbers = [key[differing[0]][1] for key in keys]
    return numbers if len(set(numbers)) == len(numbers) else None


def with_gaps(files: Sequence[Path], gaps: Gaps, *, subject: str) -> tuple[list[Path], str | None]:
    """Returns the files to show one after the other, and a remark where some are shown again.

    Args:
        files: in the order of their numbers.
        gaps: what to do with missing numbers.
        subject: what errors are about.

    Raises:
        VideoError: numbers are missing and that is refused, or too many are.
    """
    numbers = None if gaps is Gaps.CLOSE else numbers_of(files)
    if numbers is None:
        return list(files), None
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if not missing:
        return list(files), None
    if gaps is Gaps.REFUSE or missing > _MOST_HELD:
        most = "" if gaps is Gaps.REFUSE else f" and at most {_MOST_HELD} to fill"
        raise VideoError(
            subject,
            got=f"images {numbers[0]} to {numbers[-1]} without {_named(numbers)}",
            expected=f"numbers without gaps{most}",
            todo="Add the missing images, show the image before a gap again (--gaps hold), or let the images "
            "follow each other (--gaps close).",
        )
    steps = [after - before for before, after in zip(numbers, [*numbers[1:], numbers[-1] + 1], strict=True)]
    held = [file for file, step in zip(files, steps, strict=True) for _ in range(step)]
    return held, f"{missing} missing images were filled with the image before: {_named(numbers)}."


def _named(numbers: Sequence[int]) -> str:
    runs = [(before + 1, after - 1) for before, after in pairwise(numbers) if after - before > 1]
    named = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:_RUNS_NAMED]]
    return ", ".join(named) + (f" and {len(runs) - _RUNS_NAMED} more gaps" if len(runs) > _RUNS_NAMED else "")
