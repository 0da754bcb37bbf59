"""Checkpoints made to crash, stall or fill the memory of what loads them: each is refused in words, soon."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from rvm_trt.errors import CheckpointError
from rvm_trt.export import checkpoint
from rvm_trt.export.checkpoint import load_checkpoint
from rvm_trt.export.checkpoint_archive import check_pickle, checked_archive

START, ORDERED = b"\x80\x02", b"ccollections\nOrderedDict\n"
MANY = 300_000


def text(value: str) -> bytes:
    content = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def doubling(levels: int) -> bytes:
    """A tuple of the same tuple twice, and so on: 2**levels steps to hash or print."""
    return b")" + b"".join(b"q%ch%c\x86" % (level, level) for level in range(levels))


PICKLES = {
    "tuples so deep that hashing them overflows the stack": (b"})" + b"\x85" * MANY + b"K\x01s.", "deep"),
    "lists so deep that printing them overflows the stack": (b"]" * MANY + b"a" * (MANY - 1) + b".", "deep"),
    "a key that takes 2**40 steps to hash": (b"}" + doubling(40) + b"K\x01s.", "twice"),
    "a name that takes 2**40 steps to print": (b"(" + text("storage") + doubling(40) + b"tQ.", "twice"),
    "a value put in the place of a name": (text("a") + b"q\x00)q\x00h\x00\x86.", "twice"),
    "two gigabytes of zeros": (b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "uses 'builtins bytearray'"),
    "a text doubled without end": (
        b"c_codecs\nencode\n" + text("a") + text("hex") + b"\x86R.",
        "uses '_codecs",
    ),
    "the method items overwritten": (ORDERED + b")R}(" + text("items") + b"K\x01ub.", "no keys"),
    "a class of its own": (
        b"ctorch._utils\n_rebuild_wrapper_subclass\n)R.",
        "uses 'torch._utils _rebuild_wrapper",
    ),
    "code": (b"cposix\nsystem\n" + text("true") + b"\x85R.", "uses 'posix system'"),
    "code of Python 2's name": (b"c__builtin__\neval\n" + text("1") + b"\x85R.", "uses '__builtin__ eval'"),
    "a key of 2000 bits": (b"}\x8a\xff" + b"\x7f" * 255 + b"K\x01s.", "a key of type int"),
    "a key of half a character": (b"}" + text("\ud800") + b"K\x01s.", r"\ud800"),
    "a key that steers a terminal": (b"}" + text("\x1b[2J") + b"K\x01s.", r"\x1b[2J"),
    "more values than are taken": (b"K\x01K\x02.", "leaves values behind"),
    "nothing": (b".", "takes more than it made"),
    "no end": (b"}" * 10, "STOP"),
    "a mark for a value": (b"(.", "a mark for a value"),
    "an operation that PyTorch does not write": (b"}0.", "the operation POP"),
}


def container(pickled: bytes, **members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        for name, data in members.items():
            archive.writestr(f"archive/data/{name.removeprefix('_')}", data)
    return content.getvalue()


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=path.name) as caught:
        load_checkpoint(path)
    assert time.monotonic() - started < 20, "not a matter of speed: without the guard it takes hours"
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1000
    return caught.value.got


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", PICKLES)
def test_a_hostile_pickle_is_refused(what: str, tmp_path: Path) -> None:
    pickled, words = PICKLES[what]
    assert words in refused(tmp_path / "rvm.pth", container(START + pickled))


def test_a_pickle_larger_than_any_state_dict_is_not_parsed(tmp_path: Path) -> None:
    content = container(START + b"}" + bytes(5 << 20))
    assert "'archive/data.pkl' of 5242883 bytes" in refused(tmp_path / "rvm.pth", content)


def test_a_tensor_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    size = b"J\x00\x00\x00\x10"
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + size + b"tQ"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"K\x00"
        + size
        + b"\x85K\x01\x85\x89"
        + ORDERED
        + b")RtR"
    )
    refused(tmp_path / "rvm.pth", container(START + b"}" + text("a") + tensor + b"s.", _0=b"abcd" * 4))


def test_an_archive_of_more_members_than_a_network_has_is_refused_before_they_are_listed(
    tmp_path: Path,
) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number in range(5000):
            archive.writestr(str(number), b"")
    assert "more than 4096 members" in refused(tmp_path / "rvm.pth", content.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_pytorch_does_not_use_are_refused(method: int, tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        archive.writestr("archive/data.pkl", START + b"}.")
    assert "in a compression" in refused(tmp_path / "rvm.pth", content.getvalue())


def test_a_bomb_is_refused_by_what_it_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(16 << 20))
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 15 << 20)
    tracemalloc.start()
    try:
        assert "bytes of content" in refused(tmp_path / "rvm.pth", content.getvalue())
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for _ in range(2):
            archive.writestr("archive/data.pkl", START + b"}.")
    assert "twice" in refused(tmp_path / "rvm.pth", content.getvalue())


def test_pytorch_sees_what_was_checked_and_nothing_else() -> None:
    state = {"a": torch.arange(3.0), "b": torch.ones(2)}
    written = io.BytesIO()
    torch.save(state, written)
    with zipfile.ZipFile(written, "a") as archive:
        archive.writestr("archive/code/evil.py", "1")
        archive.writestr("../outside", "1")
        archive.writestr("archive/data/../../x", "1")
    checked = checked_archive(written.getvalue(), max_bytes=1 << 20)
    with zipfile.ZipFile(checked) as archive:
        assert set(archive.namelist()) == {
            f"archive/{name}" for name in ("data.pkl", "version", "byteorder", "data/0", "data/1")
        }
    checked.seek(0)
    loaded = torch.load(checked, weights_only=True)
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_an_archive_behind_other_bytes_is_refused(tmp_path: Path) -> None:
    # Readers of zip archives do not agree on what such a file holds.
    refused(tmp_path / "rvm.pth", b"PK" + container(START + b"}."))


def test_the_format_before_pytorch_1_6_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    torch.save({"a": torch.ones(1)}, content, _use_new_zipfile_serialization=False)
    assert "since 1.6" in refused(tmp_path / "rvm.pth", content.getvalue())


def module_state() -> Any:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).state_dict()


def kept_parameters() -> Any:
    return torch.nn.Linear(2, 3).state_dict(keep_vars=True)


@pytest.mark.parametrize(
    "make",
    [
        module_state,
        kept_parameters,
        lambda: OrderedDict(a=torch.ones((), dtype=torch.bfloat16), b=torch.zeros(0, 3).double()),
        lambda: dict.fromkeys(map(str, range(3000)), 0.5),
        lambda: {"a": torch.ones(4)[1:3], "b": torch.ones(3, 2).t(), "c": torch.ones(1, dtype=torch.bool)},
    ],
)
def test_what_pytorch_saves_of_modules_passes_unchanged(make: Any) -> None:
    content = io.BytesIO()
    torch.save(make(), content)
    with zipfile.ZipFile(content) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        check_pickle(archive.read(name))
    loaded = torch.load(checked_archive(content.getvalue(), max_bytes=1 << 20), weights_only=True)
    assert list(loaded) == list(make())
