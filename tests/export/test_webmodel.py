"""The web model becomes the official state dict tensor for tensor; a malformed one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tfjs_model import seeded_web_model

from rvm_trt.errors import WeightsError
from rvm_trt.export.model import MattingNetwork
from rvm_trt.export.webmodel import convert_web_model, read_arrays

Manifest = list[dict[str, Any]]


@pytest.fixture(scope="module")
def network() -> MattingNetwork:
    return MattingNetwork("mobilenetv3", "fast_guided_filter").eval()


@pytest.fixture(scope="module")
def web(network: MattingNetwork) -> Any:
    return seeded_web_model({key: list(value.shape) for key, value in network.state_dict().items()})


def test_every_tensor_arrives_in_its_place(web: Any, network: MattingNetwork) -> None:
    converted = convert_web_model(web.model(), weights=web.weights)
    assert list(converted) == list(network.state_dict())
    compared = {key for key in converted if not key.endswith(("running_var", "num_batches_tracked"))}
    assert compared == set(web.expected)
    for key in compared:
        assert np.array_equal(converted[key].numpy(), web.expected[key]), key


def test_folded_batch_norms_add_their_bias_and_nothing_else(web: Any, network: MattingNetwork) -> None:
    network.load_state_dict(convert_web_model(web.model(), weights=web.weights), strict=True)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 52
    for norm in norms:
        assert norm.running_var is not None
        assert bool((torch.rsqrt(norm.running_var + norm.eps) == 1).all())


def test_values_are_dequantised_with_min_and_scale() -> None:
    quantization = {"dtype": "uint8", "min": -1.5, "scale": 0.5}
    entry = {"name": "w", "shape": [2, 2], "dtype": "float32", "quantization": quantization}
    model = json.dumps({"weightsManifest": [{"weights": [entry]}]}).encode()
    arrays = read_arrays(model, weights=bytes([0, 1, 3, 255]))
    assert arrays["w"].tolist() == [[-1.5, -1.0], [0.0, 126.0]]


def entry_of(manifest: Manifest, ending: str) -> dict[str, Any]:
    return next(entry for entry in manifest if entry["name"].endswith(ending))


def drop(ending: str) -> Callable[[Manifest], object]:
    return lambda manifest: entry_of(manifest, ending).update(name="elsewhere")


def setting(field: str, value: object) -> Callable[[Manifest], object]:
    return lambda manifest: entry_of(manifest, "conv2d_62/Conv2D/ReadVariableOp").update({field: value})


def quantized(field: str, value: object) -> Callable[[Manifest], object]:
    return lambda manifest: entry_of(manifest, "conv2d_62/Conv2D/ReadVariableOp")["quantization"].update(
        {field: value}
    )


def swap_kernel_axes(manifest: Manifest) -> None:
    entry_of(manifest, "conv2d_62/Conv2D/ReadVariableOp")["shape"] = [1, 1, 4, 16]


def shift_the_mean(manifest: Manifest) -> None:
    entry_of(manifest, "mobile_net_v3_encoder/Const")["quantization"]["min"] = 0.5


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (drop("conv2d_62/Conv2D/ReadVariableOp"), "no weight"),
        (drop("batch_normalization_40/FusedBatchNormV3/Scaled"), "no weight"),
        (drop("mobile_net_v3_encoder/Const"), "no weight"),
        (swap_kernel_axes, "project_mat.conv.weight"),
        (setting("shape", [64]), "1 dimensions"),
        (setting("shape", [1, 1, -16, -4]), "dimensions"),
        (setting("shape", [1 << 20, 1]), "dimensions"),
        (setting("shape", [1, 1, 1, 16, 4]), "dimensions"),
        (setting("shape", [True, 1, 16, 4]), "dimensions"),
        (setting("shape", [1.0, 1, 16, 4]), "dimensions"),
        (setting("shape", None), "the weight"),
        (setting("shape", [1, 1, 16, 8]), "bytes of weights"),
        (setting("dtype", "string"), "the weight"),
        (setting("quantization", {"dtype": "uint16"}), "the weight"),
        (setting("quantization", []), "the weight"),
        (setting("name", 7), "the weight"),
        (setting("name", "a/constant"), "two weights"),
        (quantized("scale", float("nan")), "scale nan"),
        (quantized("scale", "__import__('os')"), "scale"),
        (quantized("min", float("inf")), "min inf"),
        (quantized("min", 10**400), "64 bits"),
        (quantized("min", 1 << 62), "min"),
        (shift_the_mean, "input mean"),
        (lambda manifest: manifest.clear(), "bytes of weights"),
        (lambda manifest: manifest.append("x"), "the weight"),
    ],
)
def test_a_malformed_description_is_refused(
    web: Any, spoil: Callable[[Manifest], object], words: str
) -> None:
    model = json.loads(web.model())
    spoil(model["weightsManifest"][0]["weights"])
    with pytest.raises(WeightsError, match=words):
        convert_web_model(json.dumps(model).encode(), weights=web.weights)


@pytest.mark.parametrize(
    "model",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"weightsManifest": 3}',
        b'{"weightsManifest": []}',
        b'{"weightsManifest": [{"weights": {}}]}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        bytes(9 << 20),
    ],
)
def test_what_is_no_graph_model_is_refused(model: bytes) -> None:
    with pytest.raises(WeightsError, match="web model: got"):
        convert_web_model(model, weights=b"")


@pytest.mark.parametrize("change", [lambda weights: weights[:-1], lambda weights: weights + b"\0"])
def test_weights_of_another_length_are_refused(web: Any, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(WeightsError, match="bytes of weights"):
        convert_web_model(web.model(), weights=change(web.weights))
