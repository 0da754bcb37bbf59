"""An engine on disk: a folder with the built files and a manifest, written whole, verified before it is run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rvm_trt.contract import TensorSpec
from rvm_trt.engines.manifest import NAME, Manifest, contract_of, read_manifest
from rvm_trt.errors import EngineError
from rvm_trt.files import atomic_dir, sha256_file
from rvm_trt.options import Graph
from rvm_trt.profile import Profile


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A built engine on disk. It owns nothing but names; `rvm_trt.MattingSession` runs it.

    Attributes:
        path: the folder.
        manifest: what is in it.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Engine:
        """Returns the engine in a folder after checking its files' hashes and its tensor contract.

        Raises:
            EngineError: the folder holds no engine, a file is missing or altered, or the tensors are not the
                profile's. The message says in words what differs.
        """
        folder = Path(path)
        engine = cls(path=folder, manifest=read_manifest(folder))
        differences = [*engine.mismatches(), *engine.damages()]
        if differences:
            raise EngineError(
                str(folder),
                got="; ".join(differences),
                expected="the engine that its manifest describes",
                todo="Build the engine again.",
            )
        return engine

    @property
    def profile(self) -> Profile:
        """The profile it was built for."""
        return self.manifest.profile

    def file(self, suffix: str) -> Path:
        """Returns the path of its file with a suffix, ``.xml`` say; raises `EngineError` where there is none."""
        for name in self.manifest.files:
            if name.endswith(suffix):
                return self.path / name
        raise EngineError(
            str(self.path),
            got=f"the files {sorted(self.manifest.files)}",
            expected=f"a file ending in {suffix}",
            todo="Build the engine again.",
        )

    def mismatches(self, wanted: Manifest | None = None) -> list[str]:
        """Returns in words what differs between its tensors and the contract, and between its key and a wanted one.

        An empty list means that it may be used as it is.
        """
        manifest = self.manifest
        found = []
        contract = contract_of(manifest.profile, manifest.graph, manifest.precision, manifest.backend)
        for got, expected in zip(manifest.tensors, contract, strict=False):
            if got != expected:
                found.append(
                    f"tensor {got.name} is {_words(got)}, expected {expected.name} {_words(expected)}"
                )
        if len(manifest.tensors) != len(contract):
            found.append(f"{len(manifest.tensors)} tensors, expected {len(contract)}")
        if wanted is not None:
            got_key, wanted_key = manifest.key(), wanted.key()
            found += [
                f"{name} is {got_key[name]!r}, expected {wanted_key[name]!r}"
                for name in wanted_key
                if got_key[name] != wanted_key[name]
            ]
        return found

    def damages(self) -> list[str]:
        """Returns in words which of its files are missing, altered or unreadable, by hashing them."""
        found = [] if self.manifest.sealed else [f"{NAME} does not have the SHA-256 that its seal names"]
        for name, expected in self.manifest.files.items():
            file = self.path / name
            try:
                if not file.is_file():
                    found.append(f"{name} is missing")
                elif sha256_file(file) != expected:
                    found.append(f"{name} does not have the SHA-256 that the manifest names")
            except OSError as error:
                found.append(f"{name} cannot be read ({error.strerror})")
        return found if self.manifest.files else [*found, "the manifest names no file"]


def _words(spec: TensorSpec) -> str:
    return f"{spec.shape} {spec.dtype} {spec.layout} {spec.direction}"


def write_engine(
    path: str | os.PathLike[str], manifest: Manifest, write: Callable[[Path], Mapping[str, Any]]
) -> Engine:
    """Writes an engine's folder whole or not at all, and returns the engine.

    Args:
        path: the folder; an engine that stood there is replaced in one step, and stays if anything fails.
        manifest: its description, still without files and accuracy.
        write: writes the built files into the folder it is given, and returns the accuracy it measured.

    Raises:
        EngineError: the disk is full, or the folder cannot be written.
    """
    try:
        with atomic_dir(path) as folder:
            accuracy = write(folder)
            files = {file.name: sha256_file(file) for file in sorted(folder.iterdir())}
            manifest = replace(manifest, files=files, accuracy=accuracy)
            manifest.write(folder)
    except BrokenPipeError:
        raise  # whoever listened to the progress has gone
    except OSError as error:
        raise EngineError(
            str(path),
            got=error.strerror or str(error),
            expected="a folder with room to write the engine",
            todo="Make room, or choose another folder for the engines.",
        ) from None
    return Engine(path=Path(path), manifest=manifest)


def share_engine(
    path: str | os.PathLike[str], manifest: Manifest, *, measured: bool = False
) -> Engine | None:
    """Returns an engine that has the files of another with the same network beside it, or None where there is none.

    With ``measured``, one whose accuracy can be measured and was not is not taken.

    Profiles with one network size differ in nothing that a core engine knows: HD at ratio 0.25 and 4K at 0.125 run the
    same plan. The files are linked, not copied, where the file system can.
    """
    folder = Path(path)
    if manifest.graph is not Graph.CORE or not folder.parent.is_dir():
        return None
    for other in sorted(folder.parent.iterdir()):
        if other.name.startswith(".") or other == folder or not (other / NAME).is_file():
            continue
        try:
            there = read_manifest(other)
            unmeasured = measured and manifest.measurable and not there.accuracy
            if unmeasured or there.network_key() != manifest.network_key():
                continue
            found = Engine.load(other)
            if found.manifest == there:
                return write_engine(folder, manifest, lambda target, found=found: _link(found, target))  # type: ignore[misc]
        except EngineError:
            continue  # damaged, or replaced while it was linked
    return None


def _link(engine: Engine, folder: Path) -> Mapping[str, Any]:
    for name in engine.manifest.files:
        try:
            os.link(engine.path / name, folder / name)
        except OSError:
            shutil.copyfile(engine.path / name, folder / name)
    # Another process may have replaced the engine since it was loaded.
    if damages := replace(engine, path=folder).damages():
        raise EngineError(
            str(engine.path),
            got="; ".join(damages),
            expected="the files as they were loaded",
            todo="Build the engine again.",
        )
    return engine.manifest.accuracy
