"""Pictures as a browser takes them: one message with the status and JPEG images, no larger than they are shown."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image as Pillow

from rvm_trt.runtime.preview.parts import Image, Picture

VIEWS = ("source", "alpha", "composite")
_QUALITY = 85


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a page shows.

    Attributes:
        views: which of `VIEWS`.
        width: how wide each is on the screen, in pixels.
    """

    views: tuple[str, ...] = VIEWS
    width: int = 640


def encode(header: Mapping[str, Any], picture: Picture | None, look: Look) -> bytes:
    """Returns a message: the length of a JSON header as 4 bytes, little-endian, the header, and JPEG images.

    The header's ``pictures`` lists view and number of bytes of each image in order.
    """
    images = [] if picture is None else [(view, _jpeg(_pixels(picture, view), look)) for view in look.views]
    words = json.dumps({**header, "pictures": [(view, len(data)) for view, data in images]}).encode()
    return b"".join((len(words).to_bytes(4, "little"), words, *(data for _, data in images)))


def _pixels(picture: Picture, view: str) -> Image:
    return {"source": picture.frame.image, "alpha": picture.alpha, "composite": picture.composite}[view]


def _jpeg(pixels: Image, look: Look) -> bytes:
    image = Pillow.fromarray(pixels)
    # By whole factors, which is fast; the browser does the rest.
    factor = max(1, image.width // look.width)
    data = io.BytesIO()
    (image if factor == 1 else image.reduce(factor)).save(data, "JPEG", quality=_QUALITY)
    return data.getvalue()
