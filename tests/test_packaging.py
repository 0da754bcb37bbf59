"""The wheel: whole, lean, and usable away from the checkout."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("rvm_trt", "export", "engines", "runtime", "benchmarks")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
IMPORT_ALL = """
import pkgutil, sys
from importlib import import_module
import rvm_trt
names = [m.name for m in pkgutil.walk_packages(rvm_trt.__path__, "rvm_trt.")]
for name in names:
    module = import_module(name)
    assert module.__file__.startswith(sys.prefix), module.__file__
print("\\n".join(names))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources: building in the checkout would leave files there."""
    copy = tmp_path_factory.mktemp("sources")
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=skipped)
    for name in FILES:
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", copy / "dist", copy]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (copy / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def members(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, and sees the libraries of this one after it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Plain lines only add folders: an editable install's hook in them is not run, so rvm_trt is the wheel's.
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return python


def run(python: Path, *args: str) -> str:
    done = subprocess.run([python, *args], capture_output=True, text=True, check=False, cwd=python.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_every_module(members: list[str]) -> None:
    mapped = {"rvm_trt": "rvm_trt", **{name: f"rvm_trt/{name}" for name in SOURCES[1:]}}
    for source, target in mapped.items():
        for path in (ROOT / source).rglob("*.py"):
            name = f"{target}/{path.relative_to(ROOT / source).as_posix()}"
            assert name in members, name


def test_the_wheel_holds_the_licence_and_the_type_marker(members: list[str]) -> None:
    assert "rvm_trt/py.typed" in members
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in members)


def test_the_wheel_holds_every_kernel(members: list[str]) -> None:
    sources = {
        path.name for path in (ROOT / "runtime" / "kernels").iterdir() if path.suffix in (".cu", ".cuh")
    }
    assert len(sources) > 3
    assert {f"rvm_trt/runtime/kernels/{name}" for name in sources} <= set(members)


def test_the_wheel_holds_nothing_else(members: list[str]) -> None:
    for name in members:
        assert name.startswith(("rvm_trt/", "rvm_trt-")), name
        ours = name.endswith((".py", "py.typed", ".cu", ".cuh")) or "/templates/" in name
        assert ours or ".dist-info/" in name, name
    assert not [
        name for name in members if any(word in name for word in ("/test", "golden", ".pth", ".npz", ".onnx"))
    ]


def test_the_wheel_is_pure_and_needs_only_numpy(wheel: Path, members: list[str]) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    (metadata,) = [name for name in members if name.endswith(".dist-info/METADATA")]
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read(metadata).decode().splitlines()
    needed = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert [line.split()[1].split(">")[0] for line in needed] == ["numpy"]
    assert "Requires-Python: >=3.10" in lines
    extras = {line.split()[1] for line in lines if line.startswith("Provides-Extra:")}
    assert extras >= {"export", "cpu", "rtx", "tensorrt", "cuda", "video", "bench", "dev"}


def test_every_package_of_the_map_exists() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    mapped = dict(line.split(" = ") for line in config["options"]["package_dir"].split("\n") if line)
    packages = [line for line in config["options"]["packages"].split("\n") if line]
    assert set(mapped) == set(packages)
    assert all((ROOT / folder / "__init__.py").is_file() for folder in mapped.values())


def test_every_module_imports_from_the_wheel(installed: Path) -> None:
    names = run(installed, "-I", "-c", IMPORT_ALL).split()
    for package in ("commands", "export", "engines", "runtime", "runtime.video", "benchmarks"):
        assert f"rvm_trt.{package}" in names


def test_the_program_runs_from_the_wheel(installed: Path) -> None:
    program = installed.with_name("rvm-trt")
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: rvm-trt")
