"""What the tests of the CUDA kernels share: the kernels themselves, compiled for the CPU once a run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

# The tests import the modules beside them, cuda_host and others.
sys.path.insert(0, str(Path(__file__).parent))

from cuda_host import HostKernels


@pytest.fixture(scope="session")
def host(common: Path, alone: Callable[[Path], AbstractContextManager[None]]) -> HostKernels:
    """The kernels, compiled with g++ under AddressSanitizer and UndefinedBehaviorSanitizer, for all workers."""
    folder = common / "kernels"
    with alone(folder):
        folder.mkdir(exist_ok=True)
        return HostKernels(folder)
