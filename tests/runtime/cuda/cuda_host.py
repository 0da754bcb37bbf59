"""The CUDA kernels on the CPU: compiles them with g++ under sanitizers, and runs launches in that program."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cuda_memory import FIRST_ADDRESS, Memory

from rvm_trt.runtime import kernel_params
from rvm_trt.runtime.kernel_cache import SOURCES
from rvm_trt.runtime.kernel_params import Launch, Params
from rvm_trt.runtime.kernel_variants import KernelVariant, all_variants

HERE = Path(__file__).parent
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function")
FLAGS = ("-std=c++17", "-O1", "-pthread", "-ffp-contract=off", "-fno-strict-aliasing", *WARNINGS)
ADDRESS_AND_UNDEFINED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
RECORDS = {
    "Picture": kernel_params.PICTURE,
    "Decoding": kernel_params.DECODING,
    "Encoding": kernel_params.ENCODING,
    "SampleParams": kernel_params.SAMPLE_PARAMS,
    "HeadParams": kernel_params.HEAD_PARAMS,
    "ComposeParams": kernel_params.COMPOSE_PARAMS,
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One launch, whose pointers are addresses of its ``memory``."""

    variant: KernelVariant
    launch: Launch
    params: Params
    memory: Memory

    def to_bytes(self, variants: Sequence[KernelVariant]) -> bytes:
        """The launch as driver.cpp reads it."""
        pointers = [
            (at, value // FIRST_ADDRESS - 1, value % FIRST_ADDRESS)
            for at in _pointer_offsets(self.params.dtype)
            if (value := int.from_bytes(self.params.tobytes()[at : at + 8], "little"))
        ]
        sizes = (
            variants.index(self.variant),
            *self.launch.grid,
            *self.launch.block,
            self.launch.shared_bytes,
            self.params.nbytes,
            len(self.memory.buffers),
            len(pointers),
        )
        parts = [struct.pack(f"<{len(sizes)}q", *sizes), self.params.tobytes()]
        parts += [part for b in self.memory.buffers for part in (struct.pack("<q", b.nbytes), b.tobytes())]
        parts += [struct.pack("<3q", *pointer) for pointer in pointers]
        return b"".join(parts)


class HostKernels:
    """The compiled program.

    Args:
        folder: where to compile it; what was compiled there already is taken.
        variants: the kernels it holds.
        sanitizers: g++'s options for them.
    """

    def __init__(
        self,
        folder: Path,
        *,
        variants: Sequence[KernelVariant] = all_variants(),
        sanitizers: Sequence[str] = ADDRESS_AND_UNDEFINED,
    ) -> None:
        self._program, self._variants = folder / "driver", tuple(variants)
        if self._program.exists():
            return
        (folder / "variants.inc").write_text(_including(self._variants))
        (folder / "fields.inc").write_text(_printing_fields())
        command = ["g++", *FLAGS, *sanitizers, f"-I{folder}", f"-I{SOURCES}", f"-I{HERE}"]
        _run([*command, HERE / "driver.cpp", "-o", folder / "unfinished"])
        (folder / "unfinished").rename(self._program)

    def run(self, *jobs: Job) -> None:
        """Runs launches one after the other; the memory of each then holds what it left there."""
        output = self.ask("launches", b"".join(job.to_bytes(self._variants) for job in jobs))
        start = 0
        for buffer in (buffer for job in jobs for buffer in job.memory.buffers):
            buffer[:] = np.frombuffer(output, np.uint8, buffer.size, start)
            start += buffer.size
        assert start == len(output)

    def ask(self, task: str, content: bytes = b"") -> bytes:
        """Returns what the program wrote."""
        return _run([self._program, task], content)


def _run(command: Sequence[str | Path], content: bytes = b"") -> bytes:
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    return done.stdout


def _pointer_offsets(record: np.dtype[Any], start: int = 0) -> Iterator[int]:
    for name in record.names or ():
        field, offset = record.fields[name][:2]
        if field == np.uint64:
            yield start + offset
        yield from _pointer_offsets(field, start + offset)


def _including(variants: Sequence[KernelVariant]) -> str:
    lines = []
    for index, variant in enumerate(variants):
        params = f"{variant.entry.capitalize()}Params"
        lines += [
            f"namespace variant_{index} {{",
            *(f"#define {name} {value}" for name, value in variant.defines),
            f'#include "{variant.source}"',
            *(f"#undef {name}" for name, _ in variant.defines),
            f"void run(const void *p) {{ {variant.entry}(*static_cast<const {params} *>(p)); }}",
            "}",
        ]
    names = ", ".join(f"variant_{index}::run" for index in range(len(variants)))
    return "\n".join([*lines, f"const Kernel kernels[] = {{{names}}};", ""])


def _printing_fields() -> str:
    return "\n".join(
        line
        for record, layout in RECORDS.items()
        for line in (*(f"FIELD({record}, {name});" for name in layout.names or ()), f"RECORD({record});")
    )
