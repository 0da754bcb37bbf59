"""The tests of our kernels, which run on the CPU elsewhere, with the GPU in its place."""

from __future__ import annotations

import pytest
import test_compose
import test_head
import test_sample

pytestmark = pytest.mark.gpu

for _module in (test_sample, test_head, test_compose):
    for _name in dir(_module):
        if _name.startswith("test_"):
            globals()[f"{_module.__name__}_{_name.removeprefix('test_')}"] = getattr(_module, _name)
