"""Measured peaks of the CPU: that they are measured, kept and read back; how large they are is the machine's affair."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from rvm_trt.benchmarks.cpu_peaks import measure_peaks, read_peaks, supported_precisions
from rvm_trt.errors import OptionError
from rvm_trt.options import Precision


def test_peaks_are_measured_and_read_back(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    peaks = measure_peaks(threads=1, array_bytes=1 << 16, matrix_size=64, repeats=3)
    assert torch.get_num_threads() == threads
    assert set(peaks.tflops) == set(supported_precisions(peaks.environment["cpu_flags"]))
    for rate in (peaks.bandwidth_gbs, *peaks.tflops.values()):
        assert 0 < rate.median <= rate.best < math.inf
    path = tmp_path / "peaks.json"
    path.write_text(json.dumps(peaks.to_json()), encoding="utf-8")
    assert read_peaks(path) == peaks
    assert peaks.machine.copy_gbs is None


@pytest.mark.parametrize(
    ("flags", "extra"),
    [
        (["avx2", "avx512f"], ()),
        (["avx512_vnni"], (Precision.INT8,)),
        (["avx512_bf16", "avx512_vnni"], (Precision.BF16, Precision.INT8)),
        (["amx_tile", "amx_bf16", "amx_int8"], (Precision.BF16, Precision.INT8)),
    ],
)
def test_precisions_follow_the_instructions(flags: list[str], extra: tuple[Precision, ...]) -> None:
    assert supported_precisions(flags) == (Precision.FP32, *extra)


@pytest.mark.parametrize("content", ["", "{}", '{"cpu": "x", "threads": 1}'])
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "peaks.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(OptionError, match="no peaks"):
        read_peaks(path)
