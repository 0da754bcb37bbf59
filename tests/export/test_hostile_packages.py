"""Archives made to fill the memory or stall what reads them, and other guards of the web model's readers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from weight_sources import BIN, JSON, LICENCE, packed

from rvm_trt.errors import WeightsError
from rvm_trt.export.npm_package import read_members
from rvm_trt.export.webmodel import convert_web_model
from rvm_trt.export.weight_cache import AlteredError, WeightCache

LIMITS = {JSON: 1 << 16, BIN: 1 << 16, LICENCE: 1 << 16}
MEMBERS = [(LICENCE, b"MIT License"), (BIN, b"12"), (JSON, b"{}")]


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    member = tarfile.TarInfo(name)
    member.type = kind
    block = member.tobuf(tarfile.GNU_FORMAT)
    field = (
        b"\x80" + size.to_bytes(11, "big") if size >= 0 else b"\xff" + (256**11 + size).to_bytes(11, "big")
    )
    blank = block[:124] + field + block[136:148] + b" " * 8 + block[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def described(records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A member that describes the next one."""
    return header(kind, len(records)) + records.ljust(-(-len(records) // 512) * 512, b"\0")


def record(text: str) -> bytes:
    return f"{len(text) + 4} {text}\n".encode() if len(text) + 4 > 9 else f"{len(text) + 3} {text}\n".encode()


def refused(path: Path, archive: bytes) -> str:
    path.write_bytes(archive)
    started = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        read_members(path, max_bytes=LIMITS)
    assert time.monotonic() - started < 20, (
        "not a matter of speed: without the guard it takes minutes or hours"
    )
    assert str(caught.value).isprintable()
    return f"{caught.value.got}, {caught.value.expected}"


REST = gzip.decompress(packed(MEMBERS))
HOSTILE = {
    "a description of fewer bytes than none": (header(tarfile.XHDTYPE, -100), "a member of -100 bytes"),
    "descriptions without end": (described(b"") * 10_001, "more than 10000 members"),
    "a member of fewer bytes than none": (header(tarfile.REGTYPE, -100), "a member of -100 bytes"),
    "a member of 2 GiB": (header(tarfile.REGTYPE, 2 << 30), "at most 1 GiB"),
    "a member of 2 GiB that is said to have no size": (
        described(record("size=x"), tarfile.XGLTYPE) + header(tarfile.REGTYPE, 2 << 30),
        "at most 1 GiB",
    ),
    "a member of 2**80 bytes that is said to have no size": (
        described(record("size=x"), tarfile.XGLTYPE) + header(tarfile.REGTYPE, 1 << 80),
        "at most 1 GiB",
    ),
    "a device": (header(tarfile.CHRTYPE, 0, BIN), "a link, a device or with holes"),
    "a file with holes": (header(tarfile.GNUTYPE_SPARSE, 0, BIN), "a link, a device or with holes"),
}
DESCRIBED = {
    "64 MiB": described(bytes(64 << 20)),
    "a long name of 64 MiB": described(bytes(64 << 20), tarfile.GNUTYPE_LONGNAME),
    "digits to search in for hours": described(b"9" * 500_000),
    "descriptions of descriptions": described(record("mtime=1.0")) * 2000,
    "a map of holes that is none": described(record("GNU.sparse.map=1,x") + record("GNU.sparse.size=9")),
    "a map of holes without end": described(
        record("GNU.sparse.major=1") + record("GNU.sparse.minor=0") + record("GNU.sparse.realsize=9")
    )
    + header(tarfile.REGTYPE, (8 << 20) + 100)
    + b"9" * 99
    + b"\n"
    + b"1\n" * (4 << 20)
    + bytes(412),
    "a character set that does not decode": described(b"24 hdrcharset=\xff\xfe\xfd\xfc\xfb\n"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused(what: str, tmp_path: Path) -> None:
    start, words = HOSTILE[what]
    assert words in refused(tmp_path / "a.tgz", gzip.compress(start + REST, 1))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", DESCRIBED)
def test_descriptions_are_passed_over_in_little_memory(what: str, tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(gzip.compress(DESCRIBED[what] + REST, 1))
    tracemalloc.start()
    try:
        assert read_members(tmp_path / "a.tgz", max_bytes=LIMITS) == dict(MEMBERS)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", range(1, 40, 3))
def test_an_archive_cut_in_its_first_bytes_is_refused(length: int, tmp_path: Path) -> None:
    assert "damaged" in refused(tmp_path / "a.tgz", packed(MEMBERS)[:length])


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_what_tar_writes_is_read(form: int, tmp_path: Path) -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz", format=form) as archive:
        for name, content in [*MEMBERS, *((f"package/{'x' * 90}/{n}{'ü' * 9}", b"1") for n in range(20))]:
            if form == tarfile.USTAR_FORMAT and "ü" in name:
                continue
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 1.5 if form == tarfile.PAX_FORMAT else 1
            archive.addfile(member, io.BytesIO(content))
    (tmp_path / "a.tgz").write_bytes(written.getvalue())
    assert read_members(tmp_path / "a.tgz", max_bytes=LIMITS) == dict(MEMBERS)


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "levels", [40, 900, *range(sys.getrecursionlimit() - 60, sys.getrecursionlimit(), 7)]
)
def test_a_web_model_that_nests_deep_is_refused_however_deep(levels: int, web: Any) -> None:
    model = json.loads(web.model())
    model["weightsManifest"][0]["weights"].insert(0, ["@"])
    text = json.dumps(model).replace('"@"', deep(levels))
    with pytest.raises(WeightsError, match="does not parse"):
        convert_web_model(text.encode(), weights=web.weights)


def spoilt(change: Callable[[list[dict[str, Any]]], object], web: Any) -> str:
    model = json.loads(web.model())
    change(model["weightsManifest"][0]["weights"])
    with pytest.raises(WeightsError) as caught:
        convert_web_model(json.dumps(model).encode(), weights=web.weights)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize("name", ["\x1b[31m", "\ud800", "a\nb", "x" * 5000])
@pytest.mark.parametrize("field", ["shape", "quantization"])
def test_names_of_a_web_model_are_quoted_short_and_plain(name: str, field: str, web: Any) -> None:
    def change(entries: list[dict[str, Any]]) -> None:
        wrong = {"shape": [60000, 60000], "quantization": {"dtype": "uint8", "scale": None, "min": 0}}
        entries[0].update({"name": name, field: wrong[field]})

    assert spoilt(change, web).isprintable()


def test_a_mean_of_millions_of_values_is_not_printed(web: Any) -> None:
    def change(entries: list[dict[str, Any]]) -> None:
        (kernel,) = (entry for entry in entries if entry["name"].endswith("conv2d_46/Conv2D_weights"))
        entries[0]["name"], kernel["name"] = "other", entries[0]["name"]

    assert "input mean (1, 1, 160, 960)" in spoilt(change, web)


def test_a_damaged_record_of_the_cache_is_an_altered_one(tmp_path: Path) -> None:
    texts = dict.fromkeys(("origin", "licence", "date"), "x")
    record = {**texts, "sha256": hashlib.sha256(b"weights").hexdigest(), "converted_from": {}}
    whole = json.dumps({**record, "variant": "mobilenetv3", "refiner": "fast_guided_filter"}).encode()
    (tmp_path / "rvm.pth").write_bytes(b"weights")
    (tmp_path / "rvm.json").write_bytes(whole)
    assert WeightCache(tmp_path).find("rvm.pth") is not None
    for content in (b"[" * 5000, whole + b" " * (1 << 17), b"[]", b"9" * 6000, b"\xff", whole[:-9]):
        (tmp_path / "rvm.json").write_bytes(content)
        with pytest.raises(AlteredError, match="a damaged record"):
            WeightCache(tmp_path).find("rvm.pth")
