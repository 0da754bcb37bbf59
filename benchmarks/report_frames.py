"""The frames of a bench report: pictures embedded in the page, and maps of alpha's error made from them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rvm_trt.benchmarks.report_text import Json, labels, profile_title, short_name
from rvm_trt.errors import DependencyError, OptionError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

HEAT_TOP = 0.1
_HEAT_COLOURS = "inferno"
_STOPS = 9


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture to embed: its bytes as a data URI, its size in pixels, and what it shows, as its alternative text."""

    uri: str = field(repr=False)
    width: int
    height: int
    alt: str


@dataclass(frozen=True, kw_only=True)
class Shot:
    """What one entrant made of a frame; ``largest`` and ``mean`` are alpha's errors in the picture."""

    label: str
    alpha: Picture
    composite: Picture
    heat: Picture
    largest: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One frame of a profile, as the reference and others made it.

    Attributes:
        key: for links.
        title: profile, frame and why it was chosen.
        reference: label of the entrant that the others are compared with.
    """

    key: str
    title: str
    reference: str
    source: Picture
    reference_alpha: Picture
    reference_composite: Picture
    shots: tuple[Shot, ...]


def scenes(document: Json, folder: Path) -> tuple[Scene, ...]:
    """Returns the frames of a report with their pictures, which ``folder`` holds.

    Raises:
        OptionError: a picture is not there.
        DependencyError: Pillow or matplotlib is not installed.
    """
    return tuple(scene for entry in document["profiles"] for scene in _scenes(entry, folder))


def heat_colours() -> tuple[str, ...]:
    """Returns evenly spaced colours of the error maps, from no error to ``HEAT_TOP`` and more, as #rrggbb."""
    table = _heat_table()[np.linspace(0, 255, _STOPS).astype(int)]
    return tuple(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in table.tolist())


def _scenes(entry: Json, folder: Path) -> Iterator[Scene]:
    names = labels(entry)
    reference = entry["entrants"][0]["label"]
    moments = dict.fromkeys((picture["frame"], picture["why"]) for picture in entry["pictures"])
    for frame, why in moments:
        where = f"{short_name(entry)}, frame {frame}"
        found = [item for item in entry["pictures"] if (item["frame"], item["why"]) == (frame, why)]
        first = found[0]
        yield Scene(
            key=f"{entry['name']}-{frame}",
            title=f"{profile_title(entry)}: frame {frame}, {why}",
            reference=reference,
            source=_picture(folder / first["source"], f"{where}: source"),
            reference_alpha=_picture(folder / first["reference_alpha"], f"{where}: alpha of {reference}"),
            reference_composite=_picture(
                folder / first["reference_composite"], f"{where}: composite of {reference}"
            ),
            shots=tuple(
                _shot(item, folder, names.get(item["entrant"], item["entrant"]), where) for item in found
            ),
        )


def _shot(item: Json, folder: Path, label: str, where: str) -> Shot:
    apart = np.abs(_alpha(folder / item["alpha"]) - _alpha(folder / item["reference_alpha"]))
    return Shot(
        label=label,
        alpha=_picture(folder / item["alpha"], f"{where}: alpha of {label}"),
        composite=_picture(folder / item["composite"], f"{where}: composite of {label}"),
        heat=_heat_map(apart, f"{where}: error of alpha of {label}"),
        largest=float(apart.max()),
        mean=float(apart.mean()),
    )


def _picture(path: Path, alt: str) -> Picture:
    with _opened(path) as image:
        return Picture(
            uri=_data_uri(path.read_bytes(), (image.format or "").lower()),
            width=image.width,
            height=image.height,
            alt=alt,
        )


def _alpha(path: Path) -> npt.NDArray[np.float32]:
    with _opened(path) as image:
        alpha: npt.NDArray[np.float32] = np.asarray(image.convert("L"), np.float32) / np.float32(255)
        return alpha


def _heat_map(apart: npt.NDArray[np.float32], alt: str) -> Picture:
    from PIL import Image

    levels = np.clip(apart * (255 / HEAT_TOP), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(_heat_table()[levels]).save(buffer, "WEBP", lossless=True)
    height, width = apart.shape
    return Picture(uri=_data_uri(buffer.getvalue(), "webp"), width=width, height=height, alt=alt)


def _heat_table() -> npt.NDArray[np.uint8]:
    """Returns the colours of 256 levels, (256, 3)."""
    try:
        from matplotlib import colormaps
    except ModuleNotFoundError:
        raise DependencyError("matplotlib", extra="bench", stage="error maps") from None
    table: npt.NDArray[np.uint8] = np.asarray(colormaps[_HEAT_COLOURS](np.arange(256), bytes=True))
    return table[:, :3]


def _opened(path: Path) -> PillowImage:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise DependencyError("pillow", extra="video", stage="pictures of the report") from None
    try:
        return Image.open(path)
    except OSError:
        raise OptionError(
            str(path),
            got="no picture",
            expected="a picture that the result names",
            todo="Keep result.json and frames/ together, or measure again: rvm-trt bench.",
        ) from None


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
