"""What an engine will be before it is built: its manifest, without files and accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rvm_trt
from rvm_trt.digest import source_digest
from rvm_trt.engines.manifest import Manifest, contract_of
from rvm_trt.engines.openvino_library import check_precision, import_openvino
from rvm_trt.engines.tensorrt_library import load_library
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import OptionError
from rvm_trt.options import Backend, Graph, Precision, Refiner
from rvm_trt.profile import Profile

_TENSORRT_PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)


def describe(
    profile: Profile,
    graph: Graph,
    precision: Precision,
    backend: Backend,
    *,
    checkpoint_sha256: str,
    checkpoint_refiner: Refiner,
    onnx_sha256: str,
    network_sha256: str,
    torch: str,
    options: TensorRtOptions,
    calibration: Mapping[str, Any] | None,
    mad_budget: float,
) -> Manifest:
    """Returns the manifest that an engine of these inputs would have, without files and accuracy.

    Raises:
        OptionError: the backend does not offer the precision or the options, or INT8 lacks footage.
        DependencyError: the backend's library is not installed.
    """
    made: dict[str, Any] = {
        "rvm_trt": rvm_trt.__version__,
        "source": source_digest("rvm_trt", "rvm_trt.export", "rvm_trt.engines"),
        "checkpoint_refiner": checkpoint_refiner.value,
        "torch": torch,
        "network_sha256": network_sha256,
    }
    if precision is Precision.INT8:
        if calibration is None:
            raise OptionError(
                "calibration",
                got="none",
                expected="footage of people, for INT8",
                todo="Give calibration=, or a clip with --calibration.",
            )
        check_budget(mad_budget)
        made["quantisation"] = {"footage": dict(calibration), "mad_budget": mad_budget}
    targets: tuple[str, ...]
    if backend is Backend.CPU:
        check_precision(precision)
        version, targets = str(import_openvino().__version__), ("cpu",)
    else:
        _check_tensorrt_precision(precision, backend)
        library = load_library(backend)
        library.check(options)
        made["options"] = options.to_json()
        version = library.version
        targets = options.targets if library.builds_ahead_of_time else ("gpu-at-build",)
    return Manifest(
        profile=profile,
        graph=graph,
        precision=precision,
        backend=backend,
        backend_version=version,
        tensors=contract_of(profile, graph, precision, backend),
        targets=targets,
        checkpoint_sha256=checkpoint_sha256,
        onnx_sha256=onnx_sha256,
        made=made,
    )


def check_budget(mad_budget: float) -> None:
    """Raises `OptionError` unless the budget of an INT8 search is above 0."""
    if not mad_budget > 0:
        raise OptionError(
            "mad-budget", got=f"{mad_budget:g}", expected="a number above 0", todo="Give 0.001, say."
        )


def _check_tensorrt_precision(precision: Precision, backend: Backend) -> None:
    if precision not in _TENSORRT_PRECISIONS:
        raise OptionError(
            "precision",
            got=f"{precision.value!r} for the {backend.value} backend",
            expected=" or ".join(repr(p.value) for p in _TENSORRT_PRECISIONS),
            todo="Choose one of these.",
        )
