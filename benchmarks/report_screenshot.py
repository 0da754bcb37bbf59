"""The picture of a report for the documentation: ``python -m rvm_trt.benchmarks.report_screenshot [FOLDER]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rvm_trt.benchmarks.browser import headless_browser
from rvm_trt.benchmarks.report import PAGE, default_output, read_result
from rvm_trt.errors import RvmTrtError
from rvm_trt.files import atomic_file

OUTPUT = Path("docs/report.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the picture; returns 0, or 1 after a user error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="of a report (default: this CPU's)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=OUTPUT, metavar="PATH", help=f"default: {OUTPUT}"
    )
    parser.add_argument("--width", type=int, default=1120, help="of the window (default: %(default)s)")
    parser.add_argument("--dark", action="store_true", help="in the dark theme")
    args = parser.parse_args(arguments)
    try:
        folder = args.folder or default_output()
        print(take_screenshot(folder, args.output, width=args.width, dark=args.dark))
    except RvmTrtError as error:
        print(f"report_screenshot: {error}", file=sys.stderr)
        return 1
    return 0


def take_screenshot(folder: Path, path: Path, *, width: int, dark: bool = False) -> Path:
    """Writes a PNG of a report's page, from its top to its first chart, and returns its path.

    Raises:
        RvmTrtError: no report, no browser, or no playwright.
    """
    read_result(folder)  # says what is wrong with a folder that holds no report
    with headless_browser() as browser, atomic_file(path) as temporary:
        scheme: Literal["light", "dark"] = "dark" if dark else "light"
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.goto((folder / PAGE).resolve().as_uri())
        height = page.locator(".chart").first.evaluate("chart => chart.getBoundingClientRect().bottom")
        page.screenshot(
            path=temporary, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height}
        )
    return path


if __name__ == "__main__":
    sys.exit(main())
