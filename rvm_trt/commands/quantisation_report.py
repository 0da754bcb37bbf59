"""The report of an INT8 search: what was chosen for every layer, as JSON and as a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_trt.errors import DependencyError, EngineError
from rvm_trt.files import atomic_file
from rvm_trt.options import Precision

if TYPE_CHECKING:
    from rvm_trt.engines.artifact import Engine
    from rvm_trt.engines.recipe import Recipe


def write_report(engines: Sequence[Engine], path: Path) -> None:
    """Writes the recipe that the INT8 engines share as ``path`` (JSON), and a plot beside it with the suffix ``.png``.

    Raises:
        EngineError: the report cannot be written.
        DependencyError: matplotlib is not installed; the JSON is written all the same.
    """
    from rvm_trt.engines.recipe import read_recipe

    quantised = [engine for engine in engines if engine.manifest.precision is Precision.INT8]
    recipe = read_recipe(quantised[0].file("recipe.json"))
    document = {
        "engines": [
            {"name": engine.manifest.name, "accuracy": dict(engine.manifest.accuracy)} for engine in quantised
        ],
        **recipe.to_json(),
    }
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        _plot(recipe, path.with_suffix(".png"))
    except OSError as error:
        raise EngineError(
            str(path),
            got=error.strerror or str(error),
            expected="a folder with room to write the report",
            todo="Name another path with --report.",
        ) from None


def _plot(recipe: Recipe, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise DependencyError("matplotlib", extra="bench", stage="plot of the report") from None
    layers = [layer for layer in recipe.layers if layer.mad_alone is not None]
    figure = Figure(figsize=(9, 0.24 * len(layers) + 1.6), layout="constrained")
    errors, work = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    colours = ["tab:blue" if layer.int8 else "tab:orange" for layer in layers]
    names = [layer.name.removesuffix("/Conv") for layer in layers]
    errors.barh(names, [1e3 * (layer.mad_alone or 0.0) for layer in layers], color=colours)
    errors.set_xscale("log")
    errors.set_xlabel("alpha MAD ×1e3 with this layer alone in INT8")
    errors.invert_yaxis()
    work.barh(names, [layer.macs / 1e6 for layer in layers], color=colours)
    work.set_xlabel("MMACs a frame")
    held_out = recipe.held_out
    figure.suptitle(
        f"INT8 (blue): {recipe.share:.0%} of the multiply-accumulates; FP16 (orange). "
        f"Held out: alpha MAD {1e3 * float(held_out['pha_mad']):.2f}e-3, budget {1e3 * recipe.mad_budget:g}e-3"
    )
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
