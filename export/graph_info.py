"""What an exported ONNX file says of itself, read back without running it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from rvm_trt.errors import ExportError
from rvm_trt.files import sha256_file
from rvm_trt.options import Graph, Precision, Refiner, choice
from rvm_trt.profile import Profile
from rvm_trt.untrusted import parse_json, read_bounded, shown

MAX_BYTES = 512 << 20
_SEAL = "rvm_trt.seal"


@dataclass(frozen=True, kw_only=True)
class GraphInfo:
    """An exported graph's description of itself.

    Attributes:
        path: the ``.onnx`` file.
        profile: the profile it was exported for.
        graph: core or full.
        precision: arithmetic written into the graph.
        checkpoint_sha256: SHA-256 of the checkpoint its weights came from.
        checkpoint_refiner: the guided filter that the checkpoint has weights for.
        torch: version of PyTorch that traced it.
        sha256: SHA-256 of the file itself.
        network_sha256: SHA-256 of the graph without this description: equal for profiles that share a network.
        version: the rvm-trt that exported it.
    """

    path: Path
    profile: Profile
    graph: Graph
    precision: Precision
    checkpoint_sha256: str
    checkpoint_refiner: Refiner
    torch: str
    sha256: str
    network_sha256: str
    version: str


def seal_graph(model: onnx.ModelProto) -> None:
    """Adds to a graph's description the SHA-256 of network and description: the last change before it is written.

    The seal tells edits and mix-ups, not who wrote a graph: whoever changes it can seal it anew.
    """
    notes = _notes(model)
    notes.pop(_SEAL, None)
    onnx.helper.set_model_props(model, {**notes, _SEAL: _seal(notes, _network_sha256(model))})


def read_graph_info(path: str | os.PathLike[str]) -> GraphInfo:
    """Returns the description in an ONNX file written by `export_onnx`.

    Raises:
        ExportError: there is no such file, it is not ONNX, rvm-trt did not export it, or it was changed since.
    """
    path = Path(path)
    if not path.is_file():
        raise _foreign(path, "no file")
    try:
        model = onnx.load_model_from_string(read_bounded(path, max_bytes=MAX_BYTES))
    except (DecodeError, OSError, ValueError) as error:
        raise _foreign(path, f"an unreadable file ({error})") from None
    if any(onnx.external_data_helper.uses_external_data(tensor) for tensor in _tensors(model)):
        raise _foreign(path, "a graph with weights in other files")
    notes = _notes(model)
    if not all(isinstance(text, str) for text in (*notes, *notes.values())):  # protobuf gives bytes then
        raise _foreign(path, "an ONNX file with a description that is no text")
    network_sha256 = _network_sha256(model)
    try:
        if notes.pop(_SEAL) != _seal(notes, network_sha256):
            raise _foreign(path, "a graph whose network or description was changed since its export")
        return GraphInfo(
            path=path,
            profile=Profile.from_json(parse_json(notes["rvm_trt.profile"].encode())),
            graph=choice(Graph, notes["rvm_trt.graph"], subject="graph"),
            precision=choice(Precision, notes["rvm_trt.precision"], subject="precision"),
            checkpoint_sha256=notes["rvm_trt.checkpoint_sha256"],
            checkpoint_refiner=choice(Refiner, notes["rvm_trt.checkpoint_refiner"], subject="refiner"),
            torch=notes["rvm_trt.torch"],
            sha256=sha256_file(path),
            network_sha256=network_sha256,
            version=notes["rvm_trt.version"],
        )
    except KeyError as error:
        raise _foreign(path, f"an ONNX file without the entry {error}") from None
    except ValueError as error:  # OptionError is one
        raise _foreign(
            path, f"an ONNX file with a damaged description ({shown(str(error), limit=500)})"
        ) from None


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yields every stored tensor of a model, wherever a graph can hold one."""
    pending: list[Any] = [model.graph, *model.functions]
    while pending:
        holder = pending.pop()
        yield from getattr(holder, "initializer", ())
        for sparse in getattr(holder, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for attribute in (attribute for node in holder.node for attribute in node.attribute):
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            pending += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]


def _notes(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _seal(notes: Mapping[str, str], network_sha256: str) -> str:
    return hashlib.sha256(json.dumps([network_sha256, sorted(notes.items())]).encode()).hexdigest()


def _network_sha256(model: onnx.ModelProto) -> str:
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def _foreign(path: Path, got: str) -> ExportError:
    return ExportError(
        str(path),
        got=got,
        expected="an ONNX file written by rvm-trt",
        todo="Export it with export_onnx or 'rvm-trt export'.",
    )
