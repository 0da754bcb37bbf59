"""The modelled least time of a frame on a CPU: from measured peaks, in the bench document, for our own entrants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import onnx
import pytest

from rvm_trt import Profile
from rvm_trt.benchmarks import roofline_cpu
from rvm_trt.benchmarks.cpu_peaks import CpuPeaks, Rate
from rvm_trt.benchmarks.roofline_cpu import add_bounds, cpu_bound
from rvm_trt.benchmarks.roofline_graph import Network, read_network
from rvm_trt.export.macs import profile_macs
from rvm_trt.options import Precision

HD, UHD = Profile.named("hd"), Profile.named("4k")


def peaks(*, bandwidth: float = 20.0, **tflops: float) -> CpuPeaks:
    """Peaks in GB/s and TFLOPS; FP32 at 0.1 unless told."""
    rates = {"fp32": 0.1, **tflops}
    return CpuPeaks(
        cpu="Test CPU",
        threads=2,
        bandwidth_gbs=Rate(best=bandwidth, median=bandwidth),
        tflops={Precision(word): Rate(best=value, median=value) for word, value in rates.items()},
    )


@pytest.fixture(scope="module")
def network(exported: Callable[..., Path]) -> Network:
    """What the core of HD and 4K asks for."""
    return read_network(onnx.load_model(exported(HD)))


def modelled(profile: Profile, precision: Precision, given: CpuPeaks, network: Network) -> tuple[float, str]:
    bound = cpu_bound(profile, precision, peaks=given, network=network)
    assert bound is not None
    return bound["modelled_ms"], bound["limit"]


def test_arithmetic_bounds_a_slow_processor(network: Network) -> None:
    # 4.08 GMAC of the core at 0.1 TFLOPS; sample and compose take a little.
    time_ms, limit = modelled(HD, Precision.FP32, peaks(), network)
    assert limit == "compute"
    assert time_ms == pytest.approx(2 * profile_macs(HD) / 0.1e12 * 1e3, rel=0.03)
    assert modelled(HD, Precision.FP32, peaks(fp32=0.2), network)[0] == pytest.approx(time_ms / 2, rel=1e-4)


def test_memory_bounds_a_fast_one(network: Network) -> None:
    fast = peaks(fp32=1e3, bandwidth=1.0)
    time_ms, limit = modelled(UHD, Precision.FP32, fast, network)
    assert limit == "memory"
    # The frame, the composite and the weights, each once.
    assert time_ms > (2 * 3 * 3840 * 2160 + 4 * network.parameters) / 1e9 * 1e3
    assert modelled(HD, Precision.FP32, fast, network)[0] < time_ms


def test_smaller_numbers_are_faster(network: Network) -> None:
    given = peaks(bf16=0.2, int8=0.8)
    single, half, quarter = (
        modelled(HD, p, given, network)[0] for p in (Precision.FP32, Precision.BF16, Precision.INT8)
    )
    assert half < 0.6 * single
    assert quarter < 0.7 * half
    # What is not quantised is bfloat16, and FP32 on a processor without.
    assert quarter < 0.7 * modelled(HD, Precision.INT8, peaks(int8=0.8), network)[0] < 0.5 * single


def test_without_a_peak_there_is_no_bound(network: Network) -> None:
    assert cpu_bound(HD, Precision.BF16, peaks=peaks(), network=network) is None
    assert cpu_bound(HD, Precision.FP32, peaks=None, network=network) is None


def entrant(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "group": "rvm-trt",
        "precision": "fp32",
        "frame": {"median_ms": 100.0},
        "gpu": None,
        **fields,
    }


@pytest.fixture
def exports(exported: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Stands for the export of a core, which takes five seconds."""
    export = Mock(return_value=onnx.load_model(exported(HD)))
    monkeypatch.setattr(roofline_cpu, "export_graph", export)
    return export


def document(entrants: list[dict[str, Any]], environment: dict[str, Any]) -> dict[str, Any]:
    return {
        "environment": environment,
        "profiles": [
            {"profile": profile.to_json(), "entrants": [dict(one) for one in entrants]}
            for profile in (HD, UHD)
        ],
    }


def test_our_entrants_on_the_cpu_get_their_bounds(exports: Mock) -> None:
    ran = entrant("rvm-trt-fp32")
    others = [
        entrant("pytorch-eager", group="pytorch"),
        entrant("rvm-trt-bf16", precision="bf16"),
        entrant("rvm-trt-int8", frame=None),
        entrant("rvm-trt-fp16", gpu={"name": "T4"}),
    ]
    result = document([ran, *others], {"peaks": peaks(int8=0.8).to_json()})
    add_bounds(result)
    for entry in result["profiles"]:
        ours, *rest = entry["entrants"]
        assert [one["bound"] for one in rest] == [None] * 4
        assert ours["bound"]["limit"] == "compute"
        expected = 100 / ours["bound"]["modelled_ms"]
        assert ours["bound"]["measured_over_modelled"] == pytest.approx(expected, abs=1e-3)
    assert exports.call_count == 1  # HD and 4K run one network


def test_a_document_without_peaks_has_no_bounds(exports: Mock) -> None:
    result = document([entrant("rvm-trt-fp32")], {})
    add_bounds(result)
    assert [entry["entrants"][0]["bound"] for entry in result["profiles"]] == [None, None]
    assert not exports.called


def test_a_network_is_exported_where_none_is_given(exports: Mock) -> None:
    assert cpu_bound(HD, Precision.FP32, peaks=peaks()) is not None
    assert exports.call_count == 1
