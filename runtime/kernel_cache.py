"""Compiling the CUDA kernels with NVRTC, and keeping what it made on disk.

``python -m rvm_trt.runtime.kernel_cache`` compiles every variant and prints what it uses: registers, shared memory and
spills. Neither needs a GPU or a driver.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from rvm_trt.digest import installed_version
from rvm_trt.errors import DependencyError, EngineError
from rvm_trt.files import cache_dir
from rvm_trt.runtime.kernel_file import read_kernel_file, write_kernel_file
from rvm_trt.runtime.kernel_variants import KernelVariant, all_variants

SOURCES = Path(__file__).with_name("kernels")
TARGETS = (75, 80, 86, 89, 90, 100, 120)
# A file in the current folder must never be taken for one of our headers. -v reports what a kernel uses.
_OPTIONS = ("--std=c++17", "--no-source-include", "--ptxas-options=-v")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a compiled kernel uses: registers and spilled bytes of a thread, static shared memory of a block."""

    registers: int
    shared_bytes: int
    spill_bytes: int


@dataclass(frozen=True, kw_only=True)
class CompiledKernel:
    """A kernel as the driver loads it.

    Attributes:
        variant: what was compiled.
        sm: compute capability times ten, such as 89.
        cubin: the module; its only entry is ``variant.entry``.
        log: what NVRTC and ptxas said.
    """

    variant: KernelVariant
    sm: int
    cubin: bytes
    log: str

    @property
    def resources(self) -> Resources:
        """What the kernel uses; raises `EngineError` where this NVRTC's log does not say it."""
        registers = re.search(r"Used (\d+) registers", self.log)
        spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", self.log)
        shared = re.search(r"(\d+) bytes smem", self.log)
        if registers is None or spills is None:
            raise _error(
                self.variant, self.sm, got=f"the log {self.log.strip()!r}", expected="ptxas's report"
            )
        return Resources(
            registers=int(registers[1]),
            shared_bytes=int(shared[1]) if shared else 0,
            spill_bytes=int(spills[1]) + int(spills[2]),
        )


def compile_kernel(variant: KernelVariant, *, sm: int, folder: Path | None = None) -> CompiledKernel:
    """Returns a kernel for one GPU architecture, from the cache where it has been compiled already.

    Args:
        variant: which kernel.
        sm: compute capability times ten, such as 89.
        folder: where kernels are kept; `cache_dir` / ``kernels`` by default. A damaged file there is made anew.

    Raises:
        DependencyError: NVRTC is not installed.
        EngineError: NVRTC does not know the architecture or refuses the source, or the folder cannot be written.
    """
    nvrtc = _Nvrtc()
    key = _key(variant, sm, nvrtc.version)
    path = (folder or cache_dir() / "kernels") / f"{variant.name}-sm{sm}-{key[:16]}.kernel"
    kept = read_kernel_file(path, key)
    if kept is not None:
        return CompiledKernel(variant=variant, sm=sm, cubin=kept[0], log=kept[1])
    cubin, log = nvrtc.compile(variant, sm)
    write_kernel_file(path, key, cubin, log)
    return CompiledKernel(variant=variant, sm=sm, cubin=cubin, log=log)


def _key(variant: KernelVariant, sm: int, version: str) -> str:
    parts = [version, str(sm), *_OPTIONS, *variant.options, variant.source]
    parts += [
        text for path in (SOURCES / variant.source, *_headers()) for text in (path.name, path.read_text())
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _headers() -> list[Path]:
    return sorted(SOURCES.glob("*.cuh"))


class _Nvrtc:
    """NVRTC, by its own error codes.

    Attributes:
        version: of NVRTC and of the package that brings it, which NVRTC itself does not tell in full.
    """

    def __init__(self) -> None:
        try:
            self._library: Any = import_module("cuda.bindings.nvrtc")
            missing: Any = import_module("cuda.pathfinder").DynamicLibNotFoundError
        except ImportError:
            raise DependencyError("cuda-bindings", extra="cuda", stage="CUDA kernels") from None
        try:
            numbers = self._ask("nvrtcVersion")
        except missing:
            raise DependencyError("nvidia-cuda-nvrtc", extra="cuda", stage="CUDA kernels") from None
        self.version = f"{numbers[0]}.{numbers[1]} {installed_version('nvidia-cuda-nvrtc')}"

    def compile(self, variant: KernelVariant, sm: int) -> tuple[bytes, str]:
        """Returns the cubin and the log."""
        (known,) = self._ask("nvrtcGetSupportedArchs")
        if sm not in known:
            names = ", ".join(str(name) for name in known)
            raise _error(
                variant, sm, got=f"NVRTC {self.version}", expected=f"one that knows sm_{sm}, not {names}"
            )
        headers = _headers()
        (program,) = self._ask(
            "nvrtcCreateProgram",
            (SOURCES / variant.source).read_bytes(),
            variant.source.encode(),
            len(headers),
            [path.read_bytes() for path in headers],
            [path.name.encode() for path in headers],
        )
        try:
            options = [f"--gpu-architecture=sm_{sm}", *_OPTIONS, *variant.options]
            code, *_ = self._library.nvrtcCompileProgram(
                program, len(options), [option.encode() for option in options]
            )
            log = self._bytes("nvrtcGetProgramLog", program).rstrip(b"\0").decode()
            if code != self._library.nvrtcResult.NVRTC_SUCCESS:
                raise _error(variant, sm, got=f"{code.name}:\n{log}\n", expected="a kernel")
            return self._bytes("nvrtcGetCUBIN", program), log
        finally:
            self._ask("nvrtcDestroyProgram", program)

    def _bytes(self, name: str, program: Any) -> bytes:
        (size,) = self._ask(f"{name}Size", program)
        content = bytearray(size)
        self._ask(name, program, content)
        return bytes(content)

    def _ask(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        code, *values = getattr(self._library, name)(*arguments)
        if code != self._library.nvrtcResult.NVRTC_SUCCESS:
            raise EngineError(
                name, got=code.name, expected="success", todo="Install nvidia-cuda-nvrtc again."
            )
        return tuple(values)


def _error(variant: KernelVariant, sm: int, *, got: str, expected: str) -> EngineError:
    return EngineError(
        f"kernel {variant.name} for sm_{sm}",
        got=got,
        expected=expected,
        todo='Run: pip install --upgrade "rvm-trt[cuda]".',
    )


def _print_table(targets: list[int]) -> None:
    print(f"{'variant':24}{'sm':>4}{'registers':>11}{'shared bytes':>14}{'spilled bytes':>15}")
    for variant in all_variants():
        for sm in targets:
            used = compile_kernel(variant, sm=sm).resources
            print(f"{variant.name:24}{sm:4}{used.registers:11}{used.shared_bytes:14}{used.spill_bytes:15}")


def main() -> int:
    """Prints what every variant uses on every architecture; returns the exit status."""
    parser = argparse.ArgumentParser(description="Compile every CUDA kernel and print what it uses.")
    numbers = partial(str.split, sep=",")
    parser.add_argument("--sm", type=numbers, default=list(TARGETS), metavar="75,89", help="architectures")
    try:
        _print_table([int(sm) for sm in parser.parse_args().sm])
    except (DependencyError, EngineError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
