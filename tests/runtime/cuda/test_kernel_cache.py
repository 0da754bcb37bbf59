"""Compiling kernels with NVRTC, and the cache of what it made. Neither needs a GPU."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rvm_trt.errors import DependencyError, EngineError
from rvm_trt.options import Refiner
from rvm_trt.runtime import kernel_cache
from rvm_trt.runtime.kernel_cache import SOURCES, TARGETS, CompiledKernel, compile_kernel
from rvm_trt.runtime.kernel_file import read_kernel_file, write_kernel_file
from rvm_trt.runtime.kernel_variants import all_variants, head_variant, sample_variant
from rvm_trt.runtime.pixels import PixelFormat

SAMPLE = sample_variant(PixelFormat.NV12, half=True)
HEAD = head_variant(Refiner.DEEP, half=True)
REGISTERS_OF_A_BLOCK = 65536  # on every target


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources, to be altered."""
    copy = tmp_path / "sources"
    shutil.copytree(SOURCES, copy)
    monkeypatch.setattr(kernel_cache, "SOURCES", copy)
    return copy


def table(targets: tuple[int, ...], cache: Path) -> subprocess.Popen[str]:
    """Starts the program that prints what every variant uses."""
    command = [sys.executable, "-m", "rvm_trt.runtime.kernel_cache", "--sm", ",".join(map(str, targets))]
    # Not in the root: there the folder rvm_trt would be found before the installed package.
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )


# Turing and Blackwell, the first and the last; all of them are a minute's work, and `make kernels` does it.
@pytest.mark.parametrize(
    "targets", [(75, 120), pytest.param(TARGETS, marks=pytest.mark.kernels)], ids=["ends", "all"]
)
def test_every_variant_compiles_without_spills(targets: tuple[int, ...], pytestconfig: pytest.Config) -> None:
    # Kept between runs of the tests, so that only changed sources cost so much.
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache.mkdir("kernels")
    rows = []
    half = (len(targets) + 1) // 2
    for running in [table(targets[:half], cache), table(targets[half:], cache)]:
        output, errors = running.communicate()
        assert running.returncode == 0, errors
        rows += [line.split() for line in output.splitlines()[1:]]
    seen = {(name, int(sm)) for name, sm, *_ in rows}
    assert seen == {(variant.name, sm) for variant in all_variants() for sm in targets}
    for name, sm, registers, shared, spilled in rows:
        assert int(spilled) == 0, (name, sm)
        # At least two blocks of 256 threads fit a multiprocessor, and the shared memory of several.
        assert 0 < int(registers) * 256 * 2 <= REGISTERS_OF_A_BLOCK, (name, sm)
        assert int(shared) <= 16 * 1024, (name, sm)


def test_a_kernel_is_a_cubin_with_its_entry(tmp_path: Path) -> None:
    kernel = compile_kernel(HEAD, sm=89, folder=tmp_path)
    assert kernel.cubin[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", kernel.cubin, 18) == (190,)  # EM_CUDA
    assert b".text.head" in kernel.cubin
    assert kernel.resources.shared_bytes == 4 * 844 + 2 * 16 * 34 * 10


def test_what_is_in_the_cache_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = compile_kernel(SAMPLE, sm=75, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr("cuda.bindings.nvrtc.nvrtcCompileProgram", None)
    assert compile_kernel(SAMPLE, sm=75, folder=tmp_path) == made
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    made = compile_kernel(SAMPLE, sm=75, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]
    path.write_bytes({"cut": whole[:-50], "flipped": flipped, "emptied": b""}[damage])
    assert compile_kernel(SAMPLE, sm=75, folder=tmp_path).cubin == made.cubin
    assert path.read_bytes().endswith(made.cubin)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"key": 5, "log": "a"}',
        b'{"key": "KEY"}',
        b'{"key": "KEY", "log": 5}',
        b'{"key": "KEY", "log": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_forged_file_with_the_right_digest_is_none(head: bytes, tmp_path: Path) -> None:
    body = head.replace(b"KEY", b"a" * 64) + b"\n\x7fELF"
    (tmp_path / "a.kernel").write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert read_kernel_file(tmp_path / "a.kernel", "a" * 64) is None


def test_a_kernel_file_is_read_as_it_was_written_for_its_key_alone(tmp_path: Path) -> None:
    write_kernel_file(tmp_path / "a.kernel", "a" * 64, b"\x7fELF\n", "Used 8 registers\n")
    assert read_kernel_file(tmp_path / "a.kernel", "a" * 64) == (b"\x7fELF\n", "Used 8 registers\n")
    assert read_kernel_file(tmp_path / "a.kernel", "b" * 64) is None


def test_every_input_that_changes_the_code_has_a_file_of_its_own(sources: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"

    def made(variant: Any, sm: int) -> CompiledKernel:
        return compile_kernel(variant, sm=sm, folder=folder)

    first = made(SAMPLE, 75)
    assert made(SAMPLE, 80).cubin != first.cubin
    assert made(sample_variant(PixelFormat.NV12, half=False), 75).cubin != first.cubin
    header = sources / "taps.cuh"
    header.write_text(header.read_text().replace("0.5f), step)", "0.25f), step)"))
    assert made(SAMPLE, 75).cubin != first.cubin
    source = sources / SAMPLE.source
    source.write_text(source.read_text().replace("1.0f / 255.0f", "1.0f / 127.0f"))
    assert made(SAMPLE, 75).cubin != first.cubin
    assert len(list(folder.iterdir())) == 5


def test_another_compiler_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_kernel(SAMPLE, sm=75, folder=tmp_path)
    monkeypatch.setattr(kernel_cache, "installed_version", lambda _: "99.0")
    compile_kernel(SAMPLE, sm=75, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_cache_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compile_kernel(SAMPLE, sm=75)
    assert len(list((tmp_path / "rvm-trt" / "kernels").iterdir())) == 1


def test_headers_come_from_the_package_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taps.cuh").write_text("#error another one's")
    monkeypatch.chdir(tmp_path)
    assert compile_kernel(SAMPLE, sm=75, folder=tmp_path / "cache").cubin


def test_a_refused_source_is_shown_with_the_compilers_words(sources: Path, tmp_path: Path) -> None:
    (sources / SAMPLE.source).write_text("void broken(")
    with pytest.raises(
        EngineError, match=r"(?s)^kernel sample-nv12-half for sm_75: .*sample\.cu\(1\): error"
    ):
        compile_kernel(SAMPLE, sm=75, folder=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"expected one that knows sm_52"):
        compile_kernel(SAMPLE, sm=52, folder=tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"file: got .*XDG_CACHE_HOME"):
        compile_kernel(SAMPLE, sm=75, folder=tmp_path / "file")


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)
    with pytest.raises(DependencyError, match=r"^CUDA kernels: got no package 'cuda-bindings', .*\[cuda\]"):
        compile_kernel(SAMPLE, sm=75, folder=tmp_path)


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cuda.pathfinder import DynamicLibNotFoundError

    def absent() -> None:
        raise DynamicLibNotFoundError("no libnvrtc.so.13")

    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", SimpleNamespace(nvrtcVersion=absent))
    with pytest.raises(DependencyError, match=r"'nvidia-cuda-nvrtc'"):
        compile_kernel(SAMPLE, sm=75, folder=tmp_path)
