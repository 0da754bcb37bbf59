"""Recipes on disk: the search is run once for a network, its footage and a budget."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from rvm_trt.digest import source_digest
from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.openvino_library import import_openvino
from rvm_trt.engines.recipe import Recipe, read_recipe
from rvm_trt.engines.sensitivity import Progress, find_recipe
from rvm_trt.errors import EngineError
from rvm_trt.export.graph_info import GraphInfo


def recipe_for(
    core: GraphInfo,
    footage: CalibrationFootage,
    *,
    mad_budget: float,
    folder: Path,
    progress: Progress | None = None,
) -> Recipe:
    """Returns the recipe of a core graph, from the folder where its search has been run already.

    Profiles that share a network share its recipe.

    Args:
        core: an exported FP32 core graph, batch 1.
        footage: what to calibrate on.
        mad_budget: see `find_recipe`.
        folder: where recipes are kept.
        progress: see `find_recipe`.

    Raises:
        OptionError, EngineError: as `find_recipe` and `CalibrationFootage.divide`.
    """
    key = _key(core, footage.words, mad_budget)
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = (
        folder
        / f"{core.profile.low_width}x{core.profile.low_height}-{core.profile.variant.value}-{digest[:16]}.json"
    )
    try:
        found = read_recipe(path)
        if found.key == key:
            return found
    except EngineError:
        pass  # none yet, or a damaged one: the search is run
    model = onnx.load_model(core.path)
    recipe = find_recipe(
        model, core.profile, footage.divide(core.profile), mad_budget=mad_budget, key=key, progress=progress
    )
    recipe.write(path)
    return recipe


def _key(core: GraphInfo, words: Mapping[str, Any], mad_budget: float) -> dict[str, Any]:
    return {
        "network_sha256": core.network_sha256,
        "footage": dict(words),
        "mad_budget": mad_budget,
        "source": source_digest("rvm_trt.engines", "rvm_trt.export"),
        "openvino": str(import_openvino().__version__),
    }
