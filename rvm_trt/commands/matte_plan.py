"""What the arguments of ``rvm-trt matte`` ask for, checked: outputs, options and kinds of picture."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_trt.commands.background import TRANSPARENT, is_word
from rvm_trt.commands.time_text import parse_time
from rvm_trt.errors import OptionError
from rvm_trt.runtime.video.input_options import Gaps, Hdr, InputOptions
from rvm_trt.runtime.video.output import STANDARD_OUTPUT, CodecName, EncodeOptions, OutputKind, OutputPlan
from rvm_trt.runtime.video.output_place import partial_folder, would_replace

if TYPE_CHECKING:
    from rvm_trt.runtime.video.source import Source

_NAME = "{name}"
_ALSO = ("pha", "fgr")
_WITH_CRF = frozenset((CodecName.H264, CodecName.VP9, CodecName.AV1))


def writes_standard_output(args: argparse.Namespace) -> bool:
    """Whether frames go to standard output, where nothing else may go then."""
    return STANDARD_OUTPUT in (args.output, *(getattr(args, kind) for kind in _ALSO))


def check_standard_output(args: argparse.Namespace) -> None:
    """Raises `OptionError` where frames on standard output would meet a terminal, or the report."""
    if not writes_standard_output(args):
        return
    if args.json:
        raise OptionError(
            "--json",
            got="frames on standard output",
            expected="one of both",
            todo="Write the frames to a file.",
        )
    if sys.stdout is None or sys.stdout.isatty():
        raise OptionError(
            "output '-'",
            got="a closed standard output" if sys.stdout is None else "a terminal",
            expected="a pipe or a file",
            todo="Add '| ffplay …' or '> frames.raw'.",
        )


@dataclass(frozen=True, kw_only=True)
class Task:
    """An input and what is written of it.

    Attributes:
        given: the input, as it was given.
        output: the first output.
        also: further outputs by kind.
    """

    given: str
    output: str
    also: Mapping[str, str]

    @property
    def targets(self) -> tuple[str, ...]:
        """Every output."""
        return (self.output, *self.also.values())


def pair_outputs(args: argparse.Namespace) -> list[Task]:
    """Returns each input with its outputs; with several inputs, each output needs ``{name}``.

    Raises:
        OptionError: two outputs would have one place, or one stands where an input is.
    """
    wanted = {"output": args.output, **{f"--{kind}": getattr(args, kind) for kind in _ALSO}}
    for subject, target in wanted.items():
        if len(args.inputs) > 1 and target is not None and _NAME not in target:
            raise OptionError(
                subject,
                got=f"{target!r} for {len(args.inputs)} inputs",
                expected=f"a name with {_NAME} in it, such as 'out/{_NAME}.mp4'",
                todo="Write {name} where each input's own name is to stand.",
            )
    tasks = [_task(given, args) for given in args.inputs]
    if len(tasks) > 1:
        _check_places(tasks)
    return tasks


def is_done(task: Task) -> bool:
    """Whether an earlier run has made every output: they appear when they are whole, and then nothing else is kept."""
    paths = [Path(target) for target in task.targets]
    return all(_holds_something(path) and not partial_folder(path).exists() for path in paths)


def _holds_something(path: Path) -> bool:
    # An empty folder may have been made for the output: it is written to as if it were not there.
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _task(given: str, args: argparse.Namespace) -> Task:
    name = Path(given).stem
    also = {kind: path.replace(_NAME, name) for kind in _ALSO if (path := getattr(args, kind)) is not None}
    return Task(given=given, output=args.output.replace(_NAME, name), also=also)


def _check_places(tasks: Sequence[Task]) -> None:
    taken: set[str] = set()
    for task in tasks:
        for target in task.targets:
            place = os.path.realpath(target)
            if place in taken:
                raise OptionError(
                    "output",
                    got=f"{target!r} for more than one input",
                    expected="a name of its own for each",
                    todo="Rename the inputs, or matte them apart.",
                )
            replaced = next((each.given for each in tasks if would_replace(Path(target), each.given)), None)
            if replaced is not None:
                raise OptionError(
                    "output",
                    got=f"{target!r}, which is the input {replaced!r}",
                    expected="another place",
                    todo="Choose another name or folder for the outputs.",
                )
            taken.add(place)


def output_kind(args: argparse.Namespace) -> str | None:
    """Returns the kind of picture asked for: a background asks for a composite, a transparent one for ``rgba``."""
    if args.background is None:
        return None if args.output_kind is None else str(args.output_kind)
    transparent = args.background.strip().lower() == TRANSPARENT
    needed = "rgba" if transparent else "composite"
    if args.output_kind not in (None, needed):
        raise OptionError(
            "--background",
            got=f"{args.background!r} with output kind {args.output_kind!r}",
            expected=f"output kind {needed!r}",
            todo=f"Leave out --background, or choose --output-kind {needed}.",
        )
    return needed


def check_options(args: argparse.Namespace) -> None:
    """Raises `OptionError` where an option is not usable, or does nothing beside the others."""
    output_kind(args)
    encode_options(args)
    input_options(args)
    if args.warm_up is not None and args.start is None:
        raise _idle("--warm-up", "no --from", "--from, whose past the network is to see", "--from")
    if args.fit is not None and (args.background is None or is_word(args.background)):
        got = "no --background" if args.background is None else f"--background {args.background!r}"
        raise _idle("--fit", got, "a picture or a video as background", "a file as --background")
    if args.raw_format is not None and args.output != STANDARD_OUTPUT:
        raise _idle("--raw-format", f"output {args.output!r}", "standard output ('-')", "-o -")


def check_use(args: argparse.Namespace, source: Source, plans: Sequence[OutputPlan]) -> None:
    """Raises `OptionError` where an option does nothing for an input, or an output is the background."""
    _check_background(args, plans)
    kinds = {plan.kind for plan in plans}
    codecs = {plan.codec for plan in plans}
    if args.gaps is not None and source.files == (source.clip.path,):
        raise _idle("--gaps", f"input {str(source.clip.path)!r}", "a sequence or a folder of images")
    if args.premultiplied is not None and plans[0].kind is not OutputKind.RGBA:
        given = "--premultiplied" if args.premultiplied else "--no-premultiplied"
        raise _idle(given, f"output kind {plans[0].kind.value!r}", "output kind 'rgba'", "--output-kind rgba")
    if args.no_spill_suppression and kinds == {OutputKind.PHA}:
        raise _idle("--no-spill-suppression", "output kind 'pha'", "an output with colours")
    if args.crf is not None and not codecs & _WITH_CRF:
        raise _idle("--crf", _named(codecs), "h264, vp9 or av1")
    if args.preset is not None and CodecName.H264 not in codecs:
        raise _idle("--preset", _named(codecs), "h264")


def _check_background(args: argparse.Namespace, plans: Sequence[OutputPlan]) -> None:
    if args.background is None or is_word(args.background):
        return
    behind = os.path.expanduser(args.background.strip())  # noqa: PTH111, it knows no home of nobody
    for plan in plans:
        if would_replace(plan.path, behind):
            raise OptionError(
                f"output {str(plan.path)!r}",
                got="the background itself",
                expected="another place",
                todo="Choose another output path.",
            )


def _idle(option: str, got: str, expected: str, other: str | None = None) -> OptionError:
    """Returns the error for an option that does nothing."""
    todo = f"Leave {option} out." if other is None else f"Leave {option} out, or give {other}."
    return OptionError(option, got=got, expected=expected, todo=todo)


def _named(codecs: Iterable[CodecName | None]) -> str:
    return " and ".join(sorted("raw frames" if codec is None else codec.value for codec in codecs))


def encode_options(args: argparse.Namespace) -> EncodeOptions:
    """Returns how to encode; raises `OptionError`."""
    return EncodeOptions(
        crf=args.crf,
        preset=args.preset,
        threads=args.threads,
        audio=not args.no_audio,
        codec=args.codec,
        premultiplied=args.premultiplied,
        raw_format=args.raw_format,
    )


def input_options(args: argparse.Namespace) -> InputOptions:
    """Returns how to read; raises `OptionError`."""
    start_s = None if args.start is None else parse_time(args.start, subject="--from")
    stop_s = None if args.stop is None else parse_time(args.stop, subject="--to")
    if stop_s is not None and stop_s <= (start_s or 0):
        raise OptionError(
            "--to",
            got=f"'{args.stop}' with --from {args.start or 0}",
            expected="a later time than --from, both from the beginning of the input",
            todo="Give a range that is not empty.",
        )
    return InputOptions(
        start_s=start_s,
        stop_s=stop_s,
        warm_up_s=InputOptions.warm_up_s if args.warm_up is None else args.warm_up,
        deinterlace=args.deinterlace,
        hdr=Hdr(args.hdr),
        gaps=Gaps.REFUSE if args.gaps is None else Gaps(args.gaps),
    )
