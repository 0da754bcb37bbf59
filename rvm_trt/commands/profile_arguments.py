"""The arguments that name a profile, shared by the commands that need one."""

from __future__ import annotations

import argparse
import re

from rvm_trt.errors import OptionError
from rvm_trt.options import Refiner, Variant
from rvm_trt.profile import Profile

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


def add_profile_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--profile``, ``--size``, ``--ratio``, ``--variant``, ``--refiner`` and ``--batch``."""
    group = parser.add_argument_group("profile")
    group.add_argument(
        "--profile",
        metavar="NAME",
        help="720p, hd, 4k or dci4k, with -portrait and -fullbody as suffixes (default: hd)",
    )
    group.add_argument("--size", metavar="WxH", help="any frame size instead of a name, as 1280x960")
    group.add_argument(
        "--ratio",
        type=float,
        metavar="R",
        help="downsample ratio, 0 to 1, with --size (default: so that the network sees 512 pixels)",
    )
    group.add_argument("--variant", choices=[v.value for v in Variant], default=Variant.MOBILENETV3.value)
    group.add_argument("--refiner", choices=[r.value for r in Refiner], default=Refiner.DEEP.value)
    group.add_argument(
        "--batch", type=int, default=1, metavar="N", help="frames per run, 1 to 16 (default: 1)"
    )


def profile_from(args: argparse.Namespace) -> Profile:
    """Returns the profile that the arguments name; raises `OptionError` where they contradict each other."""
    if args.size is None:
        if args.ratio is not None:
            raise OptionError(
                "--ratio",
                got="a ratio with a named profile",
                expected="--ratio together with --size",
                todo="Give the size as well; a named profile has its own ratio.",
            )
        return Profile.named(
            args.profile or "hd", refiner=args.refiner, variant=args.variant, batch=args.batch
        )
    match = _SIZE.fullmatch(args.size)
    if match is None or args.profile is not None:
        raise OptionError(
            "--size",
            got=repr(args.size) if match is None else "both --size and --profile",
            expected="WIDTHxHEIGHT, without --profile",
            todo="Give one of the two, for example --size 1280x960.",
        )
    return Profile.for_size(
        width=int(match[1]),
        height=int(match[2]),
        ratio=args.ratio,
        refiner=args.refiner,
        variant=args.variant,
        batch=args.batch,
    )
