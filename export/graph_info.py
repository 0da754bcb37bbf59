"""What an exported ONNX file says of itself, read back without running it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from rvm_trt.errors import ExportError, OptionError
from rvm_trt.files import sha256_file
from rvm_trt.options import Graph, Precision, Refiner, choice
from rvm_trt.profile import Profile


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


def read_graph_info(path: str | os.PathLike[str]) -> GraphInfo:
    """Returns the description in an ONNX file written by `export_onnx`.

    Raises:
        ExportError: there is no such file, it is not ONNX, or rvm-trt did not export it.
    """
    path = Path(path)
    if not path.is_file():
        raise _foreign(path, "no file")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise _foreign(path, f"an unreadable file ({error})") from None
    notes = {entry.key: entry.value for entry in model.metadata_props}
    try:
        return GraphInfo(
            path=path,
            profile=Profile.from_json(json.loads(notes["rvm_trt.profile"])),
            graph=choice(Graph, notes["rvm_trt.graph"], subject="graph"),
            precision=choice(Precision, notes["rvm_trt.precision"], subject="precision"),
            checkpoint_sha256=notes["rvm_trt.checkpoint_sha256"],
            checkpoint_refiner=choice(Refiner, notes["rvm_trt.checkpoint_refiner"], subject="refiner"),
            torch=notes["rvm_trt.torch"],
            sha256=sha256_file(path),
            network_sha256=_network_sha256(model),
            version=notes["rvm_trt.version"],
        )
    except KeyError as error:
        raise _foreign(path, f"an ONNX file without the entry {error}") from None
    except (json.JSONDecodeError, OptionError) as error:
        raise _foreign(path, f"an ONNX file with a damaged description ({error})") from None


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
