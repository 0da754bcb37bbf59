"""Element types: one name for what each library calls differently, and the bytes that a tensor of it takes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

# Myelin, TensorRT's inspector, OpenVINO and ONNX, in lower case → NumPy's word, or the nearest to it.
_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("float", "fp32", "f32", "float32", "tf32"), "float32"),
    **dict.fromkeys(("half", "fp16", "f16", "float16"), "float16"),
    **dict.fromkeys(("bf16", "bfloat16"), "bfloat16"),
    **dict.fromkeys(("double", "fp64", "f64", "float64"), "float64"),
    **dict.fromkeys(("fp8", "fp8_e4m3", "float8e4m3fn", "f8e4m3"), "float8_e4m3"),
    **dict.fromkeys(("fp8_e5m2", "float8e5m2", "f8e5m2"), "float8_e5m2"),
    **dict.fromkeys(("bool", "boolean"), "bool"),
    **{f"i{bits}": f"int{bits}" for bits in (4, 8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (4, 8, 16, 32, 64)},
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64)},
}
# Of a tensor and of one side: no memory holds more, and larger numbers overflow where they are shown.
_MAX_ELEMENTS = 1 << 60
_BITS: Mapping[str, int] = {"bool": 8, "float8_e4m3": 8, "float8_e5m2": 8}


def element_type(words: str) -> str:
    """Returns the element type that a library's words name, such as ``float16`` for ``Row major linear FP16``.

    Words that name none are returned as they are, in lower case.
    """
    lowered = words.lower()
    for word in (lowered, *re.findall(r"\w+", lowered)):
        if word in _NAMES:
            return _NAMES[word]
    return lowered


def tensor_bytes(shape: tuple[int, ...], dtype: str) -> int | None:
    """Returns the bytes of a tensor's elements, or None where a size (-1) or the element type is not known.

    Raises:
        ValueError: there are more elements than any memory holds.
    """
    elements = 1
    for size in shape:
        elements *= max(size, 1)
        if elements > _MAX_ELEMENTS:
            raise ValueError(f"a tensor of more than 2**{_MAX_ELEMENTS.bit_length() - 1} elements")
    digits = re.search(r"\d+$", dtype)
    bits = _BITS.get(dtype) or (int(digits.group()) if dtype in _NAMES and digits else None)
    if bits is None or any(size < 0 for size in shape):
        return None
    return math.ceil(math.prod(shape) * bits / 8)
