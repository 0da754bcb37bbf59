"""What the tests share: generated weights, moving pictures, and the graphs and engines made from them once a run."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.profile import Profile

# The tests import the modules beside them.
sys.path.insert(0, str(Path(__file__).parent))

from generated import moving_frame, resized, seeded_values

if TYPE_CHECKING:
    from rvm_trt.engines.footage import CalibrationFootage
    from rvm_trt.engines.recipe import Recipe

Image = npt.NDArray[np.uint8]
# The candidates of the INT8 searches in tests: joined inputs, gates of GRUs, and the last layer.
CANDIDATES = (
    "decoder.decode4.gru.hh.0/Conv",
    "decoder.decode3.conv.1/Conv",
    "decoder.decode3.gru.ih.0/Conv",
    "decoder.decode0.conv.4/Conv",
)
ROOT = Path(__file__).resolve().parents[1]
# Here, before a conftest of a folder loads PyTorch: on a busy machine its threads wait for each other, and small
# pictures take ten times as long. Also for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure() -> None:
    # Whoever starts the tests in the background makes them deaf to Ctrl-C, and the processes they start with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _shared_folder() -> Path | None:
    folder = Path(os.environ.get("RVM_TRT_SHARED") or ROOT.parent / "shared")
    return folder if (folder / "golden").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with footage, weights and goldens that are not committed; skips where it is absent."""
    folder = _shared_folder()
    if folder is None:
        pytest.skip("no footage and weights: set RVM_TRT_SHARED to their folder")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of committed golden files."""
    return Path(__file__).parent / "data" / "golden"


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run share, for what is made once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "common"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps other workers from making the same file."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def alone() -> Callable[[Path], AbstractContextManager[None]]:
    """``with alone(path):`` keeps other workers from making the same file, or folder."""
    return _alone


@pytest.fixture(scope="session")
def seeded_state_dict() -> Callable[..., dict[str, Any]]:
    """``seeded_state_dict(variant, refiner)``: the weights of the seeded goldens, generated from the key names."""

    def make(variant: str = "mobilenetv3", refiner: str = "deep_guided_filter") -> dict[str, Any]:
        import torch

        from rvm_trt.export.model import MattingNetwork

        with torch.device("meta"):
            state = MattingNetwork(variant, refiner).state_dict()
        return {
            key: torch.from_numpy(seeded_values(key, tuple(value.shape)))
            if value.is_floating_point()
            else torch.zeros(value.shape, dtype=value.dtype)
            for key, value in state.items()
        }

    return make


@pytest.fixture(scope="session")
def steady_state_dict(seeded_state_dict: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The seeded weights with smaller convolutions, and alpha around a half.

    The seeded network is chaotic: it amplifies a rounding error a thousandfold over a few frames (2e-3 in pha
    between two float32 implementations) and saturates alpha. This one damps errors as trained weights do.
    """

    def make(variant: str = "mobilenetv3", refiner: str = "deep_guided_filter") -> dict[str, Any]:
        state = seeded_state_dict(variant, refiner)
        state = {key: value * 0.8 if value.ndim == 4 else value for key, value in state.items()}
        state["project_mat.conv.weight"] *= 2
        state["project_mat.conv.bias"][3] += 0.5
        return state

    return make


@pytest.fixture(scope="session")
def seeded_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, seeded_state_dict: Callable[..., dict[str, Any]]
) -> Path:
    """A checkpoint file with the seeded MobileNetV3 and deep guided filter."""
    import torch

    path = tmp_path_factory.mktemp("seeded") / "seeded.pth"
    torch.save(seeded_state_dict(), path)
    return path


@pytest.fixture(scope="session")
def checkpoint(common: Path, steady_state_dict: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """``checkpoint(variant, refiner)``: a checkpoint file with steady weights."""

    @cache
    def once(variant: str, refiner: str) -> Path:
        import torch

        path = common / f"{variant}-{refiner}.pth"
        with _alone(path):
            if not path.exists():
                torch.save(steady_state_dict(variant, refiner), path)
        return path

    def make(variant: str = "mobilenetv3", refiner: str = "deep_guided_filter") -> Path:
        return once(variant, refiner)

    return make


@pytest.fixture(scope="session")
def real_checkpoint(shared: Path) -> Path:
    """The dequantised 8-bit official weights."""
    return shared / "weights" / "rvm_mobilenetv3_dq8.pth"


@pytest.fixture(scope="session")
def exported(common: Path, checkpoint: Callable[..., Path]) -> Callable[..., Path]:
    """``exported(profile, graph, weights, precision)``: the ONNX file, made once (an export takes five seconds)."""
    from rvm_trt.export.onnx_graph import export_onnx

    @cache
    def once(profile: Profile, graph: str, weights: Path | None, precision: str) -> Path:
        source = weights or checkpoint(profile.variant.value)
        path = common / f"{source.stem}-{profile.name}-{graph}-{precision}.onnx"
        with _alone(path):
            if not path.exists():
                export_onnx(source, profile, path, graph=graph, precision=precision)
        return path

    def make(
        profile: Profile, graph: str = "core", weights: Path | None = None, precision: str = "fp32"
    ) -> Path:
        return once(profile, graph, weights, precision)  # one entry in the cache, however it is written

    return make


@pytest.fixture(scope="session")
def built(common: Path, exported: Callable[..., Path]) -> Callable[..., Any]:
    """``built(profile, graph, precision, weights)``: the engine, made once. Tests must not alter its folder."""
    from rvm_trt.engines.build import build_engine

    @cache
    def once(profile: Profile, graph: str, precision: str, weights: Path | None) -> Any:
        engines = common / f"engines-{weights.stem if weights else 'steady'}"
        graph_file = exported(profile, graph, weights)
        with _alone(engines):  # a worker that comes later is given the first one's
            return build_engine(graph_file, backend="cpu", precision=precision, engines=engines)

    def make(
        profile: Profile, graph: str = "core", precision: str = "fp32", weights: Path | None = None
    ) -> Any:
        return once(profile, graph, precision, weights)

    return make


@pytest.fixture
def cached_exports(exported: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets whatever exports a graph copy the session's instead (an export takes five seconds)."""

    def copy(source: Any, profile: Profile, path: Path, *, graph: Any = "core") -> Path:
        made = exported(profile, getattr(graph, "value", graph), getattr(source, "path", source))
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(made, path))

    monkeypatch.setattr("rvm_trt.export.onnx_graph.export_onnx", copy)


class Searched(NamedTuple):
    """An INT8 search that has been run: its core graph, its result, and the folder that keeps it."""

    graph: Path
    recipe: Recipe
    folder: Path


@pytest.fixture(scope="session")
def calibration(moving_frames: Callable[..., list[Image]]) -> CalibrationFootage:
    """One clip of 16 moving pictures, at whatever size is asked for."""
    from rvm_trt.engines.footage import CalibrationFootage

    return CalibrationFootage(
        words={"clips": ["moving"]}, read=lambda width, height: [moving_frames(width, height, 16)]
    )


@pytest.fixture(scope="session")
def few_candidates() -> Callable[[pytest.MonkeyPatch], None]:
    """``few_candidates(patch)`` limits INT8 searches to four layers, of which each takes half a second."""

    def limit(patch: pytest.MonkeyPatch) -> None:
        from rvm_trt.engines import calibration

        every = calibration.quantisable
        patch.setattr(
            calibration,
            "quantisable",
            lambda model: {name: value for name, value in every(model).items() if name in CANDIDATES},
        )

    return limit


@pytest.fixture(scope="session")
def searched(
    common: Path,
    exported: Callable[..., Path],
    calibration: CalibrationFootage,
    few_candidates: Callable[[pytest.MonkeyPatch], None],
) -> Searched:
    """The search over four layers of the network of 161x97 at ratio 0.6, run once. Tests must not alter its folder."""
    from rvm_trt.engines.recipe_cache import recipe_for
    from rvm_trt.export.graph_info import read_graph_info

    graph = exported(Profile(width=161, height=97, ratio=0.6))
    folder = common / "recipes"
    # A worker that comes later reads the recipe of the first.
    with _alone(folder), pytest.MonkeyPatch.context() as patch:
        few_candidates(patch)
        recipe = recipe_for(read_graph_info(graph), calibration, mad_budget=1e-3, folder=folder)
    return Searched(graph, recipe, folder)


@pytest.fixture(scope="session")
def moving_frames() -> Callable[..., list[Image]]:
    """``moving_frames(width, height, count)``: a textured ellipse that crosses a textured gradient."""

    def make(width: int, height: int, count: int) -> list[Image]:
        return [moving_frame(width, height, index) for index in range(count)]

    return make


@pytest.fixture(scope="session")
def footage(shared: Path) -> Callable[..., list[Image]]:
    """``footage(name, count, width=, height=)``: the first frames of a shared clip, resized where asked."""

    def read(name: str, count: int, *, width: int | None = None, height: int | None = None) -> list[Image]:
        pytest.importorskip("av")
        from rvm_trt.runtime.video.source import open_source

        frames = [frame.image for frame in islice(open_source(shared / "clips" / name), count)]
        return frames if width is None or height is None else list(resized(frames, width, height))

    return read
