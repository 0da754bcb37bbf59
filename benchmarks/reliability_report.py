"""The page of the faults: docs/reliability.md, from the result file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any


def write_report(document: Mapping[str, Any], page: Path) -> None:
    """Writes the page, with the table of a result of `rvm_trt.benchmarks.reliability`."""
    import jinja2

    text = resources.files("rvm_trt.benchmarks").joinpath("templates/reliability.md.j2").read_text()
    template = jinja2.Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True).from_string(text)
    groups = document["groups"]
    total = {
        key: sum(group[key] for group in groups) for key in ("runs", "done", "refused", "frames", "lost")
    }
    page.write_text(template.render(document=document, groups=groups, total=total) + "\n")
