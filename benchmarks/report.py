"""Reports of a benchmark: ``python -m rvm_trt.benchmarks.report FOLDER`` writes them again from its result.

A report's folder holds ``result.json``, from which everything else is made, ``report.md``, ``report.html`` and
``frames/`` with the pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rvm_trt.benchmarks.environment import cpu_slug
from rvm_trt.benchmarks.html_report import render_html
from rvm_trt.benchmarks.report_sections import Section, sections
from rvm_trt.benchmarks.report_tables import Table
from rvm_trt.benchmarks.report_text import highlights, noise_title, summary
from rvm_trt.errors import OptionError, RvmTrtError
from rvm_trt.files import atomic_file

RESULTS = Path("benchmarks/results")
BENCHMARK, SCHEMA = "rvm-trt bench", 2
RESULT, MARKDOWN, PAGE = "result.json", "report.md", "report.html"
_PICTURES = (
    ("source", "source"),
    ("reference_alpha", "alpha, reference"),
    ("alpha", "alpha"),
    ("reference_composite", "composite, reference"),
    ("composite", "composite"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the reports of a folder again; returns 0, or 1 after a user error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="holds result.json and frames/")
    folder = parser.parse_args(arguments).folder
    try:
        for path in write_report(read_result(folder), folder):
            print(path)
    except RvmTrtError as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    return 0


def default_output() -> Path:
    """Returns the folder of this processor's report."""
    return RESULTS / f"bench-{cpu_slug()}"


def write_report(document: Mapping[str, Any], folder: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
    """Writes ``result.json``, ``report.md`` and ``report.html``, each whole or not at all, and returns their paths.

    The result is written first: whatever happens to its reports, they can be made again from it.

    Args:
        document: of schema 2.
        folder: holds the pictures that the document names.

    Raises:
        OptionError: a picture is missing.
        DependencyError: a package that the page needs is not installed.
    """
    target = Path(folder)
    return (
        write_result(document, target / RESULT),
        _write_text(markdown(document), target / MARKDOWN),
        _write_text(render_html(document, target), target / PAGE),
    )


def write_result(result: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Writes a result as JSON, whole or not at all, one round of samples to a line."""
    return _write_text(_indented(result) + "\n", Path(path))


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the document of a result file, or of the ``result.json`` in a folder.

    Raises:
        OptionError: there is none, or it is of another schema.
    """
    file = Path(path) / RESULT if Path(path).is_dir() else Path(path)
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_result(file, str(error)) from None
    if not isinstance(result, dict) or "benchmark" not in result:
        raise _no_result(file, "other JSON")
    if (result["benchmark"], result.get("schema")) != (BENCHMARK, SCHEMA):
        raise _no_result(file, f"{result['benchmark']!r}, schema {result.get('schema')}")
    return result


def markdown(document: Mapping[str, Any]) -> str:
    """Returns the report as Markdown, with the same tables as the page; paths of pictures are beside it."""
    environment = document["environment"]
    lines = [f"# rvm-trt beside PyTorch: {environment['cpu']}, {document['date'][:10]}"]
    lines += [f"**{noise_title(document)}.** {document['noise']['text']}"]
    lines += summary(document)
    for highlight in highlights(document):
        facts = "; ".join(f"{what} {number}" for what, number in highlight.facts)
        lines.append(
            f"- **{highlight.title}: {highlight.fps} FPS** frame to frame, {highlight.entrant}; {facts}"
        )
    for section in sections(document):
        lines += _section(section)
        if section.key == "pictures":
            lines += _pictures(document)
    return "\n\n".join(lines) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"## {section.title}" + (" (modelled, not measured)" if section.modelled else "")
    yield from section.paragraphs
    if section.commands:
        yield "\n".join(f"    {line}" for line in section.commands)
    for table in section.tables:
        yield f"**{table.caption}**"
        yield _table(table)
        yield from table.notes


def _table(table: Table) -> str:
    header = [name for name, _ in table.headers]
    rule = ["---:" if numeric else "---" for _, numeric in table.headers]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |" for cells in (header, rule, *table.rows)
    )


def _pictures(document: Mapping[str, Any]) -> Iterator[str]:
    for entry in document["profiles"]:
        labels = {entrant["name"]: entrant["label"] for entrant in entry["entrants"]}
        for picture in entry["pictures"]:
            title = f"{entry['name']}, frame {picture['frame']} ({picture['why']})"
            shown = " ".join(f"![{words}]({picture[key]})" for key, words in _PICTURES)
            yield f"**{title}: {labels.get(picture['entrant'], picture['entrant'])}**"
            yield shown


def _write_text(text: str, path: Path) -> Path:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _indented(result: Mapping[str, Any]) -> str:
    # json's indent puts each number on a line of its own: thousands of lines in every diff.
    text = json.dumps(_packed(result), indent=1)
    return text.replace('"\\u0000', "").replace('\\u0000"', "")


def _packed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _packed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        if all(isinstance(item, (int, float)) for item in value):
            return f"\0{json.dumps(list(value))}\0"
        return [_packed(item) for item in value]
    return value


def _no_result(path: Path, got: str) -> OptionError:
    return OptionError(
        str(path),
        got=got,
        expected=f"a result of '{BENCHMARK}', schema {SCHEMA}",
        todo="Measure again: rvm-trt bench.",
    )


if __name__ == "__main__":
    sys.exit(main())
