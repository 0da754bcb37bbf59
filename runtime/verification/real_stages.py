"""Stages with the real CPU kernels and the real engine library, small enough to be run thousands of times."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.openvino_library import import_openvino
from rvm_trt.profile import Profile
from rvm_trt.runtime.cpu_stages import CpuStages
from rvm_trt.runtime.opening import open_cpu_stages
from rvm_trt.runtime.openvino_core import OpenVinoCore
from rvm_trt.runtime.verification.scenario import Scenario

OUTPUTS = ("pha", "composite")


def real_stages(scenario: Scenario) -> CpuStages:
    """Returns numba kernels and a network in OpenVINO, with the lanes of a scenario.

    The network is no RVM: it has the core's tensors, and a few layers by which every result depends on every input.
    A scenario that wants a head gets a network without one.

    Raises:
        DependencyError: numba or OpenVINO is not installed.
    """
    profile = Profile(width=48, height=32, ratio=0.5, batch=scenario.lanes)
    core = OpenVinoCore(_network(profile), threads=1)
    return CpuStages(core, profile, outputs=OUTPUTS, threads=1)


def engine_stages(path: Path) -> CpuStages:
    """Returns numba kernels and a core engine of the ``cpu`` backend; raises as `MattingSession` does."""
    return open_cpu_stages(Engine.load(path), OUTPUTS, threads=1)


def _network(profile: Profile) -> Any:
    """Returns an ``openvino.Model`` with the core's inputs and outputs. No lane sees another."""
    openvino, ops = import_openvino(), import_module("openvino.opset13")
    chance = np.random.default_rng(5)
    low = (profile.low_height, profile.low_width)

    def weights(*shape: int) -> Any:
        return ops.constant(chance.uniform(-1, 1, shape).astype(np.float32))

    def mean(tensor: Any) -> Any:
        return ops.reduce_mean(tensor, ops.constant(np.array([1, 2, 3])), keep_dims=True)

    src = ops.parameter((profile.batch, 3, *low), np.float32, name="src")
    states = [
        ops.parameter(shape, np.float32, name=name)
        for name, shape in zip(STATE_INPUTS, profile.state_shapes, strict=True)
    ]
    past = mean(states[0])
    for state in states[1:]:
        past = ops.add(past, mean(state))
    present = mean(ops.multiply(src, weights(1, 3, *low)))
    results = []
    for state, shape in zip(states, profile.state_shapes, strict=True):
        mixed = ops.add(ops.multiply(state, weights(1, *shape[1:])), ops.add(past, present))
        results.append(ops.tanh(ops.add(mixed, weights(1, *shape[1:]))))
    features = ops.convolution(src, weights(8, 3, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
    features = ops.multiply(ops.tanh(ops.add(features, past)), ops.constant(np.float32(0.3)))
    slope, intercept = ops.split(features, ops.constant(np.array(1)), 2).outputs()
    # Around a half, so that alpha is seldom cut off at either end.
    coefficients = [slope, ops.add(intercept, ops.constant(np.float32(0.4)))]
    named = [*zip(("A", "b"), coefficients, strict=True), *zip(STATE_OUTPUTS, results, strict=True)]
    outputs = []
    for name, value in named:
        result = ops.result(value)
        result.output(0).tensor.set_names({name})
        outputs.append(result)
    for parameter in (src, *states):
        parameter.output(0).tensor.set_names({parameter.friendly_name})
    return openvino.Model(outputs, [src, *states], "stand-in")
