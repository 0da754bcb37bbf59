"""What an import costs, and which way imports may go."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rvm_trt
from rvm_trt import Profile

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "onnx", "onnxruntime", "onnxscript", "openvino", "numba", "numpy", "av", "PIL", "rich")
# design.md: imports flow vocabulary ← export ← engines ← runtime ← benchmarks. The commands stand beside the
# benchmarks: both may use everything below.
LAYERS = {"export": 1, "engines": 2, "runtime": 3, "benchmarks": 4, "rvm_trt/commands": 4}
BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "onnxruntime", "onnxscript", "torchvision"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
        return None

sys.meta_path.insert(0, Blocked())
"""
IMPORT_ALL = """
import pkgutil
from importlib import import_module
import rvm_trt.runtime
names = [m.name for m in pkgutil.walk_packages(rvm_trt.runtime.__path__, "rvm_trt.runtime.")]
for name in names:
    import_module(name)
print("\\n".join(names))
"""
RUN_SESSION = """
import numpy as np
from rvm_trt import MattingSession
with MattingSession(sys.argv[1], outputs=("pha", "composite"), threads=1) as session:
    frames = [np.full((97, 161, 3), 40 * index, np.uint8) for index in range(3)]
    print([matte.composite.shape for matte in session.run(frames)])
"""


def python(program: str, *args: object) -> list[str]:
    """Runs a program in an interpreter of its own and returns the lines it printed."""
    command = [sys.executable, "-c", program, *map(str, args)]
    # Not in the root: there the folder rvm_trt would be found before the installed package.
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_importing_the_package_loads_no_library() -> None:
    program = f"import sys, rvm_trt; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert python(program) == ["[]"]


def test_the_vocabulary_and_the_command_load_no_library() -> None:
    program = (
        "import sys; from rvm_trt import Profile, RvmTrtError, cli; Profile.named('hd'); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert python(program) == ["[]"]


def test_public_names_are_found_where_they_live() -> None:
    assert set(dir(rvm_trt)) == set(rvm_trt.__all__)
    for name in rvm_trt.__all__:
        assert getattr(rvm_trt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'MattingNetwork'"):
        _ = rvm_trt.MattingNetwork


def test_every_runtime_module_imports_without_torch_and_onnx() -> None:
    names = python(BLOCK + IMPORT_ALL)
    for name in ("session", "kernels_cpu", "openvino_core", "video.job", "video.decode"):
        assert f"rvm_trt.runtime.{name}" in names


def test_a_session_runs_without_torch_and_onnx(built: Callable[..., Any]) -> None:
    engine = built(Profile(width=161, height=97, ratio=0.6))
    assert python(BLOCK + RUN_SESSION, engine.path) == [str([(97, 161, 3)] * 3)]


def test_the_block_itself_works() -> None:
    with pytest.raises(AssertionError, match="torch is blocked"):
        python(BLOCK + "import torch")


def sources() -> Iterator[tuple[str, int, Path]]:
    for folder, layer in LAYERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield folder, layer, path
    for path in sorted((ROOT / "rvm_trt").glob("*.py")):
        yield "rvm_trt", 0, path


def module_level_imports(path: Path) -> Iterator[str]:
    """Yields the modules that are imported as soon as the file is, leaving out those for type checkers alone."""
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending.extend(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            pending.extend(ast.iter_child_nodes(node))


def layer_of(module: str) -> int:
    parts = module.split(".")
    if parts[0] != "rvm_trt" or len(parts) < 2:
        return 0
    return LAYERS.get(parts[1], LAYERS["rvm_trt/commands"] if parts[1] == "commands" else 0)


@pytest.mark.parametrize(
    ("layer", "path"),
    [pytest.param(layer, path, id=str(path.relative_to(ROOT))) for _, layer, path in sources()],
)
def test_imports_flow_one_way(layer: int, path: Path) -> None:
    upwards = [name for name in module_level_imports(path) if layer_of(name) > layer]
    assert not upwards


@pytest.mark.parametrize(
    ("folder", "libraries"),
    [
        ("rvm_trt", {"torch", "onnx", "onnxruntime", "openvino", "numba", "av"}),
        ("engines", {"torch", "onnxruntime", "onnxscript", "numba", "av"}),
        ("runtime", {"torch", "onnx", "onnxruntime", "onnxscript"}),
    ],
)
def test_folders_leave_out_the_libraries_of_others(folder: str, libraries: set[str]) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        loaded = {name.split(".")[0] for name in module_level_imports(path)}
        assert not loaded & libraries, path
