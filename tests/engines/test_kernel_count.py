"""How many kernels a frame takes with TensorRT-RTX at HD: what the graph surgery is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from rvm_trt import Profile
from rvm_trt.contract import tensors
from rvm_trt.engines.head import cut_head
from rvm_trt.engines.launches import TRUNK_KERNELS
from rvm_trt.engines.plan import read_plan
from rvm_trt.engines.tensorrt import build_plan
from rvm_trt.engines.tensorrt_library import Library, load_library
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.export.float16 import lower_to_half
from rvm_trt.export.fusion import fuse
from rvm_trt.options import Backend, Graph

HD = Profile.named("hd")
PINS = Path(__file__).resolve().parents[2] / "constraints.txt"


@pytest.fixture(scope="module")
def library() -> Library:
    """The library of the version that is pinned: another may divide the same graph into other kernels."""
    library = load_library(Backend.TENSORRT_RTX)
    pins = dict(line.split("==") for line in PINS.read_text(encoding="utf-8").split() if "==" in line)
    assert library.version == pins["tensorrt-rtx-cu13"]
    return library


@pytest.mark.parametrize(
    ("surgery", "dtype", "trunk", "count"),
    [
        ((), "float32", False, 138),
        ((fuse,), "float32", False, 102),
        ((fuse, lower_to_half), "float16", False, 101),
        ((fuse, lower_to_half, cut_head), "float16", True, TRUNK_KERNELS),
    ],
    ids=["plain", "fused", "fused-fp16", "trunk-fp16"],
)
def test_the_core_s_kernels_at_hd(
    surgery: tuple[Callable[[onnx.ModelProto], object], ...],
    dtype: str,
    trunk: bool,
    count: int,
    library: Library,
    exported: Callable[..., Path],
    tmp_path: Path,
) -> None:
    model = onnx.load_model(exported(HD))
    for step in surgery:
        step(model)
    built = build_plan(
        model.SerializeToString(),
        library=library,
        options=TensorRtOptions(targets=("sm_89",)),
        tensors=tensors(HD, Graph.CORE, dtype=dtype, trunk=trunk),
    )
    path = tmp_path / "core.plan"
    path.write_bytes(built.plan)
    assert len(read_plan(path).kernels) == count
