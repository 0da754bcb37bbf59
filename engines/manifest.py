"""The manifest of an engine: everything that changes its bytes, and everything a loader must check."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rvm_trt.contract import LINEAR, TensorSpec, tensors
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.options import Backend, Graph, Precision, choice
from rvm_trt.profile import Profile
from rvm_trt.untrusted import parse_json, read_bounded, shown

SCHEMA = 3
NAME = "manifest.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MAX_BYTES = 1 << 20
_MAX_GOT = 1000


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an engine is and how it was made.

    Attributes:
        profile, graph, precision, backend: what was built, with which library.
        backend_version: version of that library.
        tensors: every input and output, in order.
        targets: what it runs on: ``cpu``, or compute capabilities such as ``sm_89``.
        checkpoint_sha256, onnx_sha256: what it was built from.
        files: file name in the engine's folder → SHA-256.
        accuracy: differences measured at build time, with reference and footage named.
        made: version of rvm-trt and the builder's options.
        sealed: whether it is as it was written; of one that was read from a file.
    """

    profile: Profile
    graph: Graph
    precision: Precision
    backend: Backend
    backend_version: str
    tensors: tuple[TensorSpec, ...]
    targets: tuple[str, ...]
    checkpoint_sha256: str
    onnx_sha256: str
    files: Mapping[str, str] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    sealed: bool = field(default=True, compare=False)

    @property
    def name(self) -> str:
        """Name of the engine's folder: ``<profile>-<graph>-<precision>-<backend>``."""
        parts = (self.profile.name, self.graph.value, self.precision.value, self.backend.value)
        return "-".join(parts)

    @property
    def dtype(self) -> str:
        """NumPy's name of the element type of its tensors: float16 for TensorRT below FP32, else float32."""
        half = self.backend is not Backend.CPU and self.precision is not Precision.FP32
        return "float16" if half else "float32"

    @property
    def trunk(self) -> bool:
        """Whether it ends at the hidden features ``hid``, as every core does; the head is in ``head.npz`` then."""
        return self.graph is Graph.CORE

    @property
    def measurable(self) -> bool:
        """Whether its arithmetic is compared with FP32 when it is built with calibration footage at hand."""
        return self.dtype == "float16" and self.graph is Graph.CORE and self.profile.batch == 1

    def network_key(self) -> dict[str, Any]:
        """The inputs of the build that its files depend on: equal for core engines that can share them."""
        size = self.profile.low_width, self.profile.low_height, self.profile.batch
        return {**self.key(), "profile": size, "onnx_sha256": "", "tensors": self.tensors}

    def key(self) -> dict[str, Any]:
        """The inputs of the build. Two engines with one key have the same bytes."""
        return {
            "schema": SCHEMA,
            "profile": self.profile.to_json(),
            "graph": self.graph.value,
            "precision": self.precision.value,
            "backend": self.backend.value,
            "backend_version": self.backend_version,
            "targets": list(self.targets),
            "checkpoint_sha256": self.checkpoint_sha256,
            "onnx_sha256": self.onnx_sha256,
            "made": dict(self.made),
        }

    def to_json(self) -> dict[str, Any]:
        """The manifest as plain JSON values."""
        return {
            **self.key(),
            "tensors": [spec.to_json() for spec in self.tensors],
            "files": dict(self.files),
            "accuracy": dict(self.accuracy),
        }

    def seal(self) -> str:
        """SHA-256 of all that it says."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``manifest.json`` into a folder, with its seal."""
        text = json.dumps({**self.to_json(), "seal": self.seal()}, indent=2, sort_keys=True)
        (Path(folder) / NAME).write_text(text + "\n", encoding="utf-8")


def contract_of(
    profile: Profile, graph: Graph, precision: Precision, backend: Backend
) -> tuple[TensorSpec, ...]:
    """Returns the tensors of an engine. On the CPU ``hid`` is linear, and bfloat16 below FP32."""
    trunk = graph is Graph.CORE
    if backend is Backend.CPU:
        hidden = "float32" if precision is Precision.FP32 else "bfloat16", LINEAR
        return tensors(profile, graph, trunk=trunk, hidden=hidden)
    dtype = "float32" if precision is Precision.FP32 else "float16"
    return tensors(profile, graph, dtype=dtype, trunk=trunk)


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """Returns the manifest in an engine's folder. Whether it was altered is in ``sealed``, not an error yet.

    Raises:
        EngineError: there is none, it is damaged, or another version of rvm-trt wrote it.
    """
    path = Path(folder) / NAME
    data = _read_json(path)
    if data.get("schema") != SCHEMA or isinstance(data["schema"], bool):
        raise EngineError(
            str(path),
            got=shown(f"schema {data.get('schema')!r}"),
            expected=f"schema {SCHEMA}",
            todo="Build the engine again with this version of rvm-trt.",
        )
    try:
        manifest = Manifest(
            profile=Profile.from_json(data["profile"]),
            graph=choice(Graph, data["graph"], subject="graph"),
            precision=choice(Precision, data["precision"], subject="precision"),
            backend=choice(Backend, data["backend"], subject="backend"),
            backend_version=_text(data, "backend_version"),
            tensors=tuple(TensorSpec.from_json(entry) for entry in data["tensors"]),
            targets=_texts(data["targets"]),
            checkpoint_sha256=_sha256(data["checkpoint_sha256"]),
            onnx_sha256=_sha256(data["onnx_sha256"]),
            files={_file_name(name): _sha256(value) for name, value in data["files"].items()},
            accuracy=_accuracy(data),
            made=_mapping(data, "made"),
        )
    except KeyError as error:
        raise _damaged(path, f"no entry {error}") from None
    except EngineError as error:
        raise _damaged(path, f"a malformed tensor ({error.got})") from None
    except (TypeError, AttributeError, ValueError) as error:
        # OptionError is a ValueError: a profile or word that is not ours.
        detail = str(error) if isinstance(error, OptionError) else f"a malformed entry ({error})"
        raise _damaged(path, detail) from None
    return replace(manifest, sealed=data.get("seal") == manifest.seal())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_bounded(path, max_bytes=_MAX_BYTES)
    except OSError as error:
        raise EngineError(
            str(path.parent),
            got=f"no readable {NAME} ({error.strerror})",
            expected="an engine's folder",
            todo="Build the engine: rvm-trt build.",
        ) from None
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    try:
        data = parse_json(content)
    except ValueError as error:
        raise _damaged(path, f"no JSON ({error})") from None
    if not isinstance(data, dict):
        raise _damaged(path, "no JSON object")
    return data


def _mapping(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data[key]
    if not isinstance(value, dict):
        raise TypeError(f"{key} is no object")
    return value


def _accuracy(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what was measured: nothing, or the entries that are shown and others, which nothing here reads."""
    measured = _mapping(data, "accuracy")
    if measured:
        for key in ("reference", *(["arithmetic"] if "arithmetic" in measured else ())):
            _text(measured, key)
        for key in ("frames", "pha_mad", "pha_max"):
            value = measured[key]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise TypeError(f"{key} of the accuracy is no number")
    return measured


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data[key]
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError(f"{key} is no text")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if (
        not isinstance(values, list)
        or not values
        or not all(isinstance(value, str) and value.isprintable() for value in values)
    ):
        raise TypeError(f"{values!r} is no list of texts")
    return tuple(values)


def _sha256(value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{value!r} is no SHA-256")
    return value


def _file_name(value: str) -> str:
    # A name, never a path: a manifest from elsewhere must not make us read outside its folder.
    if not _FILE_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no plain file name")
    return value


def _damaged(path: Path, got: str) -> EngineError:
    return EngineError(
        str(path),
        got=shown(got, limit=_MAX_GOT),
        expected="a manifest written by rvm-trt",
        todo="Build the engine again.",
    )
