"""One target under atheris, in a process of its own, which libFuzzer ends."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from random import Random
from types import ModuleType

import atheris

# What no reader has a reason to do, by the names of Python's audit events.
_FORBIDDEN = re.compile(
    r"os\.(system|exec|fork|posix_spawn|kill)|subprocess\.|socket\.|pickle\.|shutil\.|ctypes\.dlopen"
)
_OURS_IN_TEN = 8


def main() -> None:
    """Fuzzes the target named first; the other arguments are libFuzzer's."""
    name, *arguments = sys.argv[1:]
    _add_paths()
    from fuzz_targets import TARGETS, quicken

    target = TARGETS[name]
    for module in target.instrumented:
        _instrument(sys.modules[module])
    quicken()
    folder = Path(tempfile.mkdtemp(dir=sys.argv[-1]))
    corpus = folder / "corpus"
    corpus.mkdir()
    for seed, data in target.seeds().items():
        (corpus / seed).write_bytes(data)
    reading = False

    def forbid(event: str, _: tuple[object, ...]) -> None:
        if reading and _FORBIDDEN.match(event):
            raise AssertionError(f"a reader used {event}")

    def read(data: bytes) -> None:
        nonlocal reading
        reading = True
        try:
            target.run(data, folder)
        finally:
            reading = False

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = Random(seed)
        mutant = (
            target.mutate(data, rng) if rng.randrange(10) < _OURS_IN_TEN else atheris.Mutate(data, max_size)
        )
        return bytes(mutant[:max_size])

    sys.addaudithook(forbid)
    atheris.Setup([sys.argv[0], *arguments[:-1], str(corpus)], read, custom_mutator=mutate)
    atheris.Fuzz()


def _add_paths() -> None:
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parent / "export"), str(here.parent)]


def _instrument(module: ModuleType) -> None:
    """Instruments the functions that a loaded module defines, and the methods of its classes."""
    for holder in (module, *(each for each in vars(module).values() if isinstance(each, type))):
        for value in vars(holder).values():
            function = getattr(value, "fget", None) or getattr(value, "__func__", None) or value
            if getattr(function, "__module__", None) == module.__name__ and hasattr(function, "__code__"):
                atheris.instrument_func(function)


if __name__ == "__main__":
    main()
