"""The seed corpus: what the project itself writes and fetches, made small."""

from __future__ import annotations

import io
import struct
import tarfile
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from tfjs_model import ENCODER, WebModel, seeded_web_model

from rvm_trt.contract import tensors
from rvm_trt.engines.head import write_head
from rvm_trt.engines.head_file import HEAD
from rvm_trt.engines.manifest import NAME, Manifest, contract_of
from rvm_trt.engines.quantise import InputRange
from rvm_trt.engines.recipe import Layer, Recipe
from rvm_trt.export.checkpoint import expected_shapes
from rvm_trt.export.graph_info import seal_graph
from rvm_trt.options import Backend, Graph, Precision, Refiner, Variant
from rvm_trt.profile import Profile
from rvm_trt.runtime.head_weights import HEAD_LAYOUT, head_names

Seeds = Mapping[str, bytes]
WEB = struct.Struct("<II")  # bytes of the description, zeros to add to the weights
GZIP, RAW = b"\0", b"\1"  # whether a package is still to be compressed
_PART = ("backbone.features.0.", "backbone.conv1.", "aspp.", "project_", "refiner.")
PACKAGE = ("package/LICENSE", "package/models/rvm.bin", "package/models/other.bin", "package/models/rvm.json")


def manifests() -> Seeds:
    """Manifests of a CPU core, a TensorRT-RTX core and a full graph."""
    profile = Profile.named("hd")
    core = Manifest(
        profile=profile,
        graph=Graph.CORE,
        precision=Precision.BF16,
        backend=Backend.CPU,
        backend_version="2026.4.1",
        tensors=contract_of(profile, Graph.CORE, Precision.BF16, Backend.CPU),
        targets=("cpu",),
        checkpoint_sha256="a" * 64,
        onnx_sha256="b" * 64,
        files={"engine.xml": "c" * 64, "engine.bin": "d" * 64, HEAD: "e" * 64},
        accuracy={"reference": "the same graph in fp32", "frames": 60, "pha_mad": 4e-4, "pha_max": 0.1},
        made={"rvm_trt": "0.1.0", "source": "0123456789abcdef", "footage": {"clips": ["a.mp4"]}},
    )
    rtx = replace(
        core, backend=Backend.TENSORRT_RTX, targets=("sm_75", "sm_89"), files={"engine.plan": "f" * 64}
    )
    full = replace(core, graph=Graph.FULL, tensors=tensors(profile, Graph.FULL), accuracy={})
    return {name: _manifest(each) for name, each in {"core": core, "rtx": rtx, "full": full}.items()}


def _manifest(manifest: Manifest) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        manifest.write(folder)
        return (Path(folder) / NAME).read_bytes()


def recipes() -> Seeds:
    """A recipe of two layers."""
    layers = [
        Layer(
            name=name, macs=1000, mad_alone=alone, dtssd_alone=alone, int8=alone is not None, reason="within"
        )
        for name, alone in (("decoder.a/Conv", 1e-4), ("backbone.b/Conv", None))
    ]
    recipe = Recipe(
        ranges={"decoder.a/Conv": InputRange(largest=6.25, scales=(1.5, 2.0), means=(0.1, -0.2))},
        layers=tuple(layers),
        held_out={"frames": 8, "pha_mad": 0.0005},
        mad_budget=1e-3,
        footage={"clips": ["a.mp4"]},
        key={"network_sha256": "a" * 64, "mad_budget": 1e-3},
    )
    with tempfile.TemporaryDirectory() as folder:
        recipe.write(Path(folder) / "recipe.json")
        return {"two-layers": (Path(folder) / "recipe.json").read_bytes()}


def heads() -> Seeds:
    """The heads of the three refiners."""
    rng = np.random.default_rng(1)
    found = {}
    for refiner in (Refiner.DEEP, Refiner.FAST):
        weights = {name: rng.random(HEAD_LAYOUT[name], np.float32) for name in head_names(refiner)}
        with tempfile.TemporaryDirectory() as folder:
            write_head(Path(folder), weights)
            found[refiner.value] = (Path(folder) / HEAD).read_bytes()
    return found


def part_of_the_network(variant: Variant, *, refiner: Refiner) -> dict[str, tuple[int, ...]]:
    """Returns keys and shapes of some layers: a checkpoint of these is read ten times as fast as a whole one."""
    shapes = expected_shapes(variant, refiner=refiner)
    return {key: shape for key, shape in shapes.items() if key.startswith(_PART)}


def checkpoints() -> Seeds:
    """State dicts of a part of the network, all tensors being views of one value; and one that lacks some."""
    shapes = part_of_the_network(Variant.MOBILENETV3, refiner=Refiner.DEEP)
    one, none = torch.tensor(0.5), torch.tensor(0)
    whole = {
        key: (none if key.endswith("num_batches_tracked") else one).expand(shape)
        for key, shape in shapes.items()
    }
    described: Any = OrderedDict(list(whole.items())[:6])
    described._metadata = OrderedDict({"": {"version": 1}, "backbone": {"version": 2}})
    kept = {key: torch.nn.Parameter(value.half()) for key, value in list(whole.items())[:3]}
    return {name: _saved(state) for name, state in {"whole": whole, "some": described, "kept": kept}.items()}


def _saved(state: Mapping[str, Any]) -> bytes:
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


def packages() -> Seeds:
    """The web model's package, with short members, as npm and as GNU tar write it."""
    contents = [b"MIT License\n\nCopyright", bytes(700), bytes(30), b'{"weightsManifest": []}']
    found = {}
    for name, form in (
        ("ustar", tarfile.USTAR_FORMAT),
        ("pax", tarfile.PAX_FORMAT),
        ("gnu", tarfile.GNU_FORMAT),
    ):
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode="w:", format=form) as archive:
            for path, content in zip((*PACKAGE, "package/" + "long/" * 40), (*contents, b"x"), strict=True):
                if form == tarfile.USTAR_FORMAT and len(path) > 100:
                    continue
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        found[name] = GZIP + written.getvalue()
    return found


def web_models() -> Seeds:
    """The whole web model with zeros for weights, and the first entries of it."""
    shapes = expected_shapes(Variant.MOBILENETV3, refiner=Refiner.FAST)
    web = seeded_web_model({key: list(shape) for key, shape in shapes.items()})
    start = web.weights[:14]  # mean, a constant, standard deviation
    few = WebModel()
    few.add(f"{ENCODER}Const", np.array([0.485, 0.456, 0.406]))
    few.add_int("a/constant")
    return {
        "whole": enveloped(web.model(), start, pad=len(web.weights) - len(start)),
        "few": enveloped(few.model(), few.weights, pad=0),
    }


def enveloped(model: bytes, weights: bytes, *, pad: int) -> bytes:
    """Returns one input of the two files; ``pad`` zeros follow the weights."""
    return WEB.pack(len(model), pad) + model + weights


def graphs() -> Seeds:
    """A graph of one node with the description that the export writes."""
    node = onnx.helper.make_node("Add", ["src", "w"], ["pha"], name="add")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "core",
        [value("src", 1, [1])],
        [value("pha", 1, [1])],
        [onnx.numpy_helper.from_array(np.ones(1, np.float32), "w")],
    )
    model = onnx.helper.make_model(graph)
    notes = {
        "profile": '{"width": 1920, "height": 1080, "ratio": 0.25, "refiner": "deep_guided_filter", '
        '"variant": "mobilenetv3", "batch": 1}',
        "graph": "core",
        "precision": "fp32",
        "checkpoint_sha256": "a" * 64,
        "checkpoint_refiner": "deep_guided_filter",
        "torch": "2.13.0",
        "version": "0.1.0",
    }
    onnx.helper.set_model_props(model, {f"rvm_trt.{key}": text for key, text in notes.items()})
    seal_graph(model)
    return {"one-node": model.SerializeToString()}
