"""The fuzz targets: each gives bytes to one reader of files from outside, which may only raise an error of ours."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from random import Random

import fuzz_descriptions as descriptions
import fuzz_seeds as seeds
import onnx
from fuzz_mutators import (
    VALUES,
    Mutator,
    mutate_bytes,
    mutate_json,
    mutate_npy,
    mutate_pickle,
    mutate_tar,
    mutate_words,
    mutate_zip,
)
from google.protobuf.message import DecodeError

from rvm_trt.commands.inspect import describe
from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.graph_operations import read_openvino_xml
from rvm_trt.engines.head_file import HEAD, read_head_file
from rvm_trt.engines.inspection import inspect_artifact
from rvm_trt.engines.layer_info import read_layer_info
from rvm_trt.engines.manifest import NAME, read_manifest
from rvm_trt.engines.operations import Operations, largest_traffic, precision_changes
from rvm_trt.engines.recipe import read_recipe
from rvm_trt.errors import EngineError, RvmTrtError
from rvm_trt.export import checkpoint, webmodel
from rvm_trt.export.graph_info import read_graph_info, seal_graph
from rvm_trt.export.npm_package import read_members
from rvm_trt.options import Refiner
from rvm_trt.profile import Profile
from rvm_trt.runtime.head_weights import pack_head
from rvm_trt.runtime.kernel_file import read_kernel_file

_LONGEST_MESSAGE = 4000
_PACKAGE_LIMITS = {name: 4096 for name in seeds.PACKAGE if "other" not in name}


@dataclass(frozen=True, kw_only=True)
class Target:
    """One reader under fuzzing.

    Attributes:
        what: the reader, in words.
        read: gives it the bytes; the folder is for files, and empty of others'.
        seeds: makes the seed corpus.
        mutate: changes an input so that most of it stays valid.
        instrumented: modules whose coverage guides the search.
    """

    what: str
    read: Callable[[bytes, Path], object]
    seeds: Callable[[], seeds.Seeds]
    mutate: Mutator
    instrumented: tuple[str, ...]

    def run(self, data: bytes, folder: Path) -> bool:
        """Returns whether the bytes were accepted.

        Raises:
            AssertionError: the reader's message is endless, or could steer a terminal.
            Exception: whatever else the reader lets through.
        """
        try:
            self.read(data, folder)
        except RvmTrtError as error:
            message = str(error)
            assert message.isprintable(), ascii(message[:500])
            assert len(message) <= _LONGEST_MESSAGE, ascii(message[:500])
            return False
        return True


def _read_manifest(data: bytes, folder: Path) -> None:
    (folder / NAME).write_bytes(data)
    engine = Engine(path=folder, manifest=read_manifest(folder))
    engine.mismatches()
    engine.damages()


def _read_recipe(data: bytes, folder: Path) -> None:
    (folder / "recipe.json").write_bytes(data)
    assert 0 <= read_recipe(folder / "recipe.json").share <= 1


def _read_head(data: bytes, folder: Path) -> None:
    (folder / HEAD).write_bytes(data)
    arrays = read_head_file(folder / HEAD)
    for refiner in (Refiner.DEEP, Refiner.FAST):
        with suppress(RvmTrtError):
            pack_head(arrays, refiner=refiner)


def _read_checkpoint(data: bytes, folder: Path) -> None:
    (folder / "rvm.pth").write_bytes(data)
    checkpoint.load_checkpoint(folder / "rvm.pth")


def _read_package(data: bytes, folder: Path) -> None:
    path = folder / "package.tgz"
    path.write_bytes(gzip.compress(data[1:], 1) if data.startswith(seeds.GZIP) else data[1:])
    read_members(path, max_bytes=_PACKAGE_LIMITS)


def _read_web_model(data: bytes, _folder: Path) -> None:
    if len(data) < seeds.WEB.size:
        return
    size, pad = seeds.WEB.unpack_from(data)
    model, weights = data[seeds.WEB.size :][:size], data[seeds.WEB.size + size :]
    webmodel.convert_web_model(model, weights=weights + bytes(pad % (webmodel.MAX_BIN_BYTES + 2)))


def _read_graph(data: bytes, folder: Path) -> None:
    (folder / "core.onnx").write_bytes(data)
    read_graph_info(folder / "core.onnx")


def _read_plan(data: bytes, folder: Path) -> None:
    (folder / "engine.plan").write_bytes(data)
    describe(inspect_artifact(folder / "engine.plan"), kernels=True)


def _read_layers(data: bytes, folder: Path) -> None:
    (folder / "layers.json").write_bytes(data)
    _look_at(read_layer_info(folder / "layers.json"))


def _read_openvino(data: bytes, folder: Path) -> None:
    (folder / "engine.xml").write_bytes(data)
    _look_at(read_openvino_xml(folder / "engine.xml"))


def _look_at(operations: Operations) -> None:
    precision_changes(operations)
    json.dumps([asdict(entry) for entry in largest_traffic(operations)])


def _read_kernel(data: bytes, folder: Path) -> None:
    (folder / "a.kernel").write_bytes(data)
    if read_kernel_file(folder / "a.kernel", descriptions.KEY) is None:
        raise EngineError("a.kernel", got="none", expected="a kernel", todo="It is compiled again.")


def _read_profile(data: bytes, _folder: Path) -> None:
    try:
        values = json.loads(
            data
        )  # without the limits of what is read from files: a caller's numbers have none
    except (ValueError, RecursionError):
        return
    profile = Profile.from_json(values)
    assert Profile.from_json(profile.to_json()) == profile
    assert profile.name and len(profile.state_shapes) == 4


def _resealed(data: bytes, rng: Random) -> bytes:
    """Mutates a recipe, and names the new content in its seal: most readers stop at a wrong one."""
    mutant = mutate_json(data, rng)
    if rng.randrange(8) == 0:
        return mutant
    with suppress(ValueError, RecursionError, AttributeError, TypeError):
        content = json.loads(mutant)
        content.pop("seal", None)
        seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return json.dumps({**content, "seal": seal}).encode()
    return mutant


def _in_checkpoint(name: str, content: bytes, rng: Random) -> bytes:
    return (mutate_pickle if name.endswith("data.pkl") else mutate_bytes)(content, rng)


def _in_package(data: bytes, rng: Random) -> bytes:
    if data[:1] == seeds.GZIP and rng.randrange(20) == 0:
        return seeds.RAW + mutate_bytes(gzip.compress(data[1:], 1), rng)
    return data[:1] + (mutate_tar if data[:1] == seeds.GZIP else mutate_bytes)(data[1:], rng)


def _in_web_model(data: bytes, rng: Random) -> bytes:
    if len(data) < seeds.WEB.size:
        return data + bytes(seeds.WEB.size)
    size, pad = seeds.WEB.unpack_from(data)
    model, weights = data[seeds.WEB.size :][:size], data[seeds.WEB.size + size :]
    what = rng.randrange(8)
    if what == 0:
        weights = mutate_bytes(weights, rng)
    elif what == 1:
        pad = max(0, pad + rng.choice((-1, 1, 1 << 20))) & 0xFFFFFFFF
    else:
        model = mutate_json(model, rng)
    return seeds.enveloped(model, weights, pad=pad)


def _in_graph(data: bytes, rng: Random) -> bytes:
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        return mutate_bytes(data, rng)
    what = rng.randrange(6)
    if what < 4 and model.metadata_props:
        entry = rng.choice(model.metadata_props)
        text = json.dumps(rng.choice(VALUES))
        if entry.key == "rvm_trt.profile" and isinstance(entry.value, str):
            text = mutate_json(entry.value.encode(), rng).decode("utf-8", "replace")
        entry.value = text
        texts = (text for each in model.metadata_props for text in (each.key, each.value))
        if rng.randrange(8) and all(isinstance(text, str) for text in texts):
            seal_graph(model)  # most readers stop at a wrong seal
    elif what == 4:
        tensor = model.graph.initializer.add(name="x", dims=[1 << 40], data_type=1)
        tensor.data_location = rng.choice((onnx.TensorProto.EXTERNAL, onnx.TensorProto.DEFAULT))
        tensor.external_data.add(key="location", value=rng.choice(("../x", "/etc/passwd", "x")))
    else:
        return mutate_bytes(data, rng)
    return model.SerializeToString()


def quicken() -> None:
    """Makes the shapes of the network once a process, and those of checkpoints small: no input changes them."""
    webmodel.expected_shapes = cache(webmodel.expected_shapes)
    checkpoint.expected_shapes = cache(seeds.part_of_the_network)


_OURS = "rvm_trt.untrusted"
TARGETS: Mapping[str, Target] = {
    "manifest": Target(
        what="an engine's manifest.json (engines/manifest.py)",
        read=_read_manifest,
        seeds=seeds.manifests,
        mutate=mutate_json,
        instrumented=("rvm_trt.engines.manifest", "rvm_trt.profile", "rvm_trt.contract", _OURS),
    ),
    "recipe": Target(
        what="an INT8 recipe (engines/recipe.py)",
        read=_read_recipe,
        seeds=seeds.recipes,
        mutate=_resealed,
        instrumented=("rvm_trt.engines.recipe", _OURS),
    ),
    "head": Target(
        what="the weights of a head, head.npz (engines/head_file.py)",
        read=_read_head,
        seeds=seeds.heads,
        mutate=lambda data, rng: mutate_zip(data, rng, lambda _, content, rng: mutate_npy(content, rng)),
        instrumented=("rvm_trt.engines.head_file", "rvm_trt.runtime.head_weights", "zipfile", _OURS),
    ),
    "checkpoint": Target(
        what="a PyTorch checkpoint (export/checkpoint.py)",
        read=_read_checkpoint,
        seeds=seeds.checkpoints,
        mutate=lambda data, rng: mutate_zip(data, rng, _in_checkpoint),
        instrumented=(
            "rvm_trt.export.checkpoint",
            "rvm_trt.export.checkpoint_archive",
            "torch._weights_only_unpickler",
            "zipfile",
            _OURS,
        ),
    ),
    "package": Target(
        what="the npm package of the web model (export/npm_package.py)",
        read=_read_package,
        seeds=seeds.packages,
        mutate=_in_package,
        instrumented=("rvm_trt.export.npm_package", "tarfile", _OURS),
    ),
    "web-model": Target(
        what="the TensorFlow.js model (export/webmodel.py)",
        read=_read_web_model,
        seeds=seeds.web_models,
        mutate=_in_web_model,
        instrumented=("rvm_trt.export.webmodel", _OURS),
    ),
    "graph": Target(
        what="an ONNX graph's description of itself (export/graph_info.py)",
        read=_read_graph,
        seeds=seeds.graphs,
        mutate=_in_graph,
        instrumented=("rvm_trt.export.graph_info", "rvm_trt.profile", _OURS),
    ),
    "plan": Target(
        what="a plan of TensorRT-RTX (engines/plan.py, plan_file.py, plan_text.py)",
        read=_read_plan,
        seeds=descriptions.plans,
        mutate=descriptions.in_plan,
        instrumented=(
            *(f"rvm_trt.engines.{name}" for name in ("plan", "plan_file", "plan_text", "plan_kinds")),
            "rvm_trt.engines.operations",
            "rvm_trt.engines.element_types",
            _OURS,
        ),
    ),
    "layers": Target(
        what="the layers of a TensorRT engine, layers.json (engines/layer_info.py)",
        read=_read_layers,
        seeds=descriptions.layers,
        mutate=mutate_json,
        instrumented=("rvm_trt.engines.layer_info", "rvm_trt.engines.operations", _OURS),
    ),
    "openvino": Target(
        what="an OpenVINO engine's XML (engines/graph_operations.py)",
        read=_read_openvino,
        seeds=descriptions.openvino,
        mutate=mutate_words,
        instrumented=("rvm_trt.engines.graph_operations", "rvm_trt.engines.operations", _OURS),
    ),
    "kernel": Target(
        what="a compiled kernel in the cache (runtime/kernel_file.py)",
        read=_read_kernel,
        seeds=descriptions.kernels,
        mutate=descriptions.in_kernel,
        instrumented=("rvm_trt.runtime.kernel_file", _OURS),
    ),
    "profile": Target(
        what="a profile's values (profile.py)",
        read=_read_profile,
        seeds=descriptions.profiles,
        mutate=mutate_json,
        instrumented=("rvm_trt.profile", "rvm_trt.options", _OURS),
    ),
}
