"""The authors' 8-bit web model (a TensorFlow.js graph model), converted to the official state dict.

The model stores each tensor as uint8 with one minimum and one scale: ``value = q · scale + min``. BatchNorm
is folded into the convolutions, except in the three dilated depthwise layers, where it stands beside them.
The graph's gates (r, z), concatenations (``[x, h]``, ``[x, r·h]``, ``[x, f_k, s_k]``) and output (residual,
alpha) are in the order of the state dict, so only the axes of the kernels move.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rvm_trt.errors import WeightsError
from rvm_trt.export.checkpoint import empty_value, expected_shapes
from rvm_trt.options import Refiner, Variant
from rvm_trt.untrusted import parse_json, shown

MAX_JSON_BYTES = 8 << 20
MAX_BIN_BYTES = 8 << 20
_MAX_DIMENSION = 1 << 16
_ROOT = "StatefulPartitionedCall/matting_network_wrapper/StatefulPartitionedCall"
_ENCODER_EPS, _EPS = 1e-3, 1e-5
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Rows of MobileNetV3-Large: the first has no expansion, these have squeeze-and-excitation, these are dilated.
_ROWS = range(1, 16)
_EXCITED_ROWS = frozenset({4, 5, 6, *range(11, 16)})
_DILATED_ROWS = frozenset({13, 14, 15})

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """One convolution: where it is in the state dict and in the web model.

    Attributes:
        key: prefix of the convolution in the state dict.
        weight: name of its kernel in the web model.
        bias: name of its bias, or of the folded BatchNorm's offset, if it has one.
        norm: prefix of its BatchNorm in the state dict, if it has one.
        scale: name of the BatchNorm's factor, where it is not folded.
        depthwise: whether the kernel is (H, W, C, 1) rather than (H, W, in, out).
        eps: epsilon of that BatchNorm.
    """

    key: str
    weight: str
    bias: str | None = None
    norm: str | None = None
    scale: str | None = None
    depthwise: bool = False
    eps: float = _EPS


def convert_web_model(model: bytes, *, weights: bytes) -> dict[str, Tensor]:
    """Converts the web model to the state dict of mobilenetv3 with the fast guided filter.

    Args:
        model: content of ``rvm.json``.
        weights: content of ``rvm.bin``.

    Returns:
        Every key of the official state dict but ``refiner.*``, float32. BatchNorms are identities but for
        their bias (and, where dilated, their weight). ``project_seg``, which the web model lacks, is zero.

    Raises:
        WeightsError: the model is malformed, its sizes disagree, or it is not this network.
    """
    arrays = read_arrays(model, weights=weights)
    _check_normalisation(arrays)
    shapes = expected_shapes(Variant.MOBILENETV3, refiner=Refiner.FAST)
    state_dict = {key: empty_value(key, shape=shape) for key, shape in shapes.items()}
    for layer in _layers():
        for key, value in _converted(layer, arrays):
            if tuple(value.shape) != shapes[key]:
                raise _malformed(f"shape {tuple(value.shape)} for {key}", expected=f"{shapes[key]}")
            state_dict[key] = torch.from_numpy(value)
    return state_dict


def read_arrays(model: bytes, *, weights: bytes) -> dict[str, Array]:
    """Returns the floating-point tensors of a TensorFlow.js model by name, dequantised to float32.

    Raises:
        WeightsError: the JSON is malformed, a shape or a range is not sane, or the sizes do not add up to the
            length of ``weights``.
    """
    if len(model) > MAX_JSON_BYTES or len(weights) > MAX_BIN_BYTES:
        raise _malformed(f"{len(model)} + {len(weights)} bytes", expected="a model of a few MB")
    arrays: dict[str, Array] = {}
    names: set[str] = set()
    offset = 0
    for entry in _entries(model):
        name, shape, item_bytes = _described(entry)
        end = offset + math.prod(shape) * item_bytes
        if end > len(weights):
            raise _malformed(
                f"{len(weights)} bytes of weights", expected=f"at least {end}, to hold {shown(name)}"
            )
        if name in names:
            raise _malformed(f"two weights named {shown(name)}", expected="each name once")
        names.add(name)
        if entry["dtype"] == "float32":
            arrays[name] = _dequantised(entry, name, weights[offset:end]).reshape(shape)
        offset = end
    if offset != len(weights):
        raise _malformed(f"{len(weights)} bytes of weights", expected=f"{offset}, as the manifest says")
    return arrays


def _entries(model: bytes) -> list[Any]:
    try:
        manifest = parse_json(model)["weightsManifest"]
        groups = [group["weights"] for group in manifest]
    except (ValueError, TypeError, LookupError) as error:
        raise _malformed(
            f"a description that does not parse ({shown(str(error))})",
            expected="a TensorFlow.js graph model with a weightsManifest",
        ) from None
    if len(groups) != 1 or not isinstance(groups[0], list):
        raise _malformed("other groups of weights", expected="one list")
    return groups[0]


def _described(entry: Any) -> tuple[str, tuple[int, ...], int]:
    """Returns name, shape and bytes per item of one manifest entry."""
    try:
        name, shape, dtype = entry["name"], tuple(entry["shape"]), entry["dtype"]
        stored = entry["quantization"]["dtype"] if "quantization" in entry else dtype
        item_bytes = {"float32/uint8": 1, "int32/int32": 4, "bool/bool": 1}[f"{dtype}/{stored}"]
    except (TypeError, LookupError):
        raise _malformed(
            f"the weight {shown(str(entry))}", expected="a name, a shape, and float32 stored as uint8"
        ) from None
    sane = all(type(side) is int and 0 <= side <= _MAX_DIMENSION for side in shape) and len(shape) <= 4
    if not isinstance(name, str) or not sane:
        raise _malformed(
            f"the weight {shown(str(entry))}", expected=f"up to 4 dimensions of at most {_MAX_DIMENSION}"
        )
    return name, shape, item_bytes


def _dequantised(entry: Mapping[str, Any], name: str, content: bytes) -> Array:
    scale, minimum = entry["quantization"].get("scale"), entry["quantization"].get("min")
    sane = all(type(number) in (int, float) and abs(number) < 1e6 for number in (scale, minimum))
    if not sane:  # NaN compares false, and is refused as well
        raise _malformed(
            shown(f"scale {scale!r} and min {minimum!r} for {name}"), expected="two finite numbers"
        )
    stored = np.frombuffer(content, dtype=np.uint8).astype(np.float64)
    return (stored * float(scale) + float(minimum)).astype(np.float32)


def _check_normalisation(arrays: Mapping[str, Array]) -> None:
    """Checks that the graph normalises its input as the network does, up to the steps of its 8 bits."""
    mean = _array(arrays, f"{_ROOT}/mobile_net_v3_encoder/Const")
    inverse = _array(arrays, f"ConstantFolding/{_ROOT}/mobile_net_v3_encoder/truediv_recip")
    expected = np.array([_MEAN, 1 / np.array(_STD)])
    if mean.shape != (3,) or inverse.shape != (3,):
        raise _malformed(f"input mean {mean.shape} and 1/std {inverse.shape}", expected="three values each")
    if not np.allclose([mean, inverse], expected, atol=2e-3):
        raise _malformed(
            f"input mean {mean.tolist()} and 1/std {inverse.tolist()}",
            expected=f"{expected.round(3).tolist()}",
        )


def _converted(layer: _Layer, arrays: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Yields the state dict's entries of one layer."""
    kernel = _array(arrays, layer.weight)
    if kernel.ndim != 4:
        raise _malformed(f"{kernel.ndim} dimensions for {layer.weight}", expected="4")
    # Dense kernels are HWIO, depthwise ones HWC1; both C1HW and OIHW keep height and width last.
    axes = (2, 3, 0, 1) if layer.depthwise else (3, 2, 0, 1)
    yield f"{layer.key}.weight", np.ascontiguousarray(kernel.transpose(axes))
    bias = _array(arrays, layer.bias) if layer.bias else None
    if layer.norm is None:
        if bias is not None:
            yield f"{layer.key}.bias", bias
        return
    assert bias is not None
    yield f"{layer.norm}.bias", bias
    yield f"{layer.norm}.weight", _array(arrays, layer.scale) if layer.scale else np.ones_like(bias)
    yield f"{layer.norm}.running_mean", np.zeros_like(bias)
    # sqrt(running_var + eps) is then exactly 1 in float32.
    yield f"{layer.norm}.running_var", np.full_like(bias, 1 - layer.eps)


def _layers() -> Iterator[_Layer]:
    """Yields every convolution of the network, in the order of the web model's numbering."""
    conv2d, activation, excitation = _Numbered("conv2d"), _Numbered("conv_bn_activation"), count()
    encoder = f"{_ROOT}/mobile_net_v3_encoder"
    yield _normed("backbone.features.0", f"{encoder}/{activation()}/{conv2d()}", eps=_ENCODER_EPS)
    for row in _ROWS:
        scope = f"{encoder}/{_name('inverted_residual', row - 1)}/{_name('sequential', row - 1)}"
        yield from _row(row, scope, conv2d, activation, excitation)
    yield _normed("backbone.features.16", f"{encoder}/{activation()}/{conv2d()}", eps=_ENCODER_EPS)
    yield _normed("aspp.aspp1", f"{_ROOT}/lraspp/sequential_15/{conv2d()}")
    yield _Layer(key="aspp.aspp2.1", weight=f"{_ROOT}/lraspp/{conv2d()}/Conv2D/ReadVariableOp")
    yield from _decoder(conv2d)
    yield _biased("project_mat.conv", f"{_ROOT}/{conv2d()}")


def _row(
    row: int, scope: str, conv2d: _Numbered, activation: _Numbered, excitation: Iterator[int]
) -> Iterator[_Layer]:
    """Yields one inverted residual: expansion, depthwise, squeeze-and-excitation, projection."""
    block = (f"backbone.features.{row}.block.{index}" for index in count())
    if row != _ROWS[0]:
        yield _normed(next(block), f"{scope}/{activation()}/{conv2d()}", eps=_ENCODER_EPS)
    yield _depthwise(row, next(block), f"{scope}/{activation()}")
    if row in _EXCITED_ROWS:
        key, inner = next(block), f"{scope}/{_name('squeeze_excitation', next(excitation))}"
        yield _biased(f"{key}.fc1", f"{inner}/{conv2d()}")
        yield _biased(f"{key}.fc2", f"{inner}/{conv2d()}")
    yield _normed(next(block), f"{scope}/{activation()}/{conv2d()}", eps=_ENCODER_EPS)


def _depthwise(row: int, key: str, scope: str) -> _Layer:
    conv = f"{scope}/{_name('depthwise_conv2d', row - 1)}"
    weight, bias, scale = f"{conv}/depthwise_weights", f"{conv}/depthwise_bn_offset", None
    if row in _DILATED_ROWS:
        # The BatchNorm carries the number of its conv_bn_activation.
        norm = f"{scope}/batch_normalization_{scope.rpartition('_')[2]}/FusedBatchNormV3"
        weight, bias, scale = f"{conv}/depthwise/ReadVariableOp", f"{norm}/Offset", f"{norm}/Scaled"
    return _Layer(
        key=f"{key}.0",
        weight=weight,
        bias=bias,
        norm=f"{key}.1",
        scale=scale,
        depthwise=True,
        eps=_ENCODER_EPS,
    )


def _decoder(conv2d: _Numbered) -> Iterator[_Layer]:
    scope = f"{_ROOT}/recurrent_decoder"
    yield _biased("decoder.decode4.gru.ih.0", f"{scope}/bottleneck_block/conv_gru/{conv2d()}")
    yield _biased("decoder.decode4.gru.hh.0", f"{scope}/bottleneck_block/conv_gru/{conv2d()}")
    for index in range(3):
        key, block = f"decoder.decode{3 - index}", f"{scope}/{_name('upsampling_block', index)}"
        yield _normed(f"{key}.conv", f"{block}/sequential_{16 + index}/{conv2d()}")
        yield _biased(f"{key}.gru.ih.0", f"{block}/conv_gru_{index + 1}/{conv2d()}")
        yield _biased(f"{key}.gru.hh.0", f"{block}/conv_gru_{index + 1}/{conv2d()}")
    output = f"{scope}/output_block/sequential_19"
    yield _normed("decoder.decode0.conv", f"{output}/{conv2d()}")
    yield _normed("decoder.decode0.conv", f"{output}/{conv2d()}", index=3)


def _normed(key: str, scope: str, *, index: int = 0, eps: float = _EPS) -> _Layer:
    """A convolution with a folded BatchNorm, at ``index`` and ``index + 1`` of its block."""
    return _Layer(
        key=f"{key}.{index}",
        weight=f"{scope}/Conv2D_weights",
        bias=f"{scope}/Conv2D_bn_offset",
        norm=f"{key}.{index + 1}",
        eps=eps,
    )


def _biased(key: str, scope: str) -> _Layer:
    return _Layer(key=key, weight=f"{scope}/Conv2D/ReadVariableOp", bias=f"{scope}/BiasAdd/ReadVariableOp")


class _Numbered:
    """Counts names as Keras does: ``conv2d``, ``conv2d_1``, ``conv2d_2``."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._numbers = count()

    def __call__(self) -> str:
        return _name(self._base, next(self._numbers))


def _name(base: str, number: int) -> str:
    return f"{base}_{number}" if number else base


def _array(arrays: Mapping[str, Array], name: str) -> Array:
    try:
        return arrays[name]
    except KeyError:
        raise _malformed(f"no weight {name}", expected="the mobilenetv3 network") from None


def _malformed(got: str, *, expected: str) -> WeightsError:
    return WeightsError(
        "web model",
        got=got,
        expected=expected,
        todo="Fetch it again with 'rvm-trt weights --source web --refresh', or give --checkpoint PATH.",
    )
