"""The modelled times: sums that can be done by hand, and a picture that says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rvm_trt import Profile
from rvm_trt.errors import OptionError
from rvm_trt.runtime.verification.gantt import draw
from rvm_trt.runtime.verification.gpu_model import CostModel, Gpu, Network, gpus, named_gpu
from rvm_trt.runtime.verification.timeline import Bar, model, simulate

Host = Any  # of conftest.py
# A second for each byte copied or moved, ten for the network, nothing for calls.
SLOW = Gpu(
    name="slow",
    memory_bytes_per_s=1.0,
    macs_per_s=1.0,
    copy_bytes_per_s=1.0,
    kernel_s=0.0,
    call_s=0.0,
    host_copy_bytes_per_s=1.0,
)
COSTS = CostModel(gpu=SLOW, network=Network(macs=10, kernels=1))
HD = Profile.named("hd")


def times(bars: tuple[Bar, ...]) -> dict[str, tuple[float, float]]:
    return {bar.name: (round(bar.start_s, 6), round(bar.end_s, 6)) for bar in bars}


def test_a_stream_works_in_turn_and_the_host_goes_on(host: Host) -> None:
    host.write(host.region("pinned"))
    host.run("in", "upload", writes=(host.region("a"),))
    host.run("in", "sample", reads=(host.region("a", 0, 2),))
    host.write(host.region("pinned"))
    bars = simulate(host.program, COSTS)
    assert [(b.actor, b.start_s, b.end_s) for b in bars] == [
        ("host", 0, 8),
        ("in", 8, 16),
        ("host", 8, 16),
        ("in", 16, 18),
    ]


def test_an_event_makes_a_stream_wait(host: Host) -> None:
    host.run("in", "upload", writes=(host.region("a"),))
    host.record("ready", "in")
    host.wait("net", "ready")
    host.run("net", "core", reads=(host.region("a"),))
    assert times(simulate(host.program, COSTS)) == {"upload": (0, 8), "core": (8, 18)}


def test_the_host_waits_for_what_it_synchronizes(host: Host) -> None:
    host.run("in", "upload", writes=(host.region("a"),))
    host.record("ready", "in")
    host.synchronize("ready")
    host.run("net", "core")
    assert times(simulate(host.program, COSTS))["core"] == (8, 18)


def test_copies_run_beside_kernels_and_kernels_share(host: Host) -> None:
    host.run("in", "upload", writes=(host.region("a"),))
    host.run("out", "download", writes=(host.region("b"),))
    host.run("net", "core")
    assert times(simulate(host.program, COSTS)) == {"upload": (0, 8), "download": (0, 8), "core": (0, 10)}
    host.run("other", "compose", reads=(host.region("c", 0, 4),))
    # Four seconds of work at half speed take eight; the network loses four.
    assert times(simulate(host.program, COSTS))["compose"] == (0, 8)
    assert times(simulate(host.program, COSTS))["core"] == (0, 14)


def test_the_network_takes_the_longer_of_its_arithmetic_and_its_launches() -> None:
    gpu = named_gpu("RTX 4090")
    few = CostModel(gpu=gpu, network=Network(macs=165e12, kernels=1))
    many = CostModel(gpu=gpu, network=Network(macs=1, kernels=100))
    assert few.seconds("core.0", 0, 0) == 1.0
    assert many.seconds("core.0", 0, 0) == pytest.approx(100 * gpu.kernel_s)


@pytest.mark.parametrize("gpu", list(gpus().values()), ids=list(gpus()))
@pytest.mark.parametrize("page_locked", [False, True])
def test_throughput_overlaps_and_is_bounded_by_its_slowest_part(gpu: Gpu, page_locked: bool) -> None:
    profile = Profile.named("4k")
    options: dict[str, Any] = {"host_copies": not page_locked}
    one_by_one = model(profile, gpu, overlap=False, **options)
    two, three = (model(profile, gpu, depth=depth, **options) for depth in (2, 3))
    frame_bytes = 3 * 3840 * 2160
    bound = gpu.copy_bytes_per_s if page_locked else min(gpu.copy_bytes_per_s, gpu.host_copy_bytes_per_s)
    assert 1.5 * one_by_one.fps < two.fps <= three.fps * 1.01
    assert three.fps < bound / frame_bytes
    assert three.fps > 0.85 * bound / frame_bytes
    assert one_by_one.latency_s <= two.latency_s * 1.001
    assert two.latency_s <= three.latency_s * 1.001
    assert one_by_one.busy.get("several", 0) < 0.01
    if page_locked:
        assert two.busy["several"] > 0.8


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_picture_says_that_it_is_modelled(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"timeline.{suffix}"
    draw(model(HD, named_gpu("T4")), path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    if suffix == "svg":
        assert b"modelled, not measured" in content
        assert b"T4, hd, composite" in content


def test_an_unknown_gpu_is_told_which_are_known() -> None:
    with pytest.raises(OptionError, match="RTX 3090"):
        named_gpu("RTX 9999")
