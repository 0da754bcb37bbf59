"""What code made something: a digest of our own source, and versions of installed packages, for cache keys."""

from __future__ import annotations

import hashlib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path


def source_digest(*packages: str) -> str:
    """Returns 16 hexadecimal digits that change when any Python file directly in these packages does."""
    digest = hashlib.sha256()
    for package in packages:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(folder).glob("*.py")):
                digest.update(f"{package}/{path.name}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def installed_version(package: str) -> str | None:
    """Returns the version of an installed package without importing it, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
