"""The ``rvm-trt`` command: finds the subcommand, runs it, and turns user errors into one message and exit code 1."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

import rvm_trt
from rvm_trt.errors import RvmTrtError

# Each is a module of rvm_trt.commands with HELP, add_arguments(parser) and run(args) -> int.
COMMANDS = ("matte", "weights", "export", "build", "bench", "profiles", "inspect", "doctor")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0 done, 1 a user error, 2 wrong usage, 130 interrupted."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except RvmTrtError as error:
        print(f"rvm-trt {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"rvm-trt {args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rvm-trt",
        description="Robust Video Matting, from a checkpoint to matted video.",
        epilog="Start with: rvm-trt matte in.mp4 -o out.mp4",
    )
    parser.add_argument("--version", action="version", version=f"rvm-trt {rvm_trt.__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"rvm_trt.commands.{name}")
        subparser = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
