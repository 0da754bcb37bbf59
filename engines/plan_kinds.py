"""The kinds of kernels in words: what a statement of a plan's program, or its name, says that it computes."""

from __future__ import annotations

import re
from collections.abc import Mapping

REFORMAT = "reformat"
_KEYWORDS: Mapping[str, str] = {
    "corrltn": "convolution",
    "deconvolution": "transposed convolution",
    "fully_connected": "matrix product",
    "avgpool": "pooling",
    "maxpool": "pooling",
}
_BACKBONES: Mapping[str, str] = {
    "conv": "fused convolution",
    "deconv": "fused transposed convolution",
    "gemm": "fused matrix product",
}
# The compiler's kernel_kind; 8 is pointwise through a transposition in shared memory.
_POINTWISE_KINDS, _REDUCTION_KINDS = ("1", "8"), ("2",)
# A generated kernel's name holds the first letters of each of its steps.
_MOVES = frozenset({"Cast", "Conc", "Move", "Resh", "Slic", "Tran"})
_REDUCTIONS = frozenset({"Maxr", "Mean", "Sum", "Topk"})
_POINTWISE = frozenset(
    {"Add", "Div", "Erf", "Exp", "Gtr", "Max", "Min", "Mul", "Relu", "Roun", "Sigm", "Sqrt", "Sub", "Tanh"}
)


def statement_kind(keyword: str, name: str, *, backbone: str = "", kernel_kind: str = "") -> str:
    """Returns the kind of a statement's kernel; the statement's own keyword where nothing better is known.

    Args:
        keyword: of the statement: ``corrltn``, ``function``, …
        name: of the kernel.
        backbone: what a ``runtime_fusion`` is built around.
        kernel_kind: the compiler's number for a ``function``.
    """
    if keyword == "runtime_fusion" and backbone:
        return _BACKBONES.get(backbone, f"fused {backbone}")
    if keyword in ("function", "runtime_function"):
        return generated_kind(name, kernel_kind) or keyword
    return _KEYWORDS.get(keyword, keyword)


def generated_kind(name: str, kernel_kind: str | None = None) -> str | None:
    """Returns the kind of a kernel that the compiler generated, by its name: ``__myl_MulAddTran``, say.

    Args:
        name: of the kernel.
        kernel_kind: the compiler's number for it; without it the steps in the name have to tell.

    Returns:
        The kind, or None where it is not known.
    """
    if name.startswith("_gemm_mha"):
        return "attention"
    steps = set(re.findall(r"[A-Z][a-z0-9]*", name)) if name.startswith("__myl_") else set()
    if steps and steps <= _MOVES:
        return REFORMAT
    if kernel_kind in _REDUCTION_KINDS if kernel_kind else steps & _REDUCTIONS:
        return "reduction"
    if "Resi" in steps:
        return "resize"
    pointwise = kernel_kind in _POINTWISE_KINDS if kernel_kind else steps and steps <= _POINTWISE | _MOVES
    return "pointwise" if pointwise else None


def layer_names(text: str) -> tuple[str, ...]:
    """Returns the layers' names, each once, of ``[ONNX Layer: a]`` and so on with control characters between."""
    names = (
        part.removeprefix("[ONNX Layer: ").removesuffix("]") if part.startswith("[ONNX Layer: ") else part
        for part in re.split("[\x1e\x1f]", text)
    )
    return tuple(dict.fromkeys(name for name in names if name))
