"""Pictures of results: panels side by side in rows, each with its label, made with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import DependencyError
from rvm_trt.files import atomic_file

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_MARGIN = 8
_PAPER, _INK = (24, 24, 27), (236, 236, 240)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture with its label.

    Attributes:
        image: (H, W) or (H, W, 3) uint8.
        label: a few words, printed above it.
    """

    image: npt.NDArray[np.uint8]
    label: str


def write_sheet(
    rows: Sequence[Sequence[Panel]], path: Path, *, cell_width: int, caption: str, title_px: int = 15
) -> Path:
    """Writes rows of panels as one PNG, each panel scaled to ``cell_width`` pixels, and returns its path.

    Args:
        rows: panels of one shape, as many in each row.
        path: appears whole or not at all.
        cell_width: width of a panel in pixels.
        caption: one line below everything, for sources and credits.
        title_px: size of the letters in pixels.

    Raises:
        DependencyError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError as error:
        raise DependencyError("pillow", extra="video", stage="contact sheet") from error
    height, width = rows[0][0].image.shape[:2]
    cell_height = round(cell_width * height / width)
    band = title_px + 2 * _MARGIN
    sheet_width = len(rows[0]) * (cell_width + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (sheet_width, len(rows) * (cell_height + band) + band), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(title_px)
    for row, panels in enumerate(rows):
        top = row * (cell_height + band)
        for column, panel in enumerate(panels):
            left = _MARGIN + column * (cell_width + _MARGIN)
            draw.text((left, top + _MARGIN), panel.label, fill=_INK, font=font)
            sheet.paste(_scaled(panel, (cell_width, cell_height)), (left, top + band))
    draw.text((_MARGIN, sheet.height - band + _MARGIN), caption, fill=_INK, font=font)
    with atomic_file(path) as temporary:
        sheet.save(temporary, optimize=True)
    return path


def _scaled(panel: Panel, size: tuple[int, int]) -> Picture:
    from PIL import Image

    return Image.fromarray(panel.image).convert("RGB").resize(size, Image.Resampling.LANCZOS)
