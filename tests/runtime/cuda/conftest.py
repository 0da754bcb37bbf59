"""What the tests of the CUDA kernels share: the kernels themselves, compiled for the CPU once a run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The tests import the modules beside them, cuda_host and others.
sys.path.insert(0, str(Path(__file__).parent))

from cuda_host import HostKernels


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    """The kernels, compiled with g++ under AddressSanitizer and UndefinedBehaviorSanitizer."""
    return HostKernels(tmp_path_factory.mktemp("kernels"))
