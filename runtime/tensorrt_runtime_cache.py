"""The kernels that TensorRT for RTX compiled for one plan on one GPU, kept on disk: the next start is faster."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from rvm_trt.engines.tensorrt_library import Library
from rvm_trt.errors import EngineError
from rvm_trt.files import atomic_file, cache_dir
from rvm_trt.runtime.cuda_gpu import Gpu


class CacheFile:
    """The file of a runtime cache.

    Args:
        path: where; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kernels: Any = None
        self._loaded = b""

    @classmethod
    def of(cls, plan_sha256: str, gpu: Gpu, library: Library) -> CacheFile:
        """Returns the file for a plan on a kind of GPU with a version of the library."""
        model = re.sub(r"[^a-z0-9]+", "-", gpu.name.lower()).strip("-")
        name = f"{plan_sha256[:16]}-sm_{gpu.sm}-{model}-{library.version}.cache"
        return cls(cache_dir() / "tensorrt-rtx" / name)

    def load(self, kernels: Any) -> None:
        """Fills an ``IRuntimeCache`` from the file. Without one, or with one that is not as it was written, or that
        the library does not take (of another driver, say), it stays empty, and `save` replaces the file."""
        self._kernels = kernels
        try:
            digest, _, content = self._path.read_bytes().partition(b"\n")
        except OSError:
            return  # none yet; what else is wrong with it shows when it is saved
        if digest.decode("ascii", "replace") == _digest(content) and kernels.deserialize(content):
            self._loaded = content

    def save(self) -> None:
        """Writes the file where the cache has changed since it was loaded.

        Raises:
            EngineError: the folder cannot be written.
        """
        memory = self._kernels.serialize()
        content = b"" if memory is None else bytes(memory)
        if not content or content == self._loaded:
            return
        try:
            with atomic_file(self._path) as temporary:
                temporary.write_bytes(_digest(content).encode() + b"\n" + content)
        except OSError as error:
            raise EngineError(
                str(self._path.parent),
                got=error.strerror or str(error),
                expected="a folder with room to keep compiled kernels",
                todo="Make room, or set XDG_CACHE_HOME to another folder.",
            ) from None
        self._loaded = content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
