"""The archive of a checkpoint, checked before PyTorch sees it: its members, their sizes, and each step of its pickle.

``weights_only`` runs no code of a checkpoint's, but it builds and hashes whatever the pickle describes: three megabytes
can overflow its stack, keep it busy for ever, or fill the memory. A state dict needs four callables and shares nothing
but names, so that little else has to be let through.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator

_MAX_MEMBERS = 4096
_MAX_PICKLE_BYTES = 4 << 20
_MAX_DEPTH = 16
_CENTRAL = b"PK\x01\x02"  # starts each entry of a zip archive's directory
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PICKLE = "data.pkl"
_MEMBER = re.compile(r"data\.pkl|version|byteorder|data/[0-9]{1,9}")
_STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_GLOBALS = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *(f"torch {kind}Storage" for kind in _STORAGES),
    }
)
_NAMES = frozenset({"GLOBAL", "BINUNICODE"})
_PUTS = frozenset({"BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"BINGET", "LONG_BINGET"})
_FILLS = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD"})
_LEAVES = frozenset(
    {"BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1", "NONE", "NEWTRUE", "NEWFALSE", "PROTO", "STOP"}
)
_BUILDS = frozenset(
    {"MARK", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"}
)
_OPERATIONS = _NAMES | _PUTS | _GETS | _FILLS | _LEAVES | _BUILDS | {"REDUCE", "BINPERSID"}


def checked_archive(content: bytes, *, max_bytes: int) -> io.BytesIO:
    """Returns an archive for `torch.load`, written anew from the checked members of a checkpoint's.

    PyTorch reads archives with a library of its own: of the original it could see other members than were checked.

    Args:
        content: the checkpoint file, as PyTorch 1.6 and later write it.
        max_bytes: the most that the members may hold together.

    Raises:
        ValueError: it is no such file, too large, or its pickle does more than name tensors.
        zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, struct.error: the archive is damaged.
    """
    if not content.startswith(b"PK\x03\x04"):
        raise ValueError("no zip archive, as PyTorch writes since 1.6")
    if content.count(_CENTRAL) > _MAX_MEMBERS:
        raise ValueError(f"an archive of more than {_MAX_MEMBERS} members")
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(written, "w") as archive:
        if sum(member.file_size for member in given.infolist()) > max_bytes:
            raise ValueError(f"more than {max_bytes} bytes of content")
        for name, member in _members(given):
            data = given.read(member)
            if name == _PICKLE:
                check_pickle(data)
            archive.writestr(f"archive/{name}", data)
    written.seek(0)
    return written


def _members(given: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yields the members that PyTorch reads, by their names without that of the archive, the pickle being one."""
    folder = given.infolist()[0].filename.partition("/")[0]
    found: set[str] = set()
    for member in given.infolist():
        name = member.filename.removeprefix(f"{folder}/")
        if name == member.filename or not _MEMBER.fullmatch(name):
            continue
        if name in found or member.compress_type not in _PLAIN:
            raise ValueError(f"{member.filename!r} twice, or in a compression that PyTorch does not use")
        if name == _PICKLE and member.file_size > _MAX_PICKLE_BYTES:
            raise ValueError(f"{member.filename!r} of {member.file_size} bytes")
        found.add(name)
        yield name, member
    if _PICKLE not in found:
        raise ValueError(f"no member {_PICKLE}")


def check_pickle(content: bytes) -> None:
    """Checks, operation by operation, that a pickle can only make names, numbers, tensors and what holds them.

    What it makes is at most 16 deep, and nothing but a name is used twice: then neither hashing nor printing a value
    takes longer than reading it.

    Raises:
        ValueError: it does anything else, or is damaged.
    """
    names: set[object] = set()
    depths: list[int | None] = []  # of what is on the unpickler's stack; None is a mark
    before = ""
    for operation, argument, _ in pickletools.genops(content):
        name = operation.name
        if name not in _OPERATIONS:
            raise ValueError(f"a pickle with the operation {name}")
        if name == "GLOBAL" and argument not in _GLOBALS:
            raise ValueError(f"a pickle that uses {argument!r}")
        if name in _GETS and argument not in names:
            raise ValueError("a pickle that uses one value twice")
        if name in _PUTS:
            (names.add if before in _NAMES | _GETS else names.discard)(argument)
            continue
        _move(depths, operation)
        before = name
    if depths:
        raise ValueError("a pickle that leaves values behind")


def _move(depths: list[int | None], operation: pickletools.OpcodeInfo) -> None:
    """Takes what an operation takes off the stack, and puts there how deep that makes what it leaves."""
    if operation.name == "MARK":
        depths.append(None)
        return
    takes = list(operation.stack_before)
    taken: list[int] = []
    if pickletools.markobject in takes:
        while (depth := _pop(depths)) is not None:
            taken.append(depth)
        takes = takes[: takes.index(pickletools.markobject)]
    held = [_pop(depths) for _ in takes]
    if None in held:
        raise ValueError("a pickle that takes a mark for a value")
    values = [depth for depth in held if depth is not None]
    if operation.name in _FILLS:
        filled = values.pop()
        depths.append(max(filled, 1 + max([*values, *taken], default=0)))
    else:
        deepest = max([*values, *taken], default=-1)
        depths.extend([1 + deepest] * len(operation.stack_after))
    if depths and (depths[-1] or 0) > _MAX_DEPTH:
        raise ValueError(f"a pickle of values more than {_MAX_DEPTH} deep")


def _pop(depths: list[int | None]) -> int | None:
    if not depths:
        raise ValueError("a pickle that takes more than it made")
    return depths.pop()
