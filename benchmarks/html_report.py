"""The bench report as one HTML page that needs nothing else: styles, script, pictures and samples are in it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_trt.benchmarks.report_charts import charts
from rvm_trt.benchmarks.report_frames import HEAT_TOP, heat_colours, scenes
from rvm_trt.benchmarks.report_sections import sections
from rvm_trt.benchmarks.report_text import Json, highlights, noise_title, summary
from rvm_trt.errors import DependencyError

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")


def render_html(document: Json, folder: Path) -> str:
    """Returns the page of a result.

    Args:
        document: as `rvm_trt.benchmarks.report.read_result` gives it.
        folder: holds the pictures that the document names.

    Raises:
        OptionError: a picture is missing.
        DependencyError: jinja2, Pillow or matplotlib is not installed.
    """
    templates = _templates()
    raw = json.dumps(document, separators=(",", ":")).encode()
    return templates.get_template("report.html.j2").render(
        document=document,
        sections=sections(document),
        charts=charts(document),
        scenes=scenes(document, folder),
        summary=summary(document),
        highlights=highlights(document),
        noise_title=noise_title(document),
        heat_top=HEAT_TOP,
        heat_colours=heat_colours(),
        raw=base64.b64encode(raw).decode(),
        raw_kilobytes=round(len(raw) / 1e3),
    )


def _templates() -> Environment:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError:
        raise DependencyError("jinja2", extra="bench", stage="HTML report") from None
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
