"""Prints a script that completes rvm-trt's commands, options, choices and files in a shell.

  bash   rvm-trt completion bash > ~/.local/share/bash-completion/completions/rvm-trt
         (needs the package bash-completion; for one session instead: eval "$(rvm-trt completion bash)")
  zsh    rvm-trt completion zsh > ~/.zfunc/_rvm-trt
         (with 'fpath+=~/.zfunc' before 'compinit' in ~/.zshrc)
  fish   rvm-trt completion fish > ~/.config/fish/completions/rvm-trt.fish
  tcsh   rvm-trt completion tcsh > ~/.rvm-trt.csh
         (with 'source ~/.rvm-trt.csh' in ~/.tcshrc)

Make the folder first where it is not there, and start a new shell after it. Do it again after an update.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from rvm_trt.errors import DependencyError
from rvm_trt.profile import Profile

HELP = "print a completion script for a shell"
SHELLS = ("bash", "zsh", "fish", "tcsh")
# What an argument is called in the help tells what it takes.
_FILES = ("PATH", "CLIP", "INPUT", "OUTPUT", "ARTIFACT", "COLOUR|IMAGE", "WHAT", "OLD", "CAMERA", "DEVICE")
_FOLDERS = ("DIR",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run(args: argparse.Namespace) -> int:
    """Prints the script and returns 0. Raises `DependencyError` where shtab is not installed."""
    print(completion_script(args.shell))
    return 0


def completion_script(shell: str) -> str:
    """Returns the script for a shell of `SHELLS`; raises `DependencyError` where shtab is not installed."""
    from rvm_trt.cli import make_parser

    try:
        import shtab
    except ModuleNotFoundError:
        raise DependencyError("shtab", extra="video", stage="shell completion") from None
    parser = make_parser()
    for action in _actions(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.dest == "profile":
            action.choices = Profile.names()
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for (
        action
    ) in parser._actions:  # argparse has no public way to its own arguments; shtab goes this one, too
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _actions(subparser)
        else:
            yield action
