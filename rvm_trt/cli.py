"""The ``rvm-trt`` command: finds the subcommand, runs it, and turns every failure into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from io import TextIOBase
from typing import NoReturn, TextIO

import rvm_trt
from rvm_trt.entry import INTERRUPTED
from rvm_trt.errors import RvmTrtError

# Each is a module of rvm_trt.commands with HELP, add_arguments(parser) and run(args) -> int.
COMMANDS = (
    "matte",
    "preview",
    "live",
    "weights",
    "export",
    "build",
    "bench",
    "profiles",
    "inspect",
    "doctor",
    "completion",
)
INTERNAL = 70  # EX_SOFTWARE of sysexits.h
_MESSAGE_CHARACTERS = 300


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    0 done, 1 a user error, 2 wrong usage, 70 an error of rvm-trt itself, 130 interrupted; a command may add its own.
    """
    return run(make_parser().parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Runs a command line that `make_parser` parsed, and returns its exit code, see `main`."""
    try:
        with _fewer_messages(args.quiet):
            code = int(args.run(args))
            if sys.stdout is not None:  # closed: what is printed goes nowhere
                sys.stdout.flush()
        return code
    except BrokenPipeError:
        _abandon_stdout()
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001, a user never meets a bare traceback
        code, text = _explained(error)
        return _failed(args, error, text, code=code)


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line; ``run`` of what it parses is the command's function."""
    parser = _Parser(
        prog="rvm-trt",
        description="Robust Video Matting, from a checkpoint to matted video.",
        epilog="Start with: rvm-trt matte in.mp4 -o out.mp4",
    )
    parser.add_argument("--version", action="version", version=f"rvm-trt {rvm_trt.__version__}")
    _add_message_arguments(parser, default=False)
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
        # Before the command and after it: the value given is never overwritten by a default of the other place.
        _add_message_arguments(subparser, default=argparse.SUPPRESS)
        subparser.set_defaults(run=module.run)
    return parser


class _Parser(argparse.ArgumentParser):
    """Tells wrong usage in one line, as every other error: the usage alone would fill the screen."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with exit code 2."""
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help\n")


def _add_message_arguments(parser: argparse.ArgumentParser, *, default: bool | str) -> None:
    group = parser.add_argument_group("messages")
    group.add_argument(
        "-q", "--quiet", action="store_true", default=default, help="only results, warnings and errors"
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=default,
        help="with an error, show where in the program it arose",
    )


def _failed(args: argparse.Namespace, error: BaseException, text: str, *, code: int) -> int:
    if args.verbose:
        traceback.print_exception(error)
    print(f"rvm-trt {args.command}: {text}", file=sys.stderr)
    return code


def _explained(error: BaseException) -> tuple[int, str]:
    """Returns the exit code for what ended a command, and what is said of it."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, f"interrupted. {error}" if str(error) else "interrupted"
    own = isinstance(error, RvmTrtError)
    # What is interrupted while it is imported may make something else of it, or seem not to be installed.
    if (isinstance(error, ImportError) or not own) and _began_as_interrupt(error):
        return INTERRUPTED, "interrupted"
    if own:
        return 1, str(error)
    if isinstance(error, OSError) and sys.stdout is not None and _is_stdout_full():
        text = f"standard output: got {error.strerror or error}, expected room for what is printed. "
        return 1, text + "Make room, or send it elsewhere."
    if isinstance(error, MemoryError):
        text = "memory: got none left, expected room for the network and the frames in flight. "
        return 1, text + "End other programs, or take a smaller --ratio or --size."
    return INTERNAL, _bug(error)


def _began_as_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what an error comes from."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _bug(error: BaseException) -> str:
    message = " ".join(str(error).split())[:_MESSAGE_CHARACTERS]
    said = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return (
        f"internal error: {said}. This is a fault of rvm-trt, not yours: please report it where you have rvm-trt "
        "from, with what the same command prints with --verbose and what 'rvm-trt doctor' prints."
    )


def _is_stdout_full() -> bool:
    """Whether what was printed cannot be written; it is dropped then."""
    try:
        sys.stdout.flush()
    except OSError:
        _abandon_stdout()
        return True
    return False


def _abandon_stdout() -> None:
    """Lets the interpreter end in peace though nobody reads standard output: it writes what is left there."""
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123, a device
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


@contextmanager
def _fewer_messages(quiet: bool) -> Iterator[None]:
    if not quiet:
        yield
        return
    with redirect_stderr(_Warnings(sys.stderr)):
        yield


class _Warnings(TextIOBase):
    """Standard error for ``--quiet``: warnings and errors pass, progress and notes do not.

    Args:
        target: where they go.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._line = ""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Passes the whole lines that begin with ``warning:`` or ``rvm-trt``."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if line.startswith(("warning: ", "rvm-trt ")):
                print(line, file=self._target, flush=True)
        return len(text)


if __name__ == "__main__":
    sys.exit(main())
