"""A headless browser that is kept off the network, to look at a report as a reader sees it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rvm_trt.errors import DependencyError, RvmTrtError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",  # Chromium refuses to start as root with it, as in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class BrowserError(RvmTrtError):
    """There is no browser on this machine."""


@contextmanager
def headless_browser() -> Iterator[Browser]:
    """Yields a new browser; its contexts have profiles of their own, which are forgotten.

    Raises:
        BrowserError: no Chromium is installed.
        DependencyError: playwright is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise DependencyError("playwright", extra="dev", stage="headless browser") from None
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise BrowserError(
            "browser",
            got=f"none of {', '.join(_PROGRAMS)}",
            expected="one of them on PATH",
            todo="Install it: apt-get install chromium.",
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=list(_FLAGS), chromium_sandbox=False
        )
        try:
            yield browser
        finally:
            browser.close()
