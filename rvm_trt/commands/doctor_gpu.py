"""The doctor's checks of what an NVIDIA GPU needs: driver, devices, CUDA, TensorRT, and compiling our kernels."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace

from rvm_trt.commands.doctor_finding import Checks, Finding, Place, State, extra, pip
from rvm_trt.commands.doctor_packages import Package
from rvm_trt.engines.tensorrt_library import has_gpu
from rvm_trt.errors import DependencyError, EngineError
from rvm_trt.options import Backend

_NVIDIA, _DISPLAY = "0x10de", "0x03"  # PCI vendor, and the class of display controllers
_OLDEST = (7, 5)
_INSTALL_DRIVER = "install NVIDIA's driver for this system, and restart"
_QUERY = ("index", "name", "compute_cap", "driver_version")


def _gpus(place: Place) -> Iterator[Finding]:
    from rvm_trt.runtime.cuda_driver import Driver

    try:
        driver = Driver.load()
    except DependencyError:
        yield from _gpus_of_smi(place)
        return
    except EngineError as error:
        yield _no_driver(place, error)
        return
    version = driver.ask("cuDriverGetVersion")
    yield Finding(
        name="driver", state=State.OK, text=f"NVIDIA's, for CUDA {version // 1000}.{version % 1000 // 10}"
    )
    attributes = driver.module.CUdevice_attribute
    for ordinal in range(driver.ask("cuDeviceGetCount")):
        device = driver.ask("cuDeviceGet", ordinal)
        name = driver.ask("cuDeviceGetName", 256, device).rstrip(b"\0").decode()
        major, minor = (
            driver.ask("cuDeviceGetAttribute", attribute, device)
            for attribute in (
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        yield _device(ordinal, name, (major, minor))


def _gpus_of_smi(place: Place) -> Iterator[Finding]:
    """What nvidia-smi says, where CUDA's bindings for Python are not installed."""
    program = shutil.which("nvidia-smi")
    if program is None:
        yield _no_driver(place, None)
        return
    query = f"--query-gpu={','.join(_QUERY)}"
    done = subprocess.run(
        [program, query, "--format=csv,noheader"], capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).split())[:200]
        yield Finding(
            name="driver", state=State.BROKEN, text=f"nvidia-smi fails: {said}", fix=_INSTALL_DRIVER
        )
        return
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
    if not rows:
        yield Finding(name="driver", state=State.NOT_HERE, text="nvidia-smi finds no GPU")
        return
    yield Finding(name="driver", state=State.OK, text=f"NVIDIA's, {rows[0][3]}")
    for index, name, capability, _ in rows:
        major, _, minor = capability.partition(".")
        yield _device(int(index), name, (int(major), int(minor)))


def _device(ordinal: int, name: str, capability: tuple[int, int]) -> Finding:
    text = f"{name}, compute capability {capability[0]}.{capability[1]}"
    if capability < _OLDEST:
        return Finding(
            name=f"gpu {ordinal}", state=State.NOT_HERE, text=f"{text}: too old, 7.5 (Turing) is the oldest"
        )
    return Finding(name=f"gpu {ordinal}", state=State.OK, text=text)


def _no_driver(place: Place, error: EngineError | None) -> Finding:
    if not _has_card(place):
        return Finding(name="driver", state=State.NOT_HERE, text="no NVIDIA GPU on this machine")
    said = (
        f"an NVIDIA GPU is there, but {error.got}" if error else "an NVIDIA GPU is there without its driver"
    )
    return Finding(
        name="driver",
        state=State.MISSING,
        text=said,
        fix=_INSTALL_DRIVER,
    )


def _has_card(place: Place) -> bool:
    for device in (place.system / "bus/pci/devices").glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
        except OSError:
            continue
        if vendor.strip() == _NVIDIA and kind.startswith(_DISPLAY):
            return True
    return False


def _flavour(backend: Backend, *, install: str, needs: str) -> Finding:
    from rvm_trt.engines.tensorrt_library import load_library

    try:
        library = load_library(backend)
    except DependencyError as error:
        return Finding(
            name=backend.value, state=State.MISSING, text=f"{error.got}; {needs}", fix=extra(install)
        )
    except EngineError as error:
        fix = f'{pip()} install --force-reinstall "rvm-trt[{install}]"'
        return Finding(name=backend.value, state=State.BROKEN, text=f"{error.got}; {needs}", fix=fix)
    targets = ", ".join(library.known_targets)
    return Finding(
        name=backend.value,
        state=State.OK,
        text=f"{library.version}; {needs}" + (f"; builds for {targets}" if targets else ""),
    )


def _tensorrt(place: Place) -> Iterator[Finding]:
    needs = "needs an NVIDIA GPU with its driver, to build and to run"
    found = _flavour(Backend.TENSORRT, install="tensorrt", needs=needs)
    if found.state is State.MISSING and not (has_gpu() or _has_card(place)):
        found = replace(found, state=State.NOT_HERE, fix="")  # gigabytes of no use
    yield found


def _tensorrt_rtx(_: Place) -> Iterator[Finding]:
    needs = "builds without a GPU; running needs one of compute capability 7.5 or later"
    yield _flavour(Backend.TENSORRT_RTX, install="rtx", needs=needs)


def _nvrtc(_: Place) -> Iterator[Finding]:
    from cuda.bindings import nvrtc

    error, major, minor = nvrtc.nvrtcVersion()
    _, architectures = nvrtc.nvrtcGetSupportedArchs()
    if error != nvrtc.nvrtcResult.NVRTC_SUCCESS or not architectures:
        raise RuntimeError(f"NVRTC answers {error}")
    text = f"{major}.{minor}, compiles for sm_{architectures[0]} to sm_{architectures[-1]}, without a GPU"
    yield Finding(name="compiling", state=State.OK, text=text)


def gpu_checks() -> Checks:
    """Driver, devices and CUDA's bindings."""
    what_for = "sessions on a GPU"
    bindings = Package(name="cuda-bindings", module="cuda.bindings.driver", extra="cuda", what_for=what_for)
    core = Package(name="cuda-core", module="cuda.core", extra="cuda", what_for=what_for)
    return {"driver": _gpus, "cuda-bindings": bindings.check, "cuda-core": core.check}


def tensorrt_checks() -> Checks:
    """The two flavours of TensorRT. One of them is enough."""
    return {"tensorrt": _tensorrt, "tensorrt-rtx": _tensorrt_rtx}


def kernel_checks() -> Checks:
    """NVRTC, which compiles our kernels on the first run of a session."""
    nvrtc = Package(
        name="nvidia-cuda-nvrtc", module="cuda.bindings.nvrtc", extra="cuda", what_for="compiles our kernels"
    )
    return {"nvidia-cuda-nvrtc": nvrtc.check, "compiling": _nvrtc}
