"""Shows what is installed, what runs on this machine, and the one command that adds what is missing."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
from importlib.util import find_spec
from pathlib import Path

from rvm_trt.digest import installed_version
from rvm_trt.files import cache_dir

HELP = "show what is installed and what runs here"

# stage: the modules it needs → the extra that brings them
_STAGES = {
    "export": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "cpu": ("openvino", "numba"),
    "video": ("av", "numba", "PIL"),
    "bench": ("psutil", "scipy", "jinja2", "matplotlib"),
}
_PACKAGES = {"PIL": "pillow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the findings and returns 0, also where something is missing."""
    findings = examine()
    if args.json:
        print(json.dumps(findings, indent=2))
    else:
        print("\n".join(f"{name:<10} {value}" for name, value in findings.items()))
    return 0


def examine() -> dict[str, str]:
    """Returns what stands on this machine, one line of text per subject."""
    findings = {"rvm-trt": _version("rvm-trt"), "python": platform.python_version()}
    for stage, modules in _STAGES.items():
        missing = [name for name in modules if find_spec(name) is None]
        if missing:
            findings[stage] = f'missing {", ".join(missing)}: pip install "rvm-trt[{stage}]"'
        else:
            findings[stage] = ", ".join(f"{name} {_version(_PACKAGES.get(name, name))}" for name in modules)
    findings["cpu runs"] = _cpu_precisions()
    findings["npm"] = shutil.which("npm") or "missing: the web model of the weights cannot be fetched"
    findings["weights"] = _weights()
    return findings


def _cpu_precisions() -> str:
    if find_spec("openvino") is None:
        return "nothing: OpenVINO is missing"
    from rvm_trt.engines.openvino_library import fastest_precision

    fastest = fastest_precision().value
    return "fp32, bf16 natively" if fastest == "bf16" else "fp32; bf16 only by conversion, without a gain"


def _weights() -> str:
    folder = cache_dir() / "weights"
    files = sorted(path.name for path in Path(folder).glob("*.pth"))
    return f"{', '.join(files)} in {folder}" if files else "none yet: rvm-trt weights"


def _version(package: str) -> str:
    return installed_version(package) or "unknown version"
