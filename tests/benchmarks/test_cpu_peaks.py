"""Measured peaks of the CPU: that they are measured, kept and read back; how large they are is the machine's affair."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from rvm_trt.benchmarks import cpu_peaks
from rvm_trt.benchmarks.child import BenchmarkError
from rvm_trt.benchmarks.cpu_peaks import (
    CpuPeaks,
    Rate,
    measure_peaks,
    probe_peaks,
    read_peaks,
    supported_precisions,
)
from rvm_trt.benchmarks.environment import describe_environment
from rvm_trt.errors import OptionError
from rvm_trt.options import Precision


def test_peaks_are_measured_and_read_back(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    peaks = measure_peaks(threads=1, array_bytes=1 << 16, matrix_sizes=(64, 32), seconds=0.001)
    assert torch.get_num_threads() == threads
    assert set(peaks.tflops) == set(supported_precisions(describe_environment(threads=1)["cpu_flags"]))
    for rate in (peaks.bandwidth_gbs, *peaks.tflops.values()):
        assert 0 < rate.median <= rate.best < math.inf
    path = tmp_path / "peaks.json"
    path.write_text(json.dumps(peaks.to_json()), encoding="utf-8")
    read = read_peaks(path)
    assert read.to_json() == peaks.to_json()
    assert read.machine.bandwidth_gbs == pytest.approx(peaks.machine.bandwidth_gbs, rel=1e-3)
    assert peaks.machine.copy_gbs is None


PEAKS = CpuPeaks(
    cpu="Test CPU",
    threads=3,
    bandwidth_gbs=Rate(best=20.0, median=19.0),
    tflops={Precision.FP32: Rate(best=0.1, median=0.05)},
)


def test_the_command_prints_one_line_that_is_read_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    measure = Mock(return_value=PEAKS)
    monkeypatch.setattr(cpu_peaks, "measure_peaks", measure)
    path = tmp_path / "peaks.json"
    assert cpu_peaks.main(["--threads", "3", "--json", "-o", str(path)]) == 0
    assert measure.call_args.kwargs == {"threads": 3}
    (line,) = capsys.readouterr().out.splitlines()
    assert CpuPeaks.from_json(json.loads(line)) == read_peaks(path) == PEAKS


def test_the_table_has_the_best_and_the_median() -> None:
    assert "fp32       0.100 (0.050) TFLOPS" in cpu_peaks.table(PEAKS)


def test_a_probe_is_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(
        f"#!/bin/sh\n[ \"$5\" = --json ] && echo '{json.dumps(PEAKS.to_json())}'\n", encoding="utf-8"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert probe_peaks(threads=3) == PEAKS


def test_a_probe_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BenchmarkError, match="CPU peaks"):
        probe_peaks(threads=1)


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
