"""A checkpoint: the network's weights from a ``.pth`` file, checked key by key before anything uses them."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from rvm_trt.errors import CheckpointError
from rvm_trt.export.checkpoint_archive import checked_archive
from rvm_trt.export.model import MattingNetwork
from rvm_trt.options import Refiner, Variant
from rvm_trt.untrusted import read_bounded, shown

MAX_BYTES = 512 << 20
_NAMED_AT_MOST = 4
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# What the unpickler, the zip reader and the tensor builder raise on bytes that are not a checkpoint.
_UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    ImportError,
    MemoryError,
    OSError,
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A whole and finite checkpoint.

    Attributes:
        state_dict: every key of ``MattingNetwork(variant, refiner).state_dict()`` in its order, float32 on
            the CPU (``num_batches_tracked`` int64). Loads with ``strict=True``.
        variant: encoder, found from the keys.
        refiner: ``DEEP`` where the file holds ``refiner.*``, else ``FAST``, which has no weights.
        sha256: SHA-256 of the file that was read.
        path: the file.
    """

    state_dict: Mapping[str, Tensor] = field(repr=False)
    variant: Variant
    refiner: Refiner
    sha256: str
    path: Path

    def note(self) -> str | None:
        """Returns one sentence to tell the user where the fast guided filter must stand in, else None."""
        return refiner_note(self.path, self.refiner)


def refiner_note(path: Path, refiner: Refiner) -> str | None:
    """Returns the sentence for a checkpoint without the deep guided filter, or None where it has one."""
    if refiner is Refiner.DEEP:
        return None
    return f"{path.name} holds no deep guided filter; the fast guided filter is used instead."


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint without executing anything in it.

    Half, bfloat16 and double values are cast to float32. ``project_seg`` (training only) and
    ``num_batches_tracked`` (unused at inference) may be missing and become zeros.

    Raises:
        CheckpointError: the file is missing, damaged, larger than 512 MiB, needs code to load, or its keys,
            shapes, types or values do not fit the network; the first few names and the total count are given.
    """
    file = Path(path)
    content = _read(file)
    tensors = _tensors(file, _unpickle(file, content))
    variant = _variant(file, tensors)
    refiner = Refiner.DEEP if any(key.startswith("refiner.") for key in tensors) else Refiner.FAST
    expected = expected_shapes(variant, refiner=refiner)
    _check_keys(file, tensors, expected)
    _check_layout(file, tensors, expected)
    state_dict = {key: _value(key, tensors.get(key), shape) for key, shape in expected.items()}
    _check_values(file, state_dict)
    return Checkpoint(
        state_dict=state_dict,
        variant=variant,
        refiner=refiner,
        sha256=hashlib.sha256(content).hexdigest(),
        path=file,
    )


def expected_shapes(variant: Variant, *, refiner: Refiner) -> dict[str, tuple[int, ...]]:
    """Returns key → shape of the network's state dict, in its order, without allocating the weights."""
    with torch.device("meta"):
        network = MattingNetwork(variant=variant, refiner=refiner)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def empty_value(key: str, *, shape: tuple[int, ...]) -> Tensor:
    """Returns zeros of the type that ``key`` has in a state dict: float32, ``num_batches_tracked`` int64."""
    dtype = torch.int64 if key.endswith("num_batches_tracked") else torch.float32
    return torch.zeros(shape, dtype=dtype)


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, max_bytes=MAX_BYTES)
    except OSError as error:
        raise CheckpointError(
            str(path),
            got=error.strerror or str(error),
            expected="a readable checkpoint file",
            todo="Give the path of a .pth file.",
        ) from None
    except ValueError as error:
        raise _unreadable(path, got=str(error)) from None


def _unpickle(path: Path, content: bytes) -> object:
    try:
        archive = checked_archive(content, max_bytes=MAX_BYTES)
        return torch.load(archive, weights_only=True, map_location="cpu")
    except _UNREADABLE as error:
        first_line = shown((str(error).strip() or type(error).__name__).splitlines()[0]).rstrip(" .")
        raise _unreadable(path, got=f"a file that does not load as plain tensors ({first_line})") from None


def _tensors(path: Path, loaded: object) -> dict[str, Tensor]:
    if not isinstance(loaded, dict):
        raise _misfit(path, got=f"a {type(loaded).__name__}", expected="a state dict of names and tensors")
    # A pickle can give an OrderedDict an attribute named items.
    entries = list(dict.items(loaded))
    wrong = [
        key if isinstance(key, str) else f"a key of type {type(key).__name__}"
        for key, value in entries
        if not isinstance(key, str) or not isinstance(value, Tensor)
    ]
    if wrong:
        raise _misfit(
            path,
            got=f"entries that are not tensors: {_listed(wrong)}",
            expected="a state dict of names and tensors",
        )
    return {key: value.detach() for key, value in entries}


def _variant(path: Path, tensors: Mapping[str, Tensor]) -> Variant:
    if any(key.startswith("backbone.features.") for key in tensors):
        return Variant.MOBILENETV3
    if any(key.startswith(("backbone.layer1.", "backbone.conv1.")) for key in tensors):
        return Variant.RESNET50
    raise _misfit(
        path,
        got=f"the keys {_listed(list(tensors))}" if tensors else "no keys",
        expected="'backbone.features.…' (mobilenetv3) or 'backbone.layer1.…' (resnet50)",
    )


def _check_keys(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    missing = [key for key in expected if key not in tensors and not _optional(key)]
    extra = [key for key in tensors if key not in expected]
    parts = [f"missing {_listed(missing)}"] * bool(missing) + [f"unexpected {_listed(extra)}"] * bool(extra)
    if parts:
        raise _misfit(path, got="; ".join(parts), expected=f"the {len(expected)} keys of the network")


def _check_layout(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Checks shapes and types before any value is touched, so that a forged size allocates nothing."""
    shapes = [
        f"{key} {tuple(value.shape)} for {expected[key]}"
        for key, value in tensors.items()
        if tuple(value.shape) != expected[key]
    ]
    if shapes:
        raise _misfit(path, got=f"other shapes: {_listed(shapes)}", expected="the shapes of the network")
    types = [f"{key} {_type_name(value)}" for key, value in tensors.items() if not _usable(key, value)]
    if types:
        raise _misfit(
            path, got=f"other types: {_listed(types)}", expected="dense floating-point tensors with values"
        )


def _usable(key: str, value: Tensor) -> bool:
    if value.layout is not torch.strided or value.device.type != "cpu":
        return False
    if key.endswith("num_batches_tracked"):
        return value.dtype in (torch.int64, torch.int32)
    return value.dtype in _FLOATS


def _type_name(value: Tensor) -> str:
    words = [str(value.dtype).removeprefix("torch.")]
    if value.layout is not torch.strided:
        words.append(str(value.layout).removeprefix("torch."))
    if value.device.type != "cpu":
        words.append(f"on {value.device.type}")
    return " ".join(words)


def _optional(key: str) -> bool:
    return key.startswith("project_seg.") or key.endswith(".num_batches_tracked")


def _value(key: str, given: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    zeros = empty_value(key, shape=shape)
    return zeros if given is None else zeros.copy_(given)


def _check_values(path: Path, state_dict: Mapping[str, Tensor]) -> None:
    wrong = [key for key, value in state_dict.items() if not bool(torch.isfinite(value).all())]
    if wrong:
        raise _misfit(
            path, got=f"NaN or infinite values in {_listed(wrong)}", expected="finite float32 values"
        )
    negative = [
        key for key, value in state_dict.items() if key.endswith("running_var") and bool((value < 0).any())
    ]
    if negative:
        raise _misfit(
            path, got=f"negative variances in {_listed(negative)}", expected="variances of at least 0"
        )


def _listed(names: Sequence[str]) -> str:
    first = ", ".join(shown(name, limit=120) for name in names[:_NAMED_AT_MOST])
    return first if len(names) <= _NAMED_AT_MOST else f"{first}, … ({len(names)} in all)"


def _unreadable(path: Path, *, got: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        got=got,
        expected="a whole PyTorch state dict",
        todo="Download the checkpoint again, or give another file.",
    )


def _misfit(path: Path, *, got: str, expected: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        got=got,
        expected=expected,
        todo="Give rvm_mobilenetv3.pth or rvm_resnet50.pth as the original project publishes them.",
    )
