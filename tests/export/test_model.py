"""The network against the original implementation's outputs, and its own promises about clips, batches and states."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from rvm_trt.errors import OptionError
from rvm_trt.export.model import MattingNetwork

StateDicts = Callable[..., dict[str, Any]]
Frames = Callable[..., list[npt.NDArray[np.uint8]]]
FAST = "fast_guided_filter"
# Rounding of the stored values, on top of which two float32 implementations differ.
HALF = 2.0**-11
SEEDED = [
    ("seeded_mobilenetv3_160x96_r0.5_dgf", 5e-4),
    ("seeded_mobilenetv3_161x97_odd_r0.6_dgf", 5e-4),
    ("seeded_mobilenetv3_161x97_odd_r0.6_fgf", 1.5e-3),
    ("seeded_mobilenetv3_70x90_r1", 5e-4),
    ("seeded_resnet50_161x97_odd_r0.6_dgf", 5e-4),
    ("seeded_resnet50_70x90_r1", 5e-4),
]
FOOTAGE = [
    ("full_body_512x288_r1", 1e-4),
    ("odd_417x235_r0.6_dgf", 1e-4),
    ("odd_417x235_r0.6_fgf", 1.5e-3),
    ("upper_body_640x480_r0.5_dgf", 1e-4),
]


def to_tensor(frame: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255


def network(
    state: dict[str, Any], variant: str = "mobilenetv3", refiner: str = "deep_guided_filter"
) -> MattingNetwork:
    model = MattingNetwork(variant, refiner)
    strict = refiner != FAST  # the official checkpoint also holds the deep guided filter
    model.load_state_dict(state, strict=strict)
    return model.eval()


def assert_golden(path: Path, model: MattingNetwork, tolerance: float) -> None:
    data = np.load(path)
    keep, states = data["keep"].tolist(), [None] * 4
    for index, frame in enumerate(data["frames"]):
        with torch.inference_mode():
            fgr, pha, *states = model(to_tensor(frame), *states, float(data["downsample_ratio"]))
        if index not in keep:
            continue
        stored = keep.index(index)
        difference = np.abs(pha[0, 0].numpy() - data["pha"][stored].astype(np.float32))
        assert difference.max() <= tolerance, f"pha of frame {index}: {difference.max()}"
        levels = np.rint(fgr[0].permute(1, 2, 0).numpy() * 255) - data["fgr"][stored].astype(np.float32)
        assert np.abs(levels).max() <= 1, f"fgr of frame {index}"
    for number, state in enumerate(states, start=1):
        difference = np.abs(state[0].numpy() - data[f"r{number}"].astype(np.float32))
        assert difference.max() <= HALF + 2e-3, f"r{number}: {difference.max()}"


@pytest.mark.parametrize(("name", "tolerance"), SEEDED)
def test_seeded_goldens(name: str, tolerance: float, golden: Path, seeded_state_dict: StateDicts) -> None:
    data = np.load(golden / f"{name}.npz")
    variant, refiner = str(data["variant"]), str(data["refiner"])
    assert_golden(
        golden / f"{name}.npz", network(seeded_state_dict(variant, refiner), variant, refiner), tolerance
    )


@pytest.mark.shared
@pytest.mark.parametrize(("name", "tolerance"), FOOTAGE)
def test_footage_goldens(name: str, tolerance: float, shared: Path, real_checkpoint: Path) -> None:
    data = np.load(shared / "golden" / f"{name}.npz")
    state = torch.load(real_checkpoint, weights_only=True)
    assert_golden(shared / "golden" / f"{name}.npz", network(state, refiner=str(data["refiner"])), tolerance)


@pytest.mark.parametrize("variant", ["mobilenetv3", "resnet50"])
def test_the_state_dict_is_that_of_the_official_checkpoints(variant: str, golden: Path) -> None:
    expected = json.loads((golden / f"{variant}_checkpoint_keys.json").read_text())
    with torch.device("meta"):
        state = MattingNetwork(variant).state_dict()
    assert list(state) == list(expected)
    assert {key: list(value.shape) for key, value in state.items()} == expected


@pytest.mark.parametrize(("variant", "count"), [("mobilenetv3", 3_748_633), ("resnet50", 26_890_461)])
def test_the_parameter_count_is_the_official_one(variant: str, count: int) -> None:
    with torch.device("meta"):
        model = MattingNetwork(variant)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_the_fast_filter_adds_no_weights() -> None:
    with torch.device("meta"):
        deep, fast = MattingNetwork(), MattingNetwork(refiner=FAST)
    assert list(fast.state_dict()) == [key for key in deep.state_dict() if not key.startswith("refiner.")]


def test_a_new_deep_filter_starts_as_a_mean() -> None:
    weight = MattingNetwork().state_dict()["refiner.box_filter.weight"]
    torch.testing.assert_close(weight, torch.full((4, 1, 3, 3), 1 / 9))


@pytest.fixture(scope="module")
def steady(steady_state_dict: StateDicts) -> MattingNetwork:
    return network(steady_state_dict())


@pytest.fixture(scope="module")
def clip(moving_frames: Frames) -> Tensor:
    """Three frames, (1, 3, 3, 97, 161)."""
    return torch.stack([to_tensor(frame) for frame in moving_frames(161, 97, 3)], dim=1)


def run(model: MattingNetwork, *args: Any) -> tuple[Tensor, ...]:
    with torch.inference_mode():
        result: tuple[Tensor, ...] = model(*args)
    return result


@pytest.mark.parametrize("ratio", [0.6, 1.0])
def test_a_clip_is_its_frames_one_by_one(steady: MattingNetwork, clip: Tensor, ratio: float) -> None:
    fgr, pha, *states = run(steady, clip, None, None, None, None, ratio)
    assert (fgr.shape, pha.shape) == ((1, 3, 3, 97, 161), (1, 3, 1, 97, 161))
    carried: list[Tensor | None] = [None] * 4
    for index in range(3):
        one_fgr, one_pha, *carried = run(steady, clip[:, index], *carried, ratio)
        torch.testing.assert_close(fgr[:, index], one_fgr, atol=0, rtol=0)
        torch.testing.assert_close(pha[:, index], one_pha, atol=0, rtol=0)
    for got, expected in zip(states, carried, strict=True):
        assert got.ndim == 4
        torch.testing.assert_close(got, expected, atol=0, rtol=0)


def test_states_matter_and_none_means_zeros(steady: MattingNetwork, clip: Tensor) -> None:
    first = run(steady, clip[:, 0], None, None, None, None, 0.6)
    zeros = [torch.zeros_like(state) for state in first[2:]]
    for got, expected in zip(run(steady, clip[:, 0], *zeros, 0.6), first, strict=True):
        torch.testing.assert_close(got, expected, atol=0, rtol=0)
    again = run(steady, clip[:, 0], *first[2:], 0.6)
    assert (again[1] - first[1]).abs().max() > 0.01


def test_only_the_given_states_count(steady: MattingNetwork, clip: Tensor) -> None:
    states = run(steady, clip[:, 0], None, None, None, None, 0.6)[2:]
    mixed = run(steady, clip[:, 1], None, states[1], None, states[3], 0.6)
    zeros = [torch.zeros_like(state) for state in states]
    expected = run(steady, clip[:, 1], zeros[0], states[1], zeros[2], states[3], 0.6)
    torch.testing.assert_close(mixed[1], expected[1], atol=0, rtol=0)


def test_a_batch_is_its_videos_one_by_one(steady: MattingNetwork, clip: Tensor) -> None:
    batch = torch.cat([clip, clip.flip(1)])
    got = run(steady, batch, None, None, None, None, 0.6)
    for index in range(2):
        alone = run(steady, batch[index : index + 1], None, None, None, None, 0.6)
        for whole, part in zip(got, alone, strict=True):
            torch.testing.assert_close(whole[index : index + 1], part, atol=1e-4, rtol=0)


def test_at_ratio_1_the_refiner_does_not_run(
    steady: MattingNetwork, steady_state_dict: StateDicts, clip: Tensor
) -> None:
    other = {
        key: value * 3 if key.startswith("refiner.") else value for key, value in steady_state_dict().items()
    }
    changed = network(other)
    at_1 = [run(model, clip[:, 0])[1] for model in (steady, changed)]
    torch.testing.assert_close(at_1[0], at_1[1], atol=0, rtol=0)
    refined = [run(model, clip[:, 0], None, None, None, None, 0.6)[1] for model in (steady, changed)]
    assert (refined[0] - refined[1]).abs().max() > 0.01


def test_outputs_are_clamped_and_vary(steady: MattingNetwork, clip: Tensor) -> None:
    fgr, pha, *_ = run(steady, clip, None, None, None, None, 0.6)
    for output in (fgr, pha):
        assert float(output.min()) >= 0
        assert float(output.max()) <= 1
        assert float(output.std()) > 0.05


@pytest.mark.parametrize(
    "shape", [(3, 96, 160), (1, 4, 96, 160), (96, 160, 3), (1, 96, 160, 3), (1, 1, 1, 3, 96, 160)]
)
def test_other_ranks_and_channel_counts_are_refused(steady: MattingNetwork, shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=r"\(B, 3, H, W\) or \(B, T, 3, H, W\)"):
        steady(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 0, 3, 96, 160), (0, 3, 96, 160), (1, 3, 0, 160)])
def test_empty_input_is_refused(steady: MattingNetwork, shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="no empty dimension"):
        steady(torch.zeros(shape))


@pytest.mark.parametrize("ratio", [0, -1, 1.5, float("nan")])
def test_other_ratios_are_refused(steady: MattingNetwork, ratio: float) -> None:
    with pytest.raises(OptionError, match="downsample_ratio"):
        steady(torch.zeros(1, 3, 96, 160), downsample_ratio=ratio)


@pytest.mark.parametrize(("variant", "refiner"), [("resnet18", "deep_guided_filter"), ("resnet50", "none")])
def test_unknown_kinds_are_refused(variant: str, refiner: str) -> None:
    with pytest.raises(OptionError):
        MattingNetwork(variant, refiner)
