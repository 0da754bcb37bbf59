"""A folder as ``rvm-trt bench`` leaves it, with pictures for an invented document, and what its readers need."""

from __future__ import annotations

import os
import re
import runpy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rvm_trt.benchmarks.browser import BrowserError, headless_browser
from rvm_trt.errors import DependencyError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

documents = runpy.run_path(str(Path(__file__).with_name("documents.py")))
make_document: Callable[..., dict[str, Any]] = documents["make_document"]
entrant_of: Callable[..., dict[str, Any]] = documents["entrant_of"]

WIDTH, HEIGHT = 96, 54
# The alpha of an entrant is the reference's, but for these columns.
SMALL_ERROR, LARGE_ERROR = (slice(10, 20), 13), (slice(30, 40), 64)


def fill(folder: Path, document: dict[str, Any]) -> Path:
    """Writes the pictures that a document names, and returns the folder."""
    kinds = pictures()
    for entry in document["profiles"]:
        for item in entry["pictures"]:
            for kind, pixels in kinds.items():
                path = folder / item[kind]
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path, lossless=True)
    return folder


def pictures() -> dict[str, npt.NDArray[np.uint8]]:
    """Returns every kind of picture: red, alpha 128 with two wrong stripes, and composites on green."""
    source = np.full((HEIGHT, WIDTH, 3), (200, 30, 30), np.uint8)
    reference = np.full((HEIGHT, WIDTH), 128, np.uint8)
    alpha = reference.copy()
    for columns, error in (SMALL_ERROR, LARGE_ERROR):
        alpha[:, columns] += np.uint8(error)
    return {
        "source": source,
        "reference_alpha": reference,
        "alpha": alpha,
        "reference_composite": np.full((HEIGHT, WIDTH, 3), (30, 200, 30), np.uint8),
        "composite": np.full((HEIGHT, WIDTH, 3), (30, 190, 40), np.uint8),
    }


@contextmanager
def browser_or_skip() -> Iterator[Browser]:
    """Yields a browser; without one skips, or with RVM_TRT_REQUIRE_BROWSER=1 fails."""
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(headless_browser())
        except (BrowserError, DependencyError) as error:
            if os.environ.get("RVM_TRT_REQUIRE_BROWSER") == "1":
                raise
            pytest.skip(str(error))
        yield browser


class Page(HTMLParser):
    """What a page holds: its tables, links, headings and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[list[str]]]] = []
        self.addresses: list[str] = []
        self.headings: list[int] = []
        self.alternatives: list[str | None] = []
        self.scripts = 0
        self._into: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = dict(attributes)
        self.addresses += [
            value or "" for key, value in attributes if key in ("src", "href", "srcset", "action")
        ]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.alternatives.append(names.get("alt"))
        if tag == "script":
            self.scripts += 1
        if tag == "table":
            self.tables.append(("", []))
        if tag == "tr":
            self.tables[-1][1].append([])
        if tag in ("th", "td", "caption"):
            self._into = []

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("th", "td", "caption") or self._into is None:
            return
        text = "".join(self._into).strip()
        self._into = None
        if tag == "caption":
            self.tables[-1] = (text.removesuffix("modelled, not measured").strip(), self.tables[-1][1])
        else:
            self.tables[-1][1][-1].append(text)


def markdown_tables(text: str) -> list[tuple[str, list[list[str]]]]:
    """Returns each table of a Markdown text: its caption, and its rows with the header first."""
    tables = []
    for block in re.finditer(r"\*\*(.+)\*\*\n\n((?:\|.*\n)+)", text):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block[2].splitlines()]
        tables.append((block[1], [rows[0], *rows[2:]]))
    return tables
