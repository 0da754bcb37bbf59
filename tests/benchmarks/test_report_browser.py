"""The report's page in a real browser: it works, it is quiet, it fits, and it never asks the network for anything.

Without Chromium and playwright these are skipped, or with RVM_TRT_REQUIRE_BROWSER=1 fail.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from rvm_trt.benchmarks.report import read_result, write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

helpers = runpy.run_path(str(Path(__file__).with_name("report_helpers.py")))

STORED = "localStorage.getItem('rvm-trt-theme')"
# The smallest contrast of any words on the page with what is behind them, over everything that is not a picture.
CONTRASTS = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const read = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const numbers = (colour) => known.get(colour) ?? known.set(colour, read(colour)).get(colour);
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (colour !== "transparent" && numbers(colour)[3] === 255) return numbers(colour);
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, .word, option")) continue;
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))].sort();
    found.push([(b + 0.05) / (a + 0.05), walker.currentNode.data.trim().slice(0, 40)]);
  }
  for (const word of document.querySelectorAll(".word")) {
    const rects = [...word.parentElement.querySelectorAll("rect")]
      .map((rect) => light(numbers(getComputedStyle(rect).fill)));
    const ink = light(numbers(getComputedStyle(word).color));
    rects.forEach((fill) => found.push([(ink + 0.05) / (fill + 0.05), word.textContent]));
  }
  return found.sort((one, other) => one[0] - other[0]).slice(0, 3);
}
"""
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


class Watched:
    """A page, and everything that it complained of or asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report's folder. Tests must not alter it."""
    document = helpers["make_document"]()
    path: Path = helpers["fill"](tmp_path_factory.mktemp("bench"), document)
    write_report(document, path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with helpers["browser_or_skip"]() as opened:
        yield opened


@pytest.fixture
def open_page(browser: Browser, folder: Path) -> Iterator[Callable[..., Page]]:
    """``open_page(script, **options)``: the report, after a script, in a profile of its own; it must stay quiet."""
    opened: list[Watched] = []

    def make(script: str = "", *, width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        opened.append(Watched(context.new_page()))
        opened[-1].page.add_init_script(script)
        opened[-1].page.goto((folder / "report.html").as_uri())
        return opened[-1].page

    yield make
    for watched in opened:
        assert watched.complaints == []
        assert watched.requests
        assert all(url.startswith("data:") or url == watched.page.url for url in watched.requests)
        watched.page.context.close()


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


def shown_part(page: Page) -> float:
    """How much of the left picture the slider shows, in per cent, as it is drawn."""
    clip: str = page.locator("#compare img.left").evaluate("image => getComputedStyle(image).clipPath")
    hidden = clip.removeprefix("inset(").split()[1]
    return 100 - float(hidden.removesuffix("%").removeprefix("calc(").split("%")[0])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_and_can_be_read(open_page: Callable[..., Page], width: int, scheme: str) -> None:
    page = open_page(width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    rights = "[...document.querySelectorAll('main > section > *')].map(e => e.getBoundingClientRect().right)"
    assert max(page.evaluate(rights)) <= width
    assert page.evaluate(CONTRASTS)[0][0] >= 4.5
    sizes = page.evaluate(
        "[...document.querySelectorAll('p, td, th, li, span, figcaption')]"
        ".filter(e => e.checkVisibility()).map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12


def test_every_picture_and_chart_is_drawn(page: Page) -> None:
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate(
        "[...document.querySelectorAll('.track rect')].every(r => getComputedStyle(r).fill !== 'none')"
    )
    bars = (
        page.locator("#frame .chart")
        .first.locator("rect")
        .evaluate_all("all => all.map(r => r.getBoundingClientRect().width)")
    )
    assert bars == sorted(bars)  # in the invented document every entrant is faster than the one before
    assert bars[0] > 0
    assert page.locator("#missing").inner_text().count("torch.compile") == 2


def test_the_slider_follows_the_mouse(page: Page) -> None:
    page.locator("#compare").scroll_into_view_if_needed()
    box = page.locator("#compare").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.5 * box["width"], middle)
    page.mouse.down()
    for part in (0.2, 0.8):
        page.mouse.move(box["x"] + part * box["width"], middle, steps=4)
        assert shown_part(page) == pytest.approx(100 * part, abs=1)
    page.mouse.up()
    page.mouse.move(box["x"] + 0.1 * box["width"], middle)
    assert shown_part(page) == pytest.approx(80, abs=1)


def test_the_slider_follows_the_keyboard(page: Page) -> None:
    page.locator("#pair").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "range"
    page.keyboard.press("Home")
    assert shown_part(page) == 0
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert shown_part(page) == 3
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert shown_part(page) == 99


def test_the_slider_follows_a_finger(open_page: Callable[..., Page]) -> None:
    page = open_page(width=360, has_touch=True)
    page.locator("#compare").scroll_into_view_if_needed()
    box = page.locator("#compare").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 10)
    assert shown_part(page) == pytest.approx(25, abs=1)


def test_what_the_slider_compares_can_be_chosen(page: Page, tmp_path: Path) -> None:
    page.locator("#pair").select_option(index=2)  # alpha of the reference, and of ours
    assert page.locator("#compare img.left").get_attribute("alt") == "HD, frame 41: alpha of PyTorch eager"
    assert page.locator("#compare img.right").get_attribute("alt") == "HD, frame 41: alpha of rvm-trt BF16"
    page.locator("#pair").select_option(index=0)
    page.locator("#compare input").fill("50")
    path = tmp_path / "compare.png"
    page.locator("#compare").screenshot(path=path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), int)
    height, width, _ = pixels.shape
    left, right = pixels[height // 4, width // 8], pixels[height // 4, 7 * width // 8]
    assert left[0] > left[1] + 100  # the source is red
    assert right[1] > right[0] + 100  # the composite is green


def test_the_theme_is_changed_by_hand_and_remembered(open_page: Callable[..., Page]) -> None:
    page = open_page()
    button = page.locator("#theme")
    light = page.evaluate(BACKGROUND)
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    dark = page.evaluate(BACKGROUND)
    assert dark != light
    assert page.evaluate(STORED) == "dark"
    # When a browser has stored what a page of a file said is its own affair: a page that finds it is what counts here.
    again = open_page("localStorage.setItem('rvm-trt-theme', 'dark')")
    assert again.evaluate(BACKGROUND) == dark
    assert again.locator("#theme").get_attribute("aria-pressed") == "true"
    again.locator("#theme").click()
    assert again.evaluate(BACKGROUND) == light
    assert again.evaluate(STORED) == "light"


def test_the_theme_follows_the_reader_until_changed_by_hand(page: Page) -> None:
    light = page.evaluate(BACKGROUND)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(BACKGROUND)
    assert dark != light
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"
    page.locator("#theme").click()
    assert page.evaluate(BACKGROUND) == light
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(BACKGROUND) == light
    assert not page.locator("#slider").is_visible()


def test_the_theme_works_where_nothing_may_be_stored(open_page: Callable[..., Page]) -> None:
    refuse = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('refused'); } })"
    page = open_page(refuse, color_scheme="dark")
    dark = page.evaluate(BACKGROUND)
    page.locator("#theme").click()
    assert page.evaluate(BACKGROUND) != dark


def test_the_result_can_be_taken_out_of_the_page(page: Page, folder: Path) -> None:
    with page.expect_download() as taken:
        page.locator("a.download").click()
    assert taken.value.suggested_filename == "result.json"
    assert read_result(taken.value.path()) == read_result(folder)
