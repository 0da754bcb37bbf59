"""Mutations that know the format: what they make still parses far enough to reach the code behind the parser."""

from __future__ import annotations

import io
import json
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any

Mutator = Callable[[bytes, Random], bytes]
BLOCK = 512
NUMBERS = (
    0,
    -1,
    1,
    2,
    3,
    4,
    16,
    255,
    256,
    65535,
    65536,
    1 << 31,
    -(1 << 31),
    (1 << 63) - 1,
    1 << 63,
    1 << 70,
)
VALUES: tuple[Any, ...] = (
    *NUMBERS,
    10**400,
    0.5,
    1e308,
    float("inf"),
    float("nan"),
    True,
    None,
    "",
    "a" * 3000,
    "\x1b[31m\x07",
    "\ud800",
    "../../etc/passwd",
    "float32",
    [],
    {},
    [[]],
    ["a", 1],
    [["a", 1], [2, 3]],
    {"a": 1},
)
DEEP = "@deep@"
WORDS = (
    *(str(number).encode() for number in NUMBERS),
    *(b"9" * 400, b"9" * 5000, b"1e999", b"nan", b"-", b"", b"\xff", b"\x1b[31m", b"a" * 3000),
    *(b'"', b'\\"', b"{", b"}", b"{ a={" * 20, b"=", b"==", b" ", b"<", b"/>", b"&a;", b"<a>" * 2000),
    *(b"half", b"float", b"int4", b"*", b"host", b"accelerator", b"x.1", b"y.1", b"0", b"Const", b"Result"),
)
GLOBALS = (
    b"posix\nsystem\n",
    b"builtins\neval\n",
    b"builtins\nbytearray\n",
    b"_codecs\nencode\n",
    b"collections\nOrderedDict\n",
    b"collections\nCounter\n",
    b"torch\nFloatStorage\n",
    b"torch\nUntypedStorage\n",
    b"torch\nSize\n",
    b"torch._utils\n_rebuild_tensor_v2\n",
    b"torch._utils\n_rebuild_parameter\n",
    b"torch._utils\n_rebuild_nested_tensor\n",
    b"torch._tensor\n_rebuild_from_type_v2\n",
)
PAX = (
    "path=../../x",
    "path=package/models/rvm.json",
    "size=-1",
    "size=99999999999",
    "size=x",
    "GNU.sparse.major=1",
    "GNU.sparse.minor=0",
    "GNU.sparse.map=1,x",
    "GNU.sparse.size=x",
    "GNU.sparse.name=y",
    "hdrcharset=BINARY",
    "mtime=1e999",
    "uid=" + "9" * 600,
)


def mutate_bytes(data: bytes, rng: Random) -> bytes:
    """Flips, inserts, removes, copies or cuts a few bytes, whatever they mean."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(content) + 1)
        what = rng.randrange(6)
        if what == 0 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            content[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif what == 2:
            del content[at : at + rng.randrange(1, 17)]
        elif what == 3:
            start = rng.randrange(len(content) + 1)
            content[at:at] = content[start : start + rng.randrange(1, 65)]
        elif what == 4:
            content[at : at + 4] = struct.pack("<I", rng.choice(NUMBERS) & 0xFFFFFFFF)
        elif rng.randrange(4) == 0:
            del content[at:]
    return bytes(content)


def mutate_words(data: bytes, rng: Random) -> bytes:
    """Changes, removes, copies or moves a few words of a text, or the marks between them."""
    parts = re.split(rb'([\s{}="<>/\[\]]+)', data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, what = rng.randrange(len(parts)), rng.randrange(6)
        if what < 3:
            parts[at] = rng.choice(WORDS)
        elif what == 3:
            parts[at] = rng.choice(parts)
        elif what == 4:
            parts[at:at] = parts[rng.randrange(len(parts)) :][: rng.randrange(1, 40)]
        elif len(parts) > 2:
            del parts[at : at + rng.randrange(1, 3)]
    return b"".join(parts)


def mutate_json(data: bytes, rng: Random) -> bytes:
    """Changes, removes, copies or wraps a few values of a JSON text."""
    try:
        value = json.loads(data)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            value = _changed(value, rng)
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return mutate_bytes(data, rng)
    if DEEP in text:
        levels = rng.choice((20, 40, 300, 900, 960, 990, 1000, 5000))
        text = text.replace(f'"{DEEP}"', "[" * levels + "]" * levels)
    return text.encode()


def _changed(root: Any, rng: Random) -> Any:
    places = list(_places(root))
    if not places:
        return _value(rng)
    holder, key = rng.choice(places)
    what = rng.randrange(8)
    if what < 4:
        holder[key] = _value(rng)
    elif what == 4:
        del holder[key]
    elif what == 5:
        other, its = rng.choice(places)
        holder[key] = deepcopy(other[its])
    elif what == 6 and isinstance(holder, list):
        holder.insert(key, deepcopy(holder[key]))
    elif isinstance(holder, dict):
        holder[rng.choice(("", "a" * 300, "\ud800", "../x", key + "x"))] = holder.pop(key)
    return root


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from _places(node[key])


def _value(rng: Random) -> Any:
    return deepcopy(rng.choice((*VALUES, DEEP, rng.randrange(-(1 << 40), 1 << 40), rng.random())))


def mutate_zip(data: bytes, rng: Random, inner: Callable[[str, bytes, Random], bytes]) -> bytes:
    """Changes members of an archive, the archive staying whole in most cases: content, names, sizes, compression."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    except Exception:  # noqa: BLE001 what does not read any more is mutated as bytes
        return mutate_bytes(data, rng)
    compression, index = zipfile.ZIP_STORED, rng.randrange(len(members)) if members else 0
    what = rng.randrange(10) if members else 9
    if what < 6:
        name, content = members[index]
        members[index] = name, inner(name, content, rng)
    elif what == 6:
        del members[index]
    elif what == 7:
        members.append((rng.choice(("../x", "a", "/x", members[index][0])), members[index][1]))
    elif what == 8:
        compression = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    written = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(written, "w", compression) as archive:
        warnings.simplefilter("ignore")  # names that are there twice
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return _lying(written.getvalue(), rng) if what == 9 else written.getvalue()


def _lying(archive: bytes, rng: Random) -> bytes:
    """Changes a field of an entry in the directory: method, sizes, or where the member starts."""
    starts = [at for at in range(len(archive)) if archive.startswith(b"PK\x01\x02", at)]
    if not starts:
        return mutate_bytes(archive, rng)
    at = rng.choice(starts) + rng.choice((8, 10, 16, 20, 24, 28, 30, 42))
    return archive[:at] + struct.pack("<H", rng.choice(NUMBERS) & 0xFFFF) + archive[at + 2 :]


def mutate_pickle(data: bytes, rng: Random) -> bytes:
    """Removes, repeats, moves or adds operations of a pickle, or changes what they carry."""
    try:
        starts = [position for _, _, position in pickletools.genops(data)]
    except ValueError:
        return mutate_bytes(data, rng)
    parts = [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, what = rng.randrange(len(parts)), rng.randrange(7)
        if what == 0 and len(parts) > 1:
            del parts[at]
        elif what == 1:
            parts.insert(at, rng.choice(parts))
        elif what == 2:
            parts[at:at] = parts[rng.randrange(len(parts)) :][: rng.randrange(1, 12)]
        elif what == 3:
            parts[at] = mutate_bytes(parts[at], rng)
        else:
            parts.insert(at, _operation(rng))
    return b"".join(parts)


def _operation(rng: Random) -> bytes:
    return rng.choice(
        (
            b"c" + rng.choice(GLOBALS),
            b"\x85" * rng.choice((1, 20, 5000, 200_000)),
            b"".join(b"q%ch%c\x86" % (n, n) for n in range(40)),
            b"J" + struct.pack("<I", rng.choice(NUMBERS) & 0xFFFFFFFF),
            b"\x8a\xff" + rng.randbytes(255),
            b"X\x03\x00\x00\x00\xed\xa0\x80",
            b"X\x05\x00\x00\x00items",
            b"h" + rng.randbytes(1),
            b"q" + rng.randbytes(1),
            *(bytes([code]) for code in b"}])(tRbNQQsue.a\x88\x89\x86\x87"),
        )
    )


def mutate_npy(data: bytes, rng: Random) -> bytes:
    """Changes the header of an array: its shape, its type, or how it says them."""
    old, new = rng.choice(
        (
            (b"'<f4'", rng.choice((b"'|O'", b"'<f8'", b"'>f4'", b"'<c8'", b"[('a', '<f4')]", b"'|V4'"))),
            (b"'shape': (", b"'shape': (" + str(rng.choice(NUMBERS)).encode() + b", "),
            (b"(4, ", b"(" + str(rng.choice(NUMBERS)).encode() + b", "),
            (b"False", rng.choice((b"True", b"0", b"__import__('os')"))),
            (b"{", b"{" * rng.choice((2, 100, 300))),
            (b"\x01\x00", rng.choice((b"\x02\x00", b"\x03\x00", b"\x09\x09"))),
        )
    )
    return mutate_bytes(data, rng) if rng.randrange(4) == 0 else data.replace(old, new, 1)


def mutate_tar(data: bytes, rng: Random) -> bytes:
    """Changes members of a tar archive and their headers, whose checksums stay right in most cases."""
    members = list(_members(data))
    if not members or rng.randrange(12) == 0:
        return mutate_bytes(data, rng)
    at, what = rng.randrange(len(members)), rng.randrange(8)
    if what < 4:
        members[at] = _header(members[at], rng) + members[at][BLOCK:]
    elif what == 4:
        members.insert(at, members[rng.randrange(len(members))])
    elif what == 5:
        del members[at]
    else:
        members.insert(at, _description(rng) * (rng.choice((400, 1100)) if rng.randrange(30) == 0 else 1))
    return b"".join(members) + bytes(2 * BLOCK)


def _members(data: bytes) -> Iterator[bytes]:
    start = 0
    while start + BLOCK <= len(data) and any(data[start : start + BLOCK]):
        digits = data[start + 124 : start + 135].strip(b"\0 ")
        size = int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else 0
        end = start + BLOCK * (1 + -(-size // BLOCK))
        yield data[start:end]
        start = end


def _header(member: bytes, rng: Random) -> bytes:
    header = bytearray(member[:BLOCK].ljust(BLOCK, b"\0"))
    start, field = rng.choice(
        (
            (0, rng.choice((b"../x\0", b"/etc/x\0", b"a\\b\0", b"package/models/rvm.bin\0", b"\xff\xfe\0"))),
            (124, rng.choice((b"77777777777\0", b"00000000001\0", b"\x80" + b"\xff" * 11, b"\xff" * 12))),
            (124, b"%011o\0" % rng.randrange(1 << 20)),
            (156, bytes([rng.choice(b"0123456789xgXLKSVD\0~")])),
            (157, b"/etc/passwd\0"),
            (257, rng.choice((b"ustar\x0000", b"ustar  \0", b"\0" * 8))),
            (345, b"../" * 20),
            (rng.randrange(500), rng.randbytes(12)),
        )
    )
    header[start : start + len(field)] = field
    return checked(bytes(header[:BLOCK])) if rng.randrange(8) else bytes(header[:BLOCK])


def checked(header: bytes) -> bytes:
    """Returns a tar header with the right checksum."""
    blank = header[:148] + b" " * 8 + header[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def description(records: bytes, kind: bytes = b"x") -> bytes:
    """Returns a member of a tar archive that describes the next one."""
    header = b"pax\0".ljust(124, b"\0") + b"%011o\0" % len(records)
    header = header.ljust(156, b"\0") + kind
    header = (header.ljust(257, b"\0") + b"ustar\x0000").ljust(BLOCK, b"\0")
    return checked(header) + records.ljust(-(-len(records) // BLOCK) * BLOCK, b"\0")


def _description(rng: Random) -> bytes:
    chosen = [rng.choice(PAX) for _ in range(rng.randrange(1, 5))]
    records = "".join(
        f"{len(record) + 2 + len(str(len(record) + 4))} {record}\n" for record in chosen
    ).encode()
    if rng.randrange(4) == 0:
        records = rng.choice((b"9" * 1000, bytes(4096), mutate_bytes(records, rng)))
    return description(records, rng.choice((b"x", b"x", b"x", b"g", b"L", b"K", b"X")))
