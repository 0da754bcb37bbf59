"""Where a measurement was taken: processor, memory, versions and commit; no names and no paths of the machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
_PACKAGES = (
    "rvm-trt",
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt-rtx-cu13",
    "numba",
    "numpy",
    "av",
    "pillow",
)


def describe_environment(*, threads: int) -> dict[str, Any]:
    """Returns the environment as plain JSON values.

    Args:
        threads: CPU threads that each entrant was given.
    """
    cpu = _cpu()
    return {
        "cpu": cpu["model"],
        "cpu_family_model": cpu["family_model"],
        "cpu_flags": cpu["flags"],
        "cores_online": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "threads_per_entrant": threads,
        # Of the minute before: far above 0, and something else was using the processor.
        "load_average": round(os.getloadavg()[0], 2),
        "memory_bytes": _memory_bytes(),
        "os": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": commit(),
    }


def cpu_slug() -> str:
    """Returns the processor's name in lower-case letters, digits and hyphens, for a file name."""
    return re.sub(r"[^a-z0-9]+", "-", str(_cpu()["model"]).lower()).strip("-") or "unknown-cpu"


def commit() -> str | None:
    """Returns the Git commit of this source, ``-dirty`` where anything but results differs; None outside Git."""
    root = Path(__file__).resolve().parents[1]
    # An installed copy may stand within somebody else's repository: that one's commit would be no use.
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    head = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", ".", ":!benchmarks/results")
    if not head or changes is None:
        return None
    return f"{head}-dirty" if changes else head


def _git(root: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu() -> dict[str, Any]:
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = set(facts.get("flags", "").split())
    return {
        "model": facts.get("model name") or platform.machine(),
        "family_model": f"{facts.get('cpu family', '?')}/{facts.get('model', '?')}",
        "flags": [flag for flag in _FLAGS if flag in flags],
    }


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
