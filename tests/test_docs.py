"""The documentation: it builds without a warning and without the network, and what it says can be typed."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest

import rvm_trt
from rvm_trt.cli import make_parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def command_lines() -> Iterator[tuple[str, str]]:
    """Yields page and line of every ``rvm-trt`` command in a block of code, without pipes and redirections."""
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            found = re.match(r"(?:    |\$ |)(rvm-trt .*)", line)
            if found and line.startswith(("    ", "$ ")):
                yield page.relative_to(ROOT).as_posix(), re.split(r" [|>] | #", found[1])[0].strip()


def spoken_commands() -> Iterator[tuple[str, str]]:
    """Yields page and text of every ``rvm-trt`` command in running text."""
    for page in PAGES:
        for found in re.finditer(r"`(rvm-trt [^`]*)`", page.read_text(encoding="utf-8")):
            yield page.relative_to(ROOT).as_posix(), " ".join(found[1].split())


def subparsers() -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


COMMAND_LINES = sorted(set(command_lines()))


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES)
def test_every_command_line_parses(page: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        make_parser().parse_args(shlex.split(line)[1:])
    except SystemExit as ending:
        assert ending.code == 0, f"{page}: {line}\n{capsys.readouterr().err}"


def test_command_lines_are_found() -> None:
    pages = {page for page, _ in COMMAND_LINES}
    assert {"README.md", "docs/guide/run.md", "docs/guide/build.md", "docs/guide/export.md"} <= pages
    assert len(COMMAND_LINES) > 30


def test_every_command_in_running_text_exists() -> None:
    parsers = subparsers()
    for page, text in spoken_commands():
        _, *words = text.split()
        names = [word for word in words if not word.startswith("-")]
        assert names[0] in parsers, f"{page}: {text}"
        known = set(parsers[names[0]]._option_string_actions)
        assert {word for word in words if word.startswith("--")} <= known, f"{page}: {text}"


class Page(HTMLParser):
    """What a page fetches and has.

    Attributes:
        fetched: addresses of scripts, styles, images and fonts.
        anchors: what links can lead to.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.fetched.append(values.get("src") or "")
        elif tag == "link":
            self.fetched.append(values.get("href") or "")
        self.anchors.add(values.get("id") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as strictly as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_page(site: Path) -> None:
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix().removeprefix("docs/")
        assert (site / ("index.html" if name == "README.md" else f"{name[:-3]}.html")).is_file(), name
    assert "matte-a-video" in Page(site / "index.html").anchors


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert not [at for at in Page(path).fetched if at.startswith(("http:", "https:", "//"))], path
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(url\([\"']?|@import\s+[\"'])(https?:)?//", text), path


def test_external_links_are_listed(site: Path) -> None:
    lines = (site / "external-links.txt").read_text().splitlines()
    listed = dict(line.split("\t") for line in lines)
    assert "index.html" in listed["https://github.com/PeterL1n/RobustVideoMatting"]


def test_the_reference_has_every_public_name_and_command(site: Path) -> None:
    names = {anchor.split(".")[-1] for anchor in Page(site / "guide" / "api.html").anchors if "." in anchor}
    assert {name for name in rvm_trt.__all__ if name != "__version__"} <= names
    commands = Page(site / "guide" / "commands.html").anchors
    assert {f"rvm-trt-{name}" for name in subparsers()} <= commands


@pytest.mark.parametrize("mistake", ["[gone](gone.md)", "[gone](run.md#gone)", "![gone](gone.png)"])
def test_a_broken_link_fails_the_build(mistake: str, tmp_path: Path) -> None:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# Title\n\n{mistake}\n")
    (tmp_path / "docs/run.md").write_text("# Run\n")
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    validation = re.search(r"^validation:\n(?:  .*\n)+", text, re.MULTILINE)
    assert validation is not None
    (tmp_path / "mkdocs.yml").write_text(f"site_name: test\n{validation[0]}")
    config = load_config(str(tmp_path / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site"))
    with pytest.raises(Abort):
        build(config)


def test_every_example_is_run_by_a_test() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "examples").glob("test_*.py"))
    programs = [path for path in (ROOT / "examples").rglob("*") if path.suffix in (".py", ".cpp")]
    assert len(programs) > 5
    for program in programs:
        name = program.name if program.suffix == ".py" else program.parent.name
        assert re.search(rf"[\"'/]{re.escape(name)}[\"']", tests), program


def test_the_build_itself_refuses_pages_that_fetch(tmp_path: Path) -> None:
    from mkdocs.exceptions import PluginError

    hooks = run_path(str(ROOT / "docs" / "site_hooks.py"))
    page = tmp_path / "index.html"
    page.write_text('<a href="https://example.org/">more</a>')
    hooks["on_post_build"](SimpleNamespace(site_dir=str(tmp_path)))
    assert (tmp_path / "external-links.txt").read_text() == "https://example.org/\tindex.html\n"
    page.write_text('<script src="//cdn.example.org/a.js"></script>')
    with pytest.raises(PluginError, match=r"index\.html: //cdn\.example\.org/a\.js"):
        hooks["on_post_build"](SimpleNamespace(site_dir=str(tmp_path)))
