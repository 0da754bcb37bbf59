"""What MkDocs cannot do alone: pages made of the README, the parser and the examples, and links out of docs/.

The repository stays readable without the site: its pages link to files as they lie there, and this module rewrites
those links. After the build it refuses pages that would fetch something from another host, and lists external links.
"""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
SOURCES = (
    "export",
    "engines",
    "runtime",
    "benchmarks",
)  # folders of the package beside rvm_trt, as in setup.cfg
EXAMPLES = "guide/examples.md"
LANGUAGES = {".py": "python", ".cpp": "cpp"}
LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?(\))")
EXTERNAL = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
LINKS_FILE = "external-links.txt"
# Elements that make a browser fetch what they name, and where they name it.
FETCHED = {
    "script": "src",
    "img": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "iframe": "src",
    "link": "href",
}
NOT_FETCHED = ("canonical", "next", "prev", "edit")


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: Any) -> Any:
    """Adds pages that the navigation does not name, and shows the package's folders as one to the API reference."""
    section = next(iter(config.nav[-1].values()))
    named = set(re.findall(r"[\w/.-]+\.md", str(config.nav)))
    section += [path.name for path in sorted(Path(config.docs_dir).glob("*.md")) if path.name not in named]
    section += [site_uri(path) for path in ("benchmarks/LOG.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    # Kept there, since it goes when nobody refers to it any longer.
    package = config.extra["package"] = _one_package()
    config.plugins["mkdocstrings"].config["handlers"]["python"]["paths"] = [package.name]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made."""
    files.append(File.generated(config, "guide/commands.md", content=commands_page()))
    files.append(File.generated(config, EXAMPLES, content=examples_page()))
    for path in linked_files():
        files.append(File.generated(config, site_uri(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001, MkDocs names them
    """Rewrites links between files of the repository to links between pages."""
    source = repository_path(page.file.src_uri)
    return LINK.sub(lambda link: _rewritten(link, source, page.file.src_uri), markdown)


def on_post_build(config: Any) -> None:
    """Lists external links, and fails where a page fetches from another host."""
    links: dict[str, set[str]] = {}
    fetched = set()
    for file in sorted(Path(config.site_dir).rglob("*.html")):
        found = References()
        found.feed(file.read_text(encoding="utf-8"))
        name = file.relative_to(config.site_dir).as_posix()
        fetched |= {f"{name}: {address}" for address in found.fetched}
        for address in found.links:
            links.setdefault(address, set()).add(name)
    for file in Path(config.site_dir).rglob("*.css"):
        for address in re.findall(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')]+)", file.read_text()):
            fetched.add(f"{file.name}: {address}")
    if fetched:
        raise PluginError("pages fetch from other hosts:\n" + "\n".join(sorted(fetched)))
    lines = [f"{address}\t{', '.join(sorted(pages))}\n" for address, pages in sorted(links.items())]
    (Path(config.site_dir) / LINKS_FILE).write_text("".join(lines), encoding="utf-8")


def linked_files() -> list[str]:
    """Returns the files outside docs/ that pages link to, directly or through another such page."""
    waiting = ["README.md", *(path.relative_to(ROOT).as_posix() for path in (ROOT / DOCS).rglob("*.md"))]
    waiting += ["benchmarks/LOG.md", "CHANGELOG.md", "CONTRIBUTING.md"]
    seen = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.endswith(".md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            waiting += [target for target in _targets(text, path) if (ROOT / target).is_file()]
    return sorted(path for path in seen if not path.startswith((f"{DOCS}/", "examples/")))


def site_uri(path: str) -> str:
    """Returns where a file of the repository stands among the site's sources."""
    if path == "README.md":
        return "index.md"
    if path.startswith("examples"):
        return EXAMPLES
    return path.removeprefix(f"{DOCS}/") if path.startswith(f"{DOCS}/") else f"repository/{path}"


def repository_path(uri: str) -> str:
    """Returns the file of the repository that a page was made of: the reverse of `site_uri`."""
    if uri == "index.md":
        return "README.md"
    return uri.removeprefix("repository/") if uri.startswith("repository/") else f"{DOCS}/{uri}"


def commands_page() -> str:
    """Returns the help of every command, as the parser gives it."""
    from rvm_trt.cli import COMMANDS, make_parser

    with mock.patch.dict(os.environ, {"COLUMNS": "100"}):
        parser = make_parser()
        (subparsers,) = (action for action in parser._actions if hasattr(action, "_name_parser_map"))
        helps = {"rvm-trt": parser.format_help()}
        helps |= {f"rvm-trt {name}": subparsers.choices[name].format_help() for name in COMMANDS}
    sections = "".join(f"\n## {name}\n\n```text\n{text}```\n" for name, text in helps.items())
    return f"# Commands\n\nWhat `--help` prints. Exit codes: [Scripts](scripts.md#exit-codes).\n{sections}"


def examples_page() -> str:
    """Returns every program of examples/, which begins with words of its own."""
    sections = []
    for path in sorted((ROOT / "examples").rglob("*")):
        if language := LANGUAGES.get(path.suffix):
            code, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
            sections.append(f"\n## {name}\n\n```{language}\n{code}```\n")
    return "# Examples\n\nShort programs to copy. Each is run by a test.\n" + "".join(sections)


class References(HTMLParser):
    """The addresses of other hosts in a page: links, and what a browser fetches.

    Attributes:
        links, fetched: addresses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes the address of an element."""
        values = {name: value or "" for name, value in attrs}
        address = values.get(FETCHED.get(tag, "href"), "")
        if not address.startswith(("http:", "https:", "//")) or values.get("rel") in NOT_FETCHED:
            return
        (self.fetched if tag in FETCHED else self.links).add(address)


def _targets(text: str, source: str) -> Iterator[str]:
    for link in LINK.finditer(text):
        if not EXTERNAL.match(link[2]):
            yield _resolved(link[2], source)


def _resolved(target: str, source: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _rewritten(link: re.Match[str], source: str, uri: str) -> str:
    if EXTERNAL.match(link[2]):
        return link[0]
    path = _resolved(link[2], source)
    if path.startswith("..") or not (ROOT / path).exists():
        return link[0]  # a made page, or a mistake, which MkDocs reports
    target = posixpath.relpath(site_uri(path), posixpath.dirname(uri) or ".")
    return f"{link[1]}{target}{link[3] or ''}{link[4]}"


def _one_package() -> tempfile.TemporaryDirectory[str]:
    """Links the modules of the package into one folder, from where they lie in the repository."""
    folder = tempfile.TemporaryDirectory(prefix="rvm-trt-site-")
    package = Path(folder.name) / "rvm_trt"
    for source in ("rvm_trt", *SOURCES):
        for path in sorted((ROOT / source).rglob("*.py")):
            link = package / ("" if source == "rvm_trt" else source) / path.relative_to(ROOT / source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return folder
