"""What the doctor finds: one state, one line, and the one command that mends it."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any


class State(str, Enum):
    """How something stands."""

    OK = "ok"
    MISSING = "missing"  # can be added here
    BROKEN = "broken"  # there, and does not work
    NOT_HERE = "not here"  # this machine does not have it, and no command brings it


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        name: the subject; stable, for scripts.
        state: how it stands.
        text: in words.
        fix: the command that mends it; empty where there is none.
        needed: whether ``rvm-trt matte`` on the CPU needs it.
    """

    name: str
    state: State
    text: str
    fix: str = ""
    needed: bool = False

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values, without the name."""
        return {"state": self.state.value, "text": self.text, "fix": self.fix or None, "needed": self.needed}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where to look.

    Attributes:
        engines: folder of the engines.
        devices, system: ``/dev`` and ``/sys``.
        modules: folder of the kernels' modules.
    """

    engines: Path
    devices: Path = Path("/dev")
    system: Path = Path("/sys")
    modules: Path = Path("/lib/modules")


Check = Callable[[Place], Iterable[Finding]]
Checks = Mapping[str, Check]


def one_line(error: BaseException) -> str:
    """Returns an error as one line with its type, for a text."""
    message = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def extra(*names: str) -> str:
    """Returns the command that installs extras of rvm-trt."""
    return f'{pip()} install "rvm-trt[{",".join(names)}]"'


def pip() -> str:
    """Returns what calls the pip of this Python, which need not be the one that the shell finds."""
    found = shutil.which("pip")
    own = found is not None and Path(found).absolute().parent == Path(sys.executable).absolute().parent
    return "pip" if own else f"{shlex.quote(sys.executable)} -m pip"


def system_package(name: str, **others: str) -> str:
    """Returns the command that installs a package of the operating system.

    Args:
        name: as Debian calls it.
        others: other names, by the program that installs packages.
    """
    managers = {
        "apt-get": "sudo apt-get install",
        "dnf": "sudo dnf install",
        "pacman": "sudo pacman -S",
        "zypper": "sudo zypper install",
        "brew": "brew install",
    }
    program = next((program for program in managers if shutil.which(program)), None)
    if program is None:
        return f"install {name} with this system's package manager"
    return f"{managers[program]} {others.get(program, name)}"
