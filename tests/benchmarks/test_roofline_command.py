"""The roofline's command: tables and JSON that say what is modelled, and how far a bench result is from its bounds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import onnx
import pytest

from rvm_trt import Profile
from rvm_trt.benchmarks import roofline
from rvm_trt.benchmarks.cpu_peaks import CpuPeaks, Rate
from rvm_trt.benchmarks.gpus import GPUS
from rvm_trt.export.macs import profile_macs
from rvm_trt.options import Precision

HD = Profile.named("hd")
PEAKS = CpuPeaks(
    cpu="Test CPU",
    threads=2,
    bandwidth_gbs=Rate(best=20, median=19),
    tflops={Precision.FP32: Rate(best=0.1, median=0.1), Precision.BF16: Rate(best=0.4, median=0.3)},
)


def entrant(name: str, precision: str, median_ms: float | None) -> dict[str, Any]:
    frame = None if median_ms is None else {"median_ms": median_ms}
    return {"name": name, "precision": precision, "frame": frame}


@pytest.fixture(autouse=True)
def offline(exported: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "export_graph", Mock(return_value=onnx.load_model(exported(HD))))


@pytest.fixture
def document() -> dict[str, Any]:
    """A bench document of two entrants that ran, one that did not, and one of a precision without a peak."""
    entrants = [
        entrant("pytorch-eager", "fp32", 200.0),
        entrant("pytorch-compile", "fp32", None),
        entrant("rvm-trt-bf16", "bf16", 40.0),
        entrant("rvm-trt-int8", "int8", 30.0),
    ]
    return {
        "schema": 2,
        "benchmark": "rvm-trt bench",
        "environment": {"cpu": "Test CPU", "peaks": PEAKS.to_json()},
        "profiles": [{"name": "hd", "profile": HD.to_json(), "entrants": entrants}],
    }


def written(document: dict[str, Any], folder: Path) -> str:
    path = folder / "result.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def test_every_table_says_that_it_is_modelled(capsys: pytest.CaptureFixture[str]) -> None:
    assert roofline.main(["--profile", "hd", "--gpu", "4090", "--precision", "fp16"]) == 0
    tables = capsys.readouterr().out.strip().split("\n\n")
    assert len(tables) == 3
    assert all("modelled" in table.splitlines()[0] for table in tables)
    assert "GeForce RTX 4090" in tables[0]


def test_the_distance_of_a_bench_result(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "out.json"
    assert roofline.main(["--measured", written(document, tmp_path), "--json", "-o", str(output)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads(output.read_text(encoding="utf-8"))
    assert report["modelled"] is True
    assert len(report["modelled_entries"]) == len(GPUS) * 3
    pytorch, ours = report["modelled_distances"]
    assert (pytorch["entrant"], ours["entrant"]) == ("pytorch-eager", "rvm-trt-bf16")
    # Arithmetic alone: 4.08 GMAC at 0.1 TFLOPS.
    assert pytorch["modelled_kernels_ms"] > pytorch["modelled_ms"] >= 2 * profile_macs(HD) / 0.1e12 * 1e3
    assert pytorch["measured_over_modelled"] == pytest.approx(200 / pytorch["modelled_ms"], abs=1e-3)
    assert ours["modelled_ms"] < pytorch["modelled_ms"]


def test_nodes_and_stages_are_told_in_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert roofline.main(["--profile", "hd", "--gpu", "4090", "--json"]) == 0
    (profile,) = json.loads(capsys.readouterr().out)["profiles"]
    for work in (*profile["modelled_nodes"], *profile["modelled_kernels"]):
        elements = work["weights"] + work["read"] + work["written"]
        assert (work["bytes_fp32"], work["bytes_fp16"]) == (4 * elements, 2 * elements)
    assert sum(work["macs"] for work in profile["modelled_nodes"]) == profile["modelled_macs"]
    assert roofline.main(["--profile", "hd", "--gpu", "4090"]) == 0
    header, _, encoder, *_ = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert header.endswith("| MB in fp32 | MB in fp16 |")
    total = sum(work["bytes_fp16"] for work in profile["modelled_kernels"] if work["stage"] == "encoder")
    assert encoder.endswith(f"| {total / 1e6:.2f} |")


def test_peaks_of_a_file_go_before_the_result_s_own(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    slower = PEAKS.to_json() | {"bandwidth_gbs": {"best": 0.01, "median": 0.01}}
    peaks = tmp_path / "peaks.json"
    peaks.write_text(json.dumps(slower), encoding="utf-8")
    arguments = ["--measured", written(document, tmp_path), "--json"]
    found = []
    for extra in ([], ["--cpu-peaks", str(peaks)]):
        assert roofline.main([*arguments, *extra]) == 0
        found.append(json.loads(capsys.readouterr().out)["modelled_distances"][0]["modelled_ms"])
    assert found[1] > 10 * found[0]


def test_the_table_of_distances_names_both_bounds(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert roofline.main(["--measured", written(document, tmp_path), "--gpu", "4090", "3090"]) == 0
    header, _, first, *_ = capsys.readouterr().out.strip().split("\n\n")[-1].splitlines()
    assert "modelled ideal ms" in header and "modelled kernel by kernel ms" in header
    assert first.startswith("| hd | pytorch-eager | 200.0 |")


def test_a_result_of_a_gpu_is_held_against_the_gpu_that_is_named(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    document["profiles"][0]["entrants"] = [entrant("rvm-trt-fp16", "fp16", 1.0)]
    assert roofline.main(["--measured", written(document, tmp_path), "--gpu", "4090", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (distance,) = report["modelled_distances"]
    assert distance["modelled_ms"] < distance["modelled_kernels_ms"] < 1.0
    assert report["machine"]["name"] == "GeForce RTX 4090"


def test_another_cpu_s_peaks_are_refused(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    document["environment"]["cpu"] = "Other CPU"
    assert roofline.main(["--measured", written(document, tmp_path)]) == 1
    assert "got a result of 'Other CPU', expected one of 'Test CPU'" in capsys.readouterr().err


def test_a_result_without_frame_times_is_refused(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    document["profiles"][0]["entrants"] = [entrant("rvm-trt-int8", "int8", 30.0)]
    assert roofline.main(["--measured", written(document, tmp_path)]) == 1
    assert "got no frame times of hd that Test CPU has peaks for" in capsys.readouterr().err
