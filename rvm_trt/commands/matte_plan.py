"""What the arguments of ``rvm-trt matte`` ask for, checked: outputs, options and kinds of picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rvm_trt.commands.background import TRANSPARENT
from rvm_trt.commands.time_text import parse_time
from rvm_trt.errors import OptionError
from rvm_trt.runtime.video.input_options import Gaps, Hdr, InputOptions
from rvm_trt.runtime.video.output import STANDARD_OUTPUT, EncodeOptions

_NAME = "{name}"


def check_standard_output(args: argparse.Namespace) -> None:
    """Raises `OptionError` where frames on standard output would meet a terminal, or the report."""
    if args.output != STANDARD_OUTPUT:
        return
    if args.json:
        raise OptionError(
            "--json",
            got="frames on standard output",
            expected="one of both",
            todo="Write the frames to a file.",
        )
    if sys.stdout.isatty():
        raise OptionError(
            "output '-'",
            got="a terminal",
            expected="a pipe or a file",
            todo="Add '| ffplay …' or '> frames.raw'.",
        )


def pair_outputs(inputs: Sequence[str], output: str) -> list[tuple[str, str]]:
    """Returns each input with its output; several inputs need ``{name}`` in the output."""
    if len(inputs) > 1 and _NAME not in output:
        raise OptionError(
            "output",
            got=f"{output!r} for {len(inputs)} inputs",
            expected=f"a name with {_NAME} in it, such as 'out/{_NAME}.mp4'",
            todo="Write {name} where each input's own name is to stand.",
        )
    pairs = [(given, output.replace(_NAME, Path(given).stem)) for given in inputs]
    taken = [target for _, target in pairs]
    twice = next((target for target in taken if taken.count(target) > 1), None)
    if twice is not None:
        raise OptionError(
            "output",
            got=f"{twice!r} for more than one input",
            expected="a name of its own for each",
            todo="Rename the inputs, or matte them apart.",
        )
    return pairs


def output_kind(args: argparse.Namespace) -> str | None:
    """Returns the kind of picture asked for; a transparent background asks for ``rgba``."""
    transparent = args.background is not None and args.background.strip().lower() == TRANSPARENT
    kind = "rgba" if transparent and args.output_kind is None else args.output_kind
    if transparent and kind != "rgba":
        raise OptionError(
            "--background",
            got=f"'transparent' with output kind {kind!r}",
            expected="output kind 'rgba'",
            todo="Leave one of the two out.",
        )
    return kind


def check_background(args: argparse.Namespace, kind: str) -> None:
    """Raises `OptionError` where a background is asked for that no picture shows."""
    if args.background is not None and kind not in ("composite", "rgba"):
        raise OptionError(
            "--background",
            got=f"output kind {kind!r}",
            expected="output kind 'composite'",
            todo="Leave out --background, or choose --output-kind composite.",
        )


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
    return InputOptions(
        start_s=None if args.start is None else parse_time(args.start, subject="--from"),
        stop_s=None if args.stop is None else parse_time(args.stop, subject="--to"),
        warm_up_s=args.warm_up,
        deinterlace=args.deinterlace,
        hdr=Hdr(args.hdr),
        gaps=Gaps(args.gaps),
    )
