"""The head kernel, run on the CPU under sanitizers, against the reference and the network in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cuda_reference as reference
import numpy as np
import numpy.typing as npt
import pytest
from cuda_host import HostKernels
from cuda_jobs import compose_job, head_job, sample_job

from rvm_trt.options import Refiner
from rvm_trt.profile import Profile
from rvm_trt.runtime.head_weights import HEAD_LAYOUT, head_names
from rvm_trt.runtime.kernel_variants import all_variants
from rvm_trt.runtime.pixels import PixelFormat

Array = npt.NDArray[Any]
REFINERS = [Refiner.DEEP, Refiner.FAST, None]
# Tiles with one row or column left over, a single tile that is not full, and several frames at once.
PROFILES = [
    Profile(width=65, height=33, ratio=1.0),
    Profile(width=33, height=17, ratio=1.0),
    Profile(width=64, height=40, ratio=1.0, batch=3),
]


def weights(refiner: Refiner | None) -> dict[str, Array]:
    generator = np.random.default_rng(5)
    scales = {"box.weight": 1 / 9, "mlp.0.weight": 0.3, "mlp.1.weight": 0.3}
    return {
        name: (generator.standard_normal(HEAD_LAYOUT[name]) * scales.get(name, 0.5)).astype(np.float32)
        for name in head_names(refiner)
    }


def tensors(profile: Profile, kind: type) -> tuple[Array, Array]:
    """Random ``hid``, half of it zero as after a ReLU, and a ``src`` with edges and noise."""
    generator = np.random.default_rng(6)
    size = (profile.batch, profile.low_height, profile.low_width)
    hid = np.maximum(generator.standard_normal((*size, 16)), 0).astype(kind)
    src = generator.random((size[0], 3, *size[1:]))
    src[..., : size[2] // 2] *= 0.2
    return hid, src.astype(kind)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("refiner", REFINERS)
def test_every_refiner_gives_the_reference(host: HostKernels, refiner: Refiner | None, kind: type) -> None:
    given = weights(refiner)
    inputs = [tensors(profile, kind) for profile in PROFILES]
    jobs = [head_job(p, *i, given, refiner) for p, i in zip(PROFILES, inputs, strict=True)]
    host.run(*jobs)
    for done, (hid, src) in zip(jobs, inputs, strict=True):
        slope, intercept = reference.head(given, hid, src, refiner.value if refiner else "none")
        for name, expected in (("A", slope), ("b", intercept)):
            np.testing.assert_allclose(done.memory.read(name), expected, rtol=2e-4, atol=2e-5, err_msg=name)
        done.memory.check()


def test_outside_the_picture_the_networks_output_counts_as_zero(host: HostKernels) -> None:
    # With a bias and no hidden channels y is 1 everywhere inside. The sum of a box is then the count of its pixels.
    profile = PROFILES[1]
    given = {"project.weight": np.zeros((4, 16), np.float32), "project.bias": np.ones(4, np.float32)}
    hid, src = np.zeros((1, 17, 33, 16), np.float32), np.zeros((1, 3, 17, 33), np.float32)
    done = head_job(profile, hid, src, given, Refiner.FAST)
    host.run(done)
    counts = np.full((17, 33), 9)
    counts[[0, -1]], counts[:, [0, -1]] = 6, 6
    counts[[0, 0, -1, -1], [0, -1, 0, -1]] = 4
    np.testing.assert_allclose(done.memory.read("b")[0, 3], counts / 9, rtol=1e-6)


def test_threads_of_a_block_never_race(tmp_path: Path) -> None:
    profile = PROFILES[0]
    host = HostKernels(
        tmp_path,
        variants=[v for v in all_variants() if v.name in ("head-deep-half", "compose-nv12-nv12")],
        sanitizers=("-fsanitize=thread",),
    )
    hid, src = tensors(profile, np.float16)
    done = head_job(profile, hid, src, weights(Refiner.DEEP), Refiner.DEEP)
    frame = reference.picture(PixelFormat.NV12, 65, 33, 1)
    maps = np.zeros((2, 4, 33, 65), np.float32)
    composed = compose_job(
        profile, frame, PixelFormat.NV12, (maps[0], maps[1]), composite_format=PixelFormat.NV12
    )
    host.run(done, composed)
    assert np.isfinite(done.memory.read("A")).all()


def head_weights(network: Any) -> dict[str, Array]:
    """The head's weights of a network in PyTorch, BatchNorm folded."""
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    named = {
        "project.weight": state["project_mat.conv.weight"].reshape(4, 16),
        "project.bias": state["project_mat.conv.bias"],
    }
    if network.refiner_kind is Refiner.FAST:
        return named
    named["box.weight"] = state["refiner.box_filter.weight"].reshape(4, 3, 3)
    for layer, (conv, norm) in enumerate(((0, 1), (3, 4))):
        norms = {
            key: state[f"refiner.conv.{norm}.{key}"]
            for key in ("weight", "bias", "running_mean", "running_var")
        }
        scale = norms["weight"] / np.sqrt(norms["running_var"] + 1e-5)
        matrix = state[f"refiner.conv.{conv}.weight"]
        named[f"mlp.{layer}.weight"] = matrix.reshape(16, -1) * scale[:, None]
        named[f"mlp.{layer}.bias"] = norms["bias"] - norms["running_mean"] * scale
    named["mlp.2.weight"] = state["refiner.conv.6.weight"].reshape(4, 16)
    named["mlp.2.bias"] = state["refiner.conv.6.bias"]
    return named


@pytest.mark.parametrize(
    ("refiner", "ratio"), [(Refiner.DEEP, 0.6), (Refiner.FAST, 0.6), (Refiner.DEEP, 1.0)]
)
def test_the_three_kernels_around_the_decoder_give_the_networks_matte(
    host: HostKernels, steady_state_dict: Callable[..., dict[str, Any]], refiner: Refiner, ratio: float
) -> None:
    import torch

    from rvm_trt.export.model import MattingNetwork

    profile = Profile(width=161, height=97, ratio=ratio, refiner=refiner)
    network = MattingNetwork("mobilenetv3", refiner.value).eval()
    network.load_state_dict(steady_state_dict("mobilenetv3", refiner.value))
    (frame,) = reference.picture(PixelFormat.RGB8, 161, 97, 2)
    sampled = sample_job(profile, [frame], PixelFormat.RGB8)
    host.run(sampled)
    hidden: list[torch.Tensor] = []
    network.project_mat.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    with torch.inference_mode():
        source = torch.from_numpy(frame.transpose(2, 0, 1).copy())[None] / 255
        fgr, pha, *_ = network(source, downsample_ratio=ratio)
    hid = np.ascontiguousarray(hidden[0].numpy().transpose(0, 2, 3, 1))
    used = refiner if profile.uses_refiner else None
    given = {name: value for name, value in head_weights(network).items() if name in head_names(used)}
    headed = head_job(profile, hid, sampled.memory.read("src")[None], given, used)
    host.run(headed)
    maps = headed.memory.read("A")[0], headed.memory.read("b")[0]
    composed = compose_job(profile, [frame], PixelFormat.RGB8, maps, wanted=("pha", "fgr"))
    host.run(composed)
    for name, expected in (("fgr0", fgr), ("pha0", pha)):
        level = expected[0].numpy().transpose(1, 2, 0).astype(np.float64) * 255
        got = composed.memory.read(name).reshape(level.shape)
        # Half a level is rounding. The fast filter divides by small variances, which magnifies single precision's.
        assert np.abs(got - level).max() < (0.6 if refiner is Refiner.FAST else 0.51)
        assert (got > 0).mean() > 0.02
