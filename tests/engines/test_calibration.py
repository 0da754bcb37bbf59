"""Calibration for INT8: how footage is divided, what may be quantised, and the ranges that are measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from disk_engines import ODD

from rvm_trt import build_engine
from rvm_trt.engines.calibration import calibrate, quantisable
from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.quantise import InputRange
from rvm_trt.errors import OptionError

Array = npt.NDArray[np.float32]
Exported = Callable[..., Path]


@pytest.fixture
def model(exported: Exported) -> onnx.ModelProto:
    return onnx.load_model(exported(ODD))


def numbered(count: int) -> CalibrationFootage:
    """Two clips of flat pictures that can be told apart by their value."""

    def read(width: int, height: int) -> list[list[npt.NDArray[np.uint8]]]:
        return [
            [np.full((height, width, 3), 100 * clip + index, np.uint8) for index in range(count)]
            for clip in range(2)
        ]

    return CalibrationFootage(words={"clips": ["a", "b"]}, read=read)


@pytest.mark.parametrize("count", [8, 16, 37])
def test_footage_is_divided_into_parts_that_share_no_frame(count: int) -> None:
    footage = numbered(count)
    parts = footage.divide(ODD)
    assert parts.words == footage.words
    for clip in range(2):
        values = [
            [round(float(frame[0, 0, 0, 0]) * 255) - 100 * clip for frame in part[clip]]
            for part in (parts.calibration, parts.search, parts.held_out)
        ]
        assert all(values)
        assert [value for part in values for value in part] == list(range(count)), (
            "every frame once, each part a run of consecutive ones"
        )
        assert len(values[2]) >= count // 2
    assert parts.frames == 2 * count
    frame = parts.held_out[0][0]
    assert (frame.shape, frame.dtype) == ((1, 3, ODD.low_height, ODD.low_width), np.float32)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_clip_that_is_too_short_is_refused(count: int, exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=rf"calibration: got {count} frames, expected clips of at least 8"):
        numbered(count).divide(ODD)
    with pytest.raises(OptionError, match=f"got {count} frames"):
        build_engine(
            exported(ODD),
            backend="cpu",
            precision="int8",
            calibration=numbered(count),
            engines=tmp_path / "engines",
        )
    assert not list(tmp_path.rglob("manifest.json"))


def test_footage_without_clips_is_refused() -> None:
    with pytest.raises(OptionError, match="calibration: got 0 frames"):
        CalibrationFootage(words={}, read=lambda *_: []).divide(ODD)


def test_only_the_decoder_s_dense_convolutions_are_candidates(model: onnx.ModelProto) -> None:
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = quantisable(model)
    nodes = {node.name: node for node in model.graph.node if node.op_type == "Conv"}
    assert {f"decoder.decode3.gru.{gate}.0/Conv" for gate in ("ih", "hh")} <= set(found) <= set(nodes)
    for name, tensor in found.items():
        assert nodes[name].input[0] == tensor
        assert min(weights[nodes[name].input[1]][:2]) >= 16, name
    assert not [name for name in found if not name.startswith("decoder.")]
    assert "project_mat.conv/Conv" not in found


@pytest.fixture(scope="module")
def calibrated(exported: Exported, calibration: CalibrationFootage) -> dict[str, InputRange]:
    return calibrate(onnx.load_model(exported(ODD)), ODD, calibration.divide(ODD).calibration)


def test_calibration_gives_every_candidate_a_range_and_repeats(
    calibrated: dict[str, InputRange], model: onnx.ModelProto, calibration: CalibrationFootage
) -> None:
    counted: list[int] = []
    parts = calibration.divide(ODD).calibration
    again = calibrate(model, ODD, parts, progress=lambda: counted.append(1))
    assert again == calibrated
    assert len(counted) == sum(map(len, parts))
    assert set(calibrated) == set(quantisable(model))
    for name, given in calibrated.items():
        assert np.isfinite(given.largest) and given.largest > 0, name


def test_ranges_hold_what_the_convolutions_read_with_states_rolled_out(
    calibrated: dict[str, InputRange], model: onnx.ModelProto, calibration: CalibrationFootage
) -> None:
    inputs = quantisable(model)
    (frames,) = calibration.divide(ODD).calibration
    seen = tensors_over(model, frames, sorted(set(inputs.values())))
    for name, given in calibrated.items():
        values = np.abs(np.concatenate(seen[inputs[name]])).max(axis=(0, 2, 3))
        scales = np.ones(1) if given.scales is None else np.array(given.scales)
        assert given.largest == pytest.approx(float((values / scales).max()), rel=1e-3), name
        means = np.concatenate(seen[inputs[name]]).mean(axis=(0, 2, 3))
        np.testing.assert_allclose(given.means, means, rtol=1e-2, atol=1e-3 * np.abs(values).max())


def tensors_over(model: onnx.ModelProto, frames: Any, names: list[str]) -> dict[str, list[Array]]:
    """Runs the core over frames in ONNX Runtime, states carried, and returns the named tensors of each frame."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [value.name for value in session.get_outputs()]
    states = {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()[1:]}
    seen: dict[str, list[Array]] = {name: [] for name in names}
    for src in frames:
        given = dict(zip(outputs, session.run(None, {"src": src, **states}), strict=True))
        states = {f"r{index}i": given[f"r{index}o"] for index in range(1, 5)}
        for name in names:
            seen[name].append(given[name])
    return seen
