"""The sensitivity search: the convolutions that INT8 serves within a budget of error, found by measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from rvm_trt.engines.alpha import AlphaDifference, AlphaRunner, difference, pool, run_sequence
from rvm_trt.engines.bfloat16 import guard_quantisers
from rvm_trt.engines.calibration import calibrate
from rvm_trt.engines.describe import check_budget
from rvm_trt.engines.footage import SearchFootage, Sequences
from rvm_trt.engines.openvino_library import import_openvino
from rvm_trt.engines.quantise import InputRange, quantise
from rvm_trt.engines.recipe import Layer, Recipe
from rvm_trt.errors import EngineError
from rvm_trt.export.macs import layer_macs
from rvm_trt.options import Graph
from rvm_trt.profile import Profile

Array = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]
MAD_BUDGET = 1.0e-3
# Alpha may change this much more from frame to frame than in FP32 (root mean square).
FLICKER_BUDGET = 0.1e-2
# The search stays this far below the budget on its own footage, since other footage is harder.
_MARGIN = 0.85


def find_recipe(
    model: onnx.ModelProto,
    profile: Profile,
    footage: SearchFootage,
    *,
    mad_budget: float = MAD_BUDGET,
    key: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Recipe:
    """Returns the recipe that puts most multiply-accumulates into INT8 within the budget on held-out footage.

    Each candidate is quantised alone and executed in INT8 on the CPU; candidates are then added in the order of error
    per multiply-accumulate, as many as fit. The result depends on the graph and the footage alone.

    Args:
        model: an FP32 core graph as exported, batch 1.
        profile: its profile.
        footage: see `SearchFootage`.
        mad_budget: largest mean absolute difference of alpha from FP32, above 0.
        key: what the recipe depends on, kept in it.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        OptionError: the budget is not above 0.
        EngineError: not even one layer fits the budget.
    """
    check_budget(mad_budget)
    search = _Search(model, profile, footage, progress or _silent)
    ranges = search.ranges()
    macs = layer_macs(model)
    alone = search.alone(ranges)
    order = sorted(alone, key=lambda name: (_cost(alone[name]) / macs[name], name))
    chosen = search.longest(order, ranges, mad_budget)
    chosen, held_out = search.confirm(chosen, ranges, mad_budget)
    layers = tuple(_layer(name, count, alone.get(name), name in chosen) for name, count in macs.items())
    return Recipe(
        ranges={name: ranges[name] for name in ranges if name in chosen},
        layers=layers,
        held_out=held_out.to_json(),
        mad_budget=mad_budget,
        footage=footage.words,
        key=dict(key or {}),
    )


def _cost(error: AlphaDifference) -> float:
    # A flickering matte is seen sooner than a wrong one: both count, in the proportion of their budgets.
    return error.mad / MAD_BUDGET + max(error.flicker, 0.0) / FLICKER_BUDGET


def _layer(name: str, macs: int, alone: AlphaDifference | None, chosen: bool) -> Layer:
    reason = "within the budget" if chosen else "over the budget with the others"
    if alone is None:
        reason = "no candidate: outside the decoder, or thin"
    return Layer(
        name=name,
        macs=macs,
        mad_alone=None if alone is None else alone.mad,
        dtssd_alone=None if alone is None else alone.dtssd,
        int8=chosen,
        reason=reason,
    )


class _Search:
    def __init__(
        self, model: onnx.ModelProto, profile: Profile, footage: SearchFootage, progress: Progress
    ) -> None:
        self._model = model
        self._profile = profile
        self._footage = footage
        self._progress = progress
        self._references: dict[int, list[list[Array]]] = {}

    def ranges(self) -> dict[str, InputRange]:
        total = sum(len(part) for part in self._footage.calibration)
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            self._progress("calibrating", done, total)

        return calibrate(self._model, self._profile, self._footage.calibration, progress=count)

    def alone(self, ranges: Mapping[str, InputRange]) -> dict[str, AlphaDifference]:
        errors = {}
        for index, name in enumerate(ranges):
            self._progress("measuring each layer", index, len(ranges))
            errors[name] = self._measure([name], ranges, self._footage.search)
        self._progress("measuring each layer", len(ranges), len(ranges))
        return errors

    def longest(self, order: Sequence[str], ranges: Mapping[str, InputRange], budget: float) -> list[str]:
        """Returns the longest beginning of the order that fits the budget with a margin, by bisection."""
        fits, fails = 0, len(order) + 1
        while fails - fits > 1:
            middle = (fits + fails) // 2
            self._progress("finding how many fit", fits, len(order))
            error = self._measure(order[:middle], ranges, self._footage.search)
            if self._within(error, budget * _MARGIN):
                fits = middle
            else:
                fails = middle
        self._progress("finding how many fit", len(order), len(order))
        return list(order[:fits])

    def confirm(
        self, chosen: list[str], ranges: Mapping[str, InputRange], budget: float
    ) -> tuple[list[str], AlphaDifference]:
        """Drops the most costly layers until the held-out footage agrees, and returns what is left with its error."""
        while chosen:
            self._progress("confirming on held-out footage", 0, len(chosen))
            error = self._measure(chosen, ranges, self._footage.held_out)
            if self._within(error, budget):
                return chosen, error
            chosen = chosen[:-1]
        raise EngineError(
            "INT8",
            got=f"no layer that stays within a mean error of {budget:g} in alpha",
            expected="at least one",
            todo="Give a larger --mad-budget, other footage with --calibration, or build in fp16.",
        )

    def _within(self, error: AlphaDifference, budget: float) -> bool:
        return error.finite and error.mad <= budget and error.flicker <= FLICKER_BUDGET * budget / MAD_BUDGET

    def _measure(
        self, names: Sequence[str], ranges: Mapping[str, InputRange], sequences: Sequences
    ) -> AlphaDifference:
        quantised = onnx.ModelProto()
        quantised.CopyFrom(self._model)
        quantise(quantised, {name: ranges[name] for name in names})
        candidate = self._runner(quantised)
        errors = []
        for reference, sequence in zip(self._reference(sequences), sequences, strict=True):
            candidate.reset()
            errors.append(difference(reference, (candidate(frame) for frame in sequence)))
        return pool(errors)

    def _reference(self, sequences: Sequences) -> list[list[Array]]:
        if id(sequences) not in self._references:
            runner = self._runner(self._model)
            alphas = []
            for sequence in sequences:
                runner.reset()
                alphas.append(run_sequence(runner, sequence))
            self._references[id(sequences)] = alphas
        return self._references[id(sequences)]

    def _runner(self, model: onnx.ModelProto) -> AlphaRunner:
        network: Any = import_openvino().Core().read_model(model.SerializeToString())
        guard_quantisers(network)
        return AlphaRunner(network, self._profile, Graph.CORE)


def _silent(_what: str, _done: int, _total: int) -> None:
    """Says nothing."""
