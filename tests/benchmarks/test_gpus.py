"""The published figures of GPUs: that they agree with each other, and with what the boards are made of."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from rvm_trt.benchmarks.gpu import Gpu
from rvm_trt.benchmarks.gpus import GPUS, gpu_named
from rvm_trt.errors import OptionError
from rvm_trt.options import Precision


class Board(NamedTuple):
    """Multiprocessors, boost clock in MHz, and multiply-accumulates of each per clock: FP32, and FP16 in matrices."""

    multiprocessors: int
    clock: int
    fp32: int
    fp16: int | None
    matrix_clock: int | None = None


BOARDS = {
    "1080ti": Board(28, 1582, 128, None),
    "t4": Board(40, 1590, 64, 512),
    "2080ti": Board(68, 1545, 64, 512),
    "3090": Board(82, 1695, 128, 512),
    "4090": Board(128, 2520, 128, 512),
    "5090": Board(170, 2407, 128, 512),
    "l4": Board(58, 2040, 128, 512),
    "a10": Board(72, 1695, 128, 512),
    "a100": Board(108, 1410, 64, 1024),
    "h100-pcie": Board(114, 1755, 128, 2048, 1620),
    "h100-sxm": Board(132, 1980, 128, 2048, 1830),
    "orin": Board(16, 1300, 128, 1024),
}


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.key)
def test_arithmetic_follows_from_units_and_clock(gpu: Gpu) -> None:
    board = BOARDS[gpu.key]
    assert gpu.fp32_tflops == pytest.approx(2e-6 * board.multiprocessors * board.clock * board.fp32, rel=0.01)
    if board.fp16 is None:
        assert gpu.fp16_tflops is gpu.fp16_fast_tflops is None
        assert gpu.int8_tops == pytest.approx(4 * gpu.fp32_tflops)
        return
    fast = 2e-6 * board.multiprocessors * (board.matrix_clock or board.clock) * board.fp16
    assert gpu.fp16_fast_tflops == pytest.approx(fast, rel=0.01)
    assert gpu.int8_tops == pytest.approx(2 * fast, rel=0.01)


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.key)
def test_only_geforce_cards_accumulate_in_fp32_at_half_the_rate(gpu: Gpu) -> None:
    if gpu.fp16_tflops is not None and gpu.fp16_fast_tflops is not None:
        expected = 0.5 if gpu.name.startswith("GeForce") else 1.0
        assert gpu.fp16_tflops / gpu.fp16_fast_tflops == pytest.approx(expected, rel=0.01)


def test_the_gpus_of_the_report_are_there() -> None:
    named = (
        "1080ti",
        "t4",
        "2080ti",
        "3090",
        "4090",
        "5090",
        "l4",
        "a10",
        "a100",
        "h100-pcie",
        "h100-sxm",
        "orin",
    )
    assert tuple(gpu.key for gpu in GPUS) == named


def test_a_gpu_without_half_units_computes_halves_as_singles() -> None:
    machine = gpu_named("1080ti").machine
    assert machine.tflops[Precision.FP16] == machine.tflops[Precision.FP32]


@pytest.mark.parametrize(("key", "gbs"), [("t4", 14.3), ("4090", 28.6), ("5090", 57.2), ("orin", None)])
def test_a_copy_reaches_nine_tenths_of_its_link(key: str, gbs: float | None) -> None:
    assert gpu_named(key).pcie_gbs == (None if gbs is None else pytest.approx(gbs, abs=0.1))


def test_video_rates_shrink_with_the_frame() -> None:
    decoder = gpu_named("4090").decoder
    assert decoder is not None
    rates = [decoder.fps("hevc", width=1920 * k, height=1080 * k) for k in (1, 2)]
    assert rates[0] == 4 * (rates[1] or 0)


def test_an_unknown_gpu_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match="got '9090', expected one of 1080ti, t4"):
        gpu_named("9090")
