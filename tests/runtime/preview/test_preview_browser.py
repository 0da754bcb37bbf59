"""The preview's page in a real browser: it shows, it obeys, it fits, and it asks nobody else for anything.

Without Chromium and playwright these are skipped, or with RVM_TRT_REQUIRE_BROWSER=1 fail.
"""

from __future__ import annotations

import asyncio
import runpy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from rvm_trt.runtime.preview.server import listen, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
browser_or_skip = runpy.run_path(str(BENCHMARKS / "report_helpers.py"))["browser_or_skip"]
CONTRASTS = runpy.run_path(str(BENCHMARKS / "test_report_browser.py"))["CONTRASTS"]
PIXEL = """
([id, across]) => {
  const canvas = document.getElementById(id);
  const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, -Math.floor(canvas.width * across), -Math.floor(canvas.height / 2));
  return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
"""


class Served:
    """A player with fakes behind it, its server on a thread of its own, and a page that watches."""

    def __init__(self, player: Any, session: Any, maker: Any, until: Callable[..., Any]) -> None:
        self._until = until
        self.player, self.session, self.maker = player, session, maker
        self.page: Any = None
        self.stop: Callable[[], None] = lambda: None
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def watch(self, page: Page) -> None:
        self.page = page
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda stream: self.requests.append(stream.url))

    def pixel(self, view: str, across: float) -> list[int]:
        found: list[int] = self.page.evaluate(PIXEL, [view, across])
        return found

    def wait_for(self, expression: str) -> None:
        # The page's policy forbids what playwright's own way of waiting does.
        self._until(lambda: self.page.evaluate(expression))

    def shows(self, view: str, colour: tuple[int, int, int]) -> None:
        """Waits until the left part of a picture has a colour, but for what JPEG does to it."""
        self._until(
            lambda: all(
                abs(one - other) <= 12 for one, other in zip(self.pixel(view, 0.2), colour, strict=True)
            )
        )

    def moves(self, view: str) -> None:
        """Waits until the right part of a picture is another."""
        first = self.pixel(view, 0.9)
        self._until(lambda: self.pixel(view, 0.9) != first)


@contextmanager
def on_a_thread(player: Any, backgrounds: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serves a player; yields the address, and what stops the server."""
    started: Future[tuple[str, Callable[[], None]]] = Future()

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        async with serving(
            player, backgrounds=backgrounds, host="localhost", listener=listen("localhost", 0), stop=stop
        ) as address:
            started.set_result((address, lambda: loop.call_soon_threadsafe(stop.set) and None))
            await stop.wait()

    with ThreadPoolExecutor(1) as executor:
        ended = executor.submit(asyncio.run, main())
        address, stop = started.result(20)
        stopped = threading.Event()

        def stop_once() -> None:
            if not stopped.is_set():
                stopped.set()
                stop()

        try:
            yield address, stop_once
        finally:
            stop_once()
            ended.result(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browser_or_skip() as opened:
        yield opened


@pytest.fixture
def no_thread_left() -> None:
    """In place of the folder's: the browser's own threads stay for the module."""


@pytest.fixture
def open_page(
    browser: Browser, start: Callable[..., Any], fakes: SimpleNamespace
) -> Iterator[Callable[..., Served]]:
    """``open_page(**options)``: a page that shows a player, in a profile of its own; it must stay quiet."""
    session, maker, source = fakes.Session(), fakes.Maker(), fakes.Source(25, said=25, rate=50)
    source.notice("The input is interlaced and used as it is.")
    player = start(source, session, maker, watched=False)
    served = Served(player, session, maker, fakes.until)
    with on_a_thread(served.player, fakes.BACKGROUNDS) as (address, stop):

        def make(*, width: int = 1280, **options: Any) -> Served:
            context = browser.new_context(viewport={"width": width, "height": 900}, **options)
            served.watch(context.new_page())
            served.stop = stop
            served.page.goto(address)
            served.wait_for("document.getElementById('composite').width === 64")
            return served

        yield make
        assert served.complaints == []
        assert {url.split("//")[1].split("/")[0] for url in served.requests} == {address.split("/")[2]}
        served.page.context.close()


def test_the_three_pictures_move(open_page: Callable[..., Served], fakes: SimpleNamespace) -> None:
    served = open_page()
    served.moves("source")
    served.moves("composite")
    served.shows("composite", fakes.GREEN)
    assert max(served.pixel("alpha", 0.2)) <= 4
    assert min(served.pixel("alpha", 0.9)) >= 251
    served.wait_for("parseFloat(document.getElementById('fps').textContent) > 1")
    assert served.page.locator("h1").inner_text() == "talk.mp4"
    assert served.page.locator("#facts").inner_text() == "64 × 48, 50 FPS"


def test_the_background_changes_the_composite(
    open_page: Callable[..., Served], fakes: SimpleNamespace
) -> None:
    served = open_page()
    served.page.locator("#background").select_option("blue")
    served.shows("composite", fakes.BLUE)
    served.wait_for("document.getElementById('colour').value === '#0000ff'")
    served.page.locator("#play").click()
    served.page.locator("#colour").fill("#c08040")
    served.shows("composite", (192, 128, 64))
    assert served.page.locator("#background").input_value() == "own"
    served.page.locator("#background").select_option("picture")
    served.shows("composite", (9, 9, 9))


def test_another_ratio_reaches_the_session(open_page: Callable[..., Served]) -> None:
    served = open_page()
    assert served.page.locator("#network").inner_text() == "64 × 48"
    assert served.page.locator("#ratio").input_value() == "1"
    served.maker.may_finish.clear()
    served.page.locator("#ratio").fill("0.5")
    served.page.locator("#ratio-form button").click()
    served.page.get_by_text("Building for 0.5").wait_for()
    served.moves("source")  # the old one goes on
    served.maker.may_finish.set()
    served.page.get_by_text("32 × 24").wait_for()
    served.page.locator("#opening").wait_for(state="hidden")
    assert served.maker.asked == [0.5]
    assert served.player.update()[0].ratio == 0.5


def test_pause_stops_and_seek_shows_a_frame(open_page: Callable[..., Served], fakes: SimpleNamespace) -> None:
    served = open_page()
    served.page.get_by_role("button", name="Pause").click()
    served.page.get_by_role("button", name="Play").wait_for()
    served.page.locator("#seek").fill("10")
    served.shows("source", (fakes.grey_of(10),) * 3)
    assert served.page.locator("#place").inner_text() == "0:00.2 / 0:00.5"
    seen = len(served.session.seen)
    served.page.wait_for_timeout(100)
    assert len(served.session.seen) == seen
    served.page.get_by_role("button", name="Play").click()
    fakes.until(lambda: len(served.session.seen) > seen)
    served.page.get_by_role("button", name="Pause").click()
    served.page.get_by_role("button", name="Restart").click()
    served.page.get_by_role("button", name="Pause").wait_for()


def test_one_view_alone_is_larger(open_page: Callable[..., Served]) -> None:
    served = open_page()
    before = served.page.locator("#alpha").bounding_box()
    served.page.get_by_label("Alpha", exact=True).and_(served.page.locator("input")).check()
    after = served.page.locator("#alpha").bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > 2 * before["width"]
    assert not served.page.locator("#source").is_visible()
    served.page.get_by_label("Side by side").check()
    assert served.page.locator("#source").is_visible()


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_it_fits_and_can_be_read(open_page: Callable[..., Served], width: int, scheme: str) -> None:
    served = open_page(width=width, color_scheme=scheme)
    page = served.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRASTS)[0][0] >= 4.5
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    heights = page.evaluate(
        "[...document.querySelectorAll('button, select, label')].map(e => e.getBoundingClientRect().height)"
    )
    assert min(heights) >= 40  # for a finger


def test_a_page_tells_remarks_on_the_input(open_page: Callable[..., Served]) -> None:
    served = open_page(width=360)
    served.page.get_by_text("The input is interlaced and used as it is.").wait_for()
    served.player._source.notice("3 damaged frames were mended by the decoder.")
    served.page.get_by_text("3 damaged frames were mended").wait_for()
    assert served.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_page_says_when_the_preview_is_over(open_page: Callable[..., Served]) -> None:
    served = open_page()
    served.stop()
    served.page.get_by_text("The preview was stopped.").wait_for()
