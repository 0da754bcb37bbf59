"""Lists the named profiles: sizes, states, and what a frame costs the network.

Profiles that share a core run the same network on the same low-resolution size, whatever the size of their
frames: HD at ratio 0.25 and 4K at 0.125 both run 480x270. A plain core has no guided filter: the ratio is 1.
GMACs are billions of multiply-accumulates per frame in that network; the state memory is that of one set of
r1..r4 in FP16.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import groupby
from math import prod

from rvm_trt.commands.profile_arguments import profile_from
from rvm_trt.options import Refiner, Variant
from rvm_trt.profile import Profile

HELP = "list the named profiles and what they cost"

_STATES = "states r1..r4 (CxHxW)"
_COLUMNS = ("profile", "frame", "ratio", "core", _STATES, "GMACs", "state MB")
_RIGHT = ("ratio", "GMACs", "state MB")
_FP16_BYTES = 2


@dataclass(frozen=True, kw_only=True)
class ProfileFacts:
    """One profile of the list.

    Attributes:
        name: what ``--profile`` takes, or the given size.
        width, height: frame size in pixels.
        ratio: downsample ratio.
        core: name of the core network, such as ``480x270``: profiles with the same one share it.
        low_width, low_height: size at which the network runs.
        states: shapes of r1..r4, batch first.
        macs: multiply-accumulates per frame; None where PyTorch is not installed.
        fp16_state_bytes: one set of states in FP16.
    """

    name: str
    width: int
    height: int
    ratio: float
    core: str
    low_width: int
    low_height: int
    states: tuple[tuple[int, int, int, int], ...]
    macs: int | None
    fp16_state_bytes: int

    def cells(self) -> tuple[str, ...]:
        """The profile as text, in the order of the table's columns."""
        return (
            self.name,
            f"{self.width}x{self.height}",
            f"{self.ratio:.4g}",
            self.core,
            " ".join("x".join(map(str, shape[1:])) for shape in self.states),
            "-" if self.macs is None else f"{self.macs / 1e9:.2f}",
            f"{self.fp16_state_bytes / 1e6:.2f}",
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.add_argument("--variant", choices=[v.value for v in Variant], default=Variant.MOBILENETV3.value)
    parser.add_argument("--refiner", choices=[r.value for r in Refiner], default=Refiner.DEEP.value)
    parser.add_argument("--size", metavar="WxH", help="list this frame size as well, as 1280x960")
    parser.add_argument(
        "--ratio",
        type=float,
        metavar="R",
        help="downsample ratio, 0 to 1, with --size (default: so that the network sees 512 pixels)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(profile=None, batch=1)  # what profile_from reads besides


def run(args: argparse.Namespace) -> int:
    """Prints the list and returns 0. Raises `RvmTrtError` where the size or the ratio is not usable."""
    profiles = {
        name: Profile.named(name, variant=args.variant, refiner=args.refiner) for name in Profile.names()
    }
    if args.size is not None or args.ratio is not None:
        own = profile_from(args)
        if own not in profiles.values():
            profiles[args.size] = own
    facts, missing = examine(profiles)
    if args.json:
        listed = {"variant": args.variant, "refiner": args.refiner, "profiles": [asdict(f) for f in facts]}
        print(json.dumps(listed, indent=2))
    elif sys.stdout is not None and sys.stdout.isatty() and find_spec("rich") is not None:
        _print_table(facts)
    else:
        _print_plain(facts)
    if missing:
        print(
            f'note: GMACs need the export extra (no {missing} here): pip install "rvm-trt[export]"',
            file=sys.stderr,
        )
    return 0


def examine(profiles: dict[str, Profile]) -> tuple[list[ProfileFacts], str | None]:
    """Returns the profiles' facts, those with one core beside each other, and the package that GMACs lack."""
    cores: dict[str, list[str]] = {}
    for name, profile in profiles.items():
        cores.setdefault(_core(profile), []).append(name)
    macs, missing = _macs({core: profiles[names[0]] for core, names in cores.items()})
    facts = [
        _facts(name, profiles[name], core=core, macs=macs.get(core))
        for core, names in cores.items()
        for name in names
    ]
    return facts, missing


def _core(profile: Profile) -> str:
    size = f"{profile.low_width}x{profile.low_height}"
    return size if profile.uses_refiner else f"{size}-plain"


def _macs(cores: dict[str, Profile]) -> tuple[dict[str, int], str | None]:
    try:
        from rvm_trt.export.macs import profile_macs

        return {core: profile_macs(profile) for core, profile in cores.items()}, None
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rvm_trt"):
            raise
        return {}, error.name


def _facts(name: str, profile: Profile, *, core: str, macs: int | None) -> ProfileFacts:
    return ProfileFacts(
        name=name,
        width=profile.width,
        height=profile.height,
        ratio=profile.ratio,
        core=core,
        low_width=profile.low_width,
        low_height=profile.low_height,
        states=profile.state_shapes,
        macs=macs,
        fp16_state_bytes=_FP16_BYTES * sum(map(prod, profile.state_shapes)),
    )


def _print_plain(facts: list[ProfileFacts]) -> None:
    rows = [_COLUMNS, *(fact.cells() for fact in facts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if column in _RIGHT else cell.ljust(width)
            for column, cell, width in zip(_COLUMNS, row, widths, strict=True)
        ]
        print("  ".join(cells))


def _print_table(facts: list[ProfileFacts]) -> None:
    from rich.box import HORIZONTALS
    from rich.console import Console
    from rich.table import Table

    # Thin, so that 80 columns hold it with only the states on several lines.
    table = Table(box=HORIZONTALS, show_edge=False, pad_edge=False, padding=0)
    for column in _COLUMNS:
        table.add_column(
            column,
            justify="right" if column in _RIGHT else "left",
            no_wrap=column != _STATES,
            overflow="fold",
        )
    for _, group in groupby(facts, key=lambda fact: fact.core):
        first, *others = (fact.cells() for fact in group)
        table.add_row(*first)
        for cells in others:
            table.add_row(*cells[:3])  # the rest is the core's, and said above
        table.add_section()
    Console().print(table)
